"""All tasks of a model on many rows in one encoder pass each; evaluation uses it too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.drawing import shown
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.errors import DataError, UserError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.base import Decoded, Task
from mtl_nlp.tasks.views import View
from mtl_nlp.vocabulary import Vocabulary
from mtl_nlp.words import Row

INPUTS = ("text", "text_pair", "choices", "tokens")
"""The input columns a record may have."""


@dataclass(frozen=True)
class Predictor:
    """Runs a model on rows, longest first, and gives the predictions in the rows' order.

    Attributes:
        model: In evaluation mode while it predicts; its mode is restored.
        encoder: Makes sub-words of rows.
        batch_size: The most encoder rows in one forward, unless a single row has more.
        batch_tokens: The same of tokens with padding; None for no limit.
    """

    model: MultiTaskModel
    encoder: RowEncoder
    batch_size: int = 32
    batch_tokens: int | None = None

    def decode(
        self, encoded: Mapping[View, EncodedRows], wanted: Mapping[str, np.ndarray]
    ) -> dict[str, list[Decoded]]:
        """Predictions of each task for the rows wanted of it, in their order.

        Args:
            encoded: Rows in each view that the tasks have of them.
            wanted: By task, numbers of rows, (n,).
        """
        tasks = self.model.tasks
        decoded: dict[str, dict[int, Decoded]] = {name: {} for name in wanted}
        encodings = {view: rows.encodings() for view, rows in encoded.items()}
        for batch in self.logits(encoded, wanted):
            for name, (rows, logits) in batch.items():
                of_view = encodings[tasks[name].view]
                part = tasks[name].decode(logits, [of_view[i] for i in rows])
                decoded[name].update(zip(rows.tolist(), part, strict=True))
        return {
            name: [decoded[name][number] for number in rows.tolist()]
            for name, rows in wanted.items()
        }

    def predict(
        self,
        records: Sequence[Mapping[str, Any]],
        tasks: Sequence[str] | None = None,
        *,
        places: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """What users see for records with the input columns of the recipe format.

        Args:
            records: Each with ``text``, perhaps ``text_pair`` or ``choices``, or ``tokens``, and
                perhaps what a task of the model ``may_take``.
            tasks: The tasks wanted; by default all that a record has the input of.
            places: How errors name each record; by default ``row 0`` and so on.

        Returns:
            For each record its predictions by task.

        Raises:
            UserError: If a named task is not the model's.
            DataError: If a record has no input, or not that of a named task; it names the record.
        """
        ours = self.model.tasks
        check_task_names(ours, tasks)
        placed = list(
            zip(records, places or [f"row {i}" for i in range(len(records))], strict=True)
        )
        more = list(dict.fromkeys(column for task in ours.values() for column in task.may_take))
        rows = [self._row(record, place, more) for record, place in placed]
        wanted: dict[str, list[int]] = {name: [] for name in ours}
        vocabulary = Vocabulary(self.encoder.tokenizer)
        for number, (row, (_, place)) in enumerate(zip(rows, placed, strict=True)):
            for name in wanted_tasks(ours, row, tasks, place, vocabulary):
                wanted[name].append(number)
        results: list[dict[str, Any]] = [{} for _ in records]
        for view in dict.fromkeys(ours[name].view for name, numbers in wanted.items() if numbers):
            of_view = {name: numbers for name, numbers in wanted.items() if ours[name].view == view}
            here = sorted({number for numbers in of_view.values() for number in numbers})
            encoded = shown(self.encoder.encode([rows[i] for i in here], view), view)
            places_here = {n: np.searchsorted(here, numbers) for n, numbers in of_view.items()}
            for name, decoded in self.decode({view: encoded}, places_here).items():
                for i, one in zip(wanted[name], decoded, strict=True):
                    results[i][name] = ours[name].present(one, rows[i])
        order = ours if tasks is None else tasks
        return [{name: found[name] for name in order if name in found} for found in results]

    def _row(self, record: Mapping[str, Any], place: str, more: Sequence[str]) -> Row:
        given = {name: record[name] for name in INPUTS if record.get(name) is not None}
        if not given and (empty := [name for name in INPUTS if name in record]):
            raise DataError(
                f"{place}: column {empty[0]}: expected an input, found null; mend or drop the row"
            )
        if not given:
            raise DataError(
                f"{place}: expected a column text or tokens, found"
                f" {', '.join(map(str, record)) or 'none'}; rename the input column"
            )
        given |= {name: record[name] for name in more if record.get(name) is not None}
        try:
            row = self.encoder.row(given)
            for words in (row.words, row.pair, *row.choices):
                (words.text if words else "").encode()
        except UnicodeEncodeError:
            raise DataError(f"{place}: the text is not valid Unicode; save it as UTF-8") from None
        except ValueError as error:
            raise DataError(f"{place}: {error}; mend or drop the row") from None
        return row

    @torch.inference_mode()
    def logits(
        self, encoded: Mapping[View, EncodedRows], wanted: Mapping[str, np.ndarray]
    ) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Of each batch by task the numbers of the rows and their logits, the longest rows first.

        The arguments are those of `decode`.
        """
        training = self.model.training
        self.model.train(False)
        collator = Collator(self.model.tasks, self.encoder.tokenizer.pad_token_id)
        try:
            for view, rows in encoded.items():
                member = {
                    name: np.isin(np.arange(len(rows.rows)), numbers)
                    for name, numbers in wanted.items()
                    if self.model.tasks[name].view == view and len(numbers)
                }
                for numbers in self._batches(rows, member):
                    ours = {n: np.flatnonzero(here[numbers]) for n, here in member.items()}
                    ours = {name: places for name, places in ours.items() if len(places)}
                    batch = collator.rows(rows.encoder_rows.take(numbers), ours)
                    logits = self.model(**batch.to(self.model.device)).logits
                    yield {n: (numbers[p], _array(logits[n])) for n, p in ours.items()}
        finally:
            self.model.train(training)

    def _batches(self, rows: EncodedRows, member: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
        """The numbers of the rows that some task wants, a forward at a time, the longest first."""
        numbers = np.flatnonzero(np.any(list(member.values()), axis=0)) if member else np.arange(0)
        numbers = numbers[np.argsort(-rows.lengths[numbers], kind="stable")]
        ends = np.cumsum(rows.encoder_rows.counts[numbers])
        start, copies = 0, self.model.copies(member)
        while start < len(numbers):
            before, most = ends[start - 1] if start else 0, self.batch_size // copies
            if self.batch_tokens is not None:
                longest = int(rows.lengths[numbers[start]])
                most = min(most, self.batch_tokens // copies // longest)
            stop = int(np.searchsorted(ends, before + most, side="right"))
            yield numbers[start : max(stop, start + 1)]
            start = max(stop, start + 1)


def _array(logits: torch.Tensor) -> np.ndarray:
    return np.asarray((logits.float() if logits.is_floating_point() else logits).cpu().numpy())


def check_task_names(tasks: Mapping[str, Task], names: Sequence[str] | None) -> None:
    """Raise a UserError for a name that is no task of the model."""
    if isinstance(names, str):
        raise UserError(f"tasks: expected a list of names, found {names!r}; write [{names!r}]")
    if unknown := [name for name in names or () if name not in tasks]:
        raise UserError(f"tasks: no task {unknown[0]!r}; the model has {', '.join(tasks)}")


def wanted_tasks(
    tasks: Mapping[str, Task],
    row: Row,
    names: Sequence[str] | None,
    place: str,
    vocabulary: Vocabulary,
) -> list[str]:
    """The tasks that can be predicted for a row.

    Raises:
        DataError: If one of the named tasks cannot.
    """
    missing = {
        name: _missing(task, row, vocabulary)
        for name, task in tasks.items()
        if names is None or name in names
    }
    if names is None:
        return [name for name, what in missing.items() if not what]
    for name in names:
        if missing[name]:
            raise DataError(f"{place}: task {name!r} needs {missing[name]}")
    return list(names)


def _missing(task: Task, row: Row, vocabulary: Vocabulary) -> str:
    """What a row must be for a task, and is not; empty if it is."""
    if not task.accepts(row):
        found = ["text", *["text_pair"] * bool(row.pair), *["choices"] * bool(row.choices)]
        return f"{' and '.join(task.inputs)}, found {' and '.join(found)}"
    return task.view.lacks(row, vocabulary)
