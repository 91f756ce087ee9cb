"""All tasks of a model on many rows in one encoder pass each; evaluation uses it too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.errors import DataError, UserError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.base import Decoded, Task
from mtl_nlp.words import Row

INPUTS = ("text", "text_pair", "tokens")
"""The input columns a record may have."""


@dataclass(frozen=True)
class Predictor:
    """Runs a model on rows, longest first, and gives the predictions in the rows' order.

    Attributes:
        model: In evaluation mode while it predicts; its mode is restored.
        encoder: Makes sub-words of rows.
        batch_size: Encoder rows in one forward.
    """

    model: MultiTaskModel
    encoder: RowEncoder
    batch_size: int = 32

    def decode(self, encoded: EncodedRows, tasks: Sequence[str]) -> dict[str, list[Decoded]]:
        """Predictions of each task for all rows, in their order."""
        decoded: dict[str, list[Decoded | None]] = {
            name: [None] * len(encoded.rows) for name in tasks
        }
        if tasks:
            encodings = encoded.encodings()
            for rows, logits in self.logits(encoded, tasks):
                for name in tasks:
                    part = self.model.tasks[name].decode(logits[name], [encodings[i] for i in rows])
                    for i, one in zip(rows, part, strict=True):
                        decoded[name][i] = one
        return {name: [one for one in rows if one is not None] for name, rows in decoded.items()}

    def predict(
        self,
        records: Sequence[Mapping[str, Any]],
        tasks: Sequence[str] | None = None,
        *,
        places: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """What users see for records with the input columns of the recipe format.

        Args:
            records: Each with ``text``, perhaps ``text_pair``, or ``tokens``.
            tasks: The tasks wanted; by default all that a record has the input of.
            places: How errors name each record; by default ``row 0`` and so on.

        Returns:
            For each record its predictions by task.

        Raises:
            UserError: If a named task is not the model's.
            DataError: If a record has no input, or not that of a named task; it names the record.
        """
        check_task_names(self.model.tasks, tasks)
        placed = list(
            zip(records, places or [f"row {i}" for i in range(len(records))], strict=True)
        )
        rows = [self._row(record, place) for record, place in placed]
        wanted = [
            tuple(wanted_tasks(self.model.tasks, record, tasks, place)) for record, place in placed
        ]
        results: list[dict[str, Any]] = [{} for _ in records]
        # Rows that want the same tasks and are encoded alike go together.
        kinds = [(names, row.pair is not None) for names, row in zip(wanted, rows, strict=True)]
        for kind in dict.fromkeys(kinds):
            here = [i for i, other in enumerate(kinds) if other == kind]
            encoded = self.encoder.encode([rows[i] for i in here])
            for name, decoded in self.decode(encoded, kind[0]).items():
                for i, one in zip(here, decoded, strict=True):
                    results[i][name] = self.model.tasks[name].present(one, rows[i])
        return results

    def _row(self, record: Mapping[str, Any], place: str) -> Row:
        given = {name: record[name] for name in INPUTS if record.get(name) is not None}
        if not given:
            raise DataError(
                f"{place}: expected a column text or tokens, found"
                f" {', '.join(map(str, record)) or 'none'}; rename the input column"
            )
        try:
            row = self.encoder.row(given)
            (row.words.text + (row.pair.text if row.pair else "")).encode()
        except UnicodeEncodeError:
            raise DataError(f"{place}: the text is not valid Unicode; save it as UTF-8") from None
        except ValueError as error:
            raise DataError(f"{place}: {error}; mend or drop the row") from None
        return row

    @torch.inference_mode()
    def logits(
        self, encoded: EncodedRows, tasks: Sequence[str]
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Row numbers and their logits by task, a batch at a time, the longest rows first."""
        training = self.model.training
        self.model.train(False)
        collator = Collator({}, self.encoder.tokenizer.pad_token_id)
        order = np.argsort(-encoded.lengths, kind="stable")
        try:
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                columns = {name: column.take(rows) for name, column in encoded.columns.items()}
                batch = collator.rows(columns).to(self.model.device)
                logits = self.model(**batch, tasks=tasks).logits
                yield rows, {name: one.float().cpu().numpy() for name, one in logits.items()}
        finally:
            self.model.train(training)


def check_task_names(tasks: Mapping[str, Task], names: Sequence[str] | None) -> None:
    """Raise a UserError for a name that is no task of the model."""
    if unknown := [name for name in names or () if name not in tasks]:
        raise UserError(f"tasks: no task {unknown[0]!r}; the model has {', '.join(tasks)}")


def wanted_tasks(
    tasks: Mapping[str, Task],
    record: Mapping[str, Any],
    names: Sequence[str] | None,
    place: str,
) -> list[str]:
    """The tasks whose input a record has.

    Raises:
        DataError: If that lacks one of the named tasks.
    """
    pair = record.get("text_pair") is not None
    able = [name for name, task in tasks.items() if pair == ("text_pair" in task.inputs)]
    if names is None:
        return able
    for name in names:
        if name not in able:
            what = "one text, found a pair" if pair else "a pair: text and text_pair"
            raise DataError(f"{place}: task {name!r} needs {what}")
    return list(names)
