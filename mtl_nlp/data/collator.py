"""Rows of several datasets become one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from mtl_nlp.data.drawing import asked_for, drawn, without_originals
from mtl_nlp.data.encoder_rows import EncoderRows
from mtl_nlp.data.prepare import LABELS, prefix_of
from mtl_nlp.model.batch import Batch, Targets
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.views import DrawnView, View
from mtl_nlp.vocabulary import Vocabulary


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest among them and says which task speaks of which rows.

    Attributes:
        tasks: By name.
        pad_token_id: What stands in the place of missing sub-words.
        vocabulary: What the sub-words are; None where no view of a task is drawn.
    """

    tasks: Mapping[str, Task]
    pad_token_id: int
    vocabulary: Vocabulary | None = None

    def batch(
        self, tables: Sequence[pa.Table], key: int = 0, places: Sequence[np.ndarray] = ()
    ) -> Batch:
        """The rows of encoded tables with their targets, view after view, table after table.

        Args:
            tables: Rows as they are kept, of one split each.
            key: What the drawn views are a function of, beside the rows; another one each step.
            places: A number for each row of each table, so that equal rows are drawn apart; see
                `row_places`. Without them no view may be drawn.
        """
        blocks: dict[tuple[View, int], EncoderRows] = {}
        asked: dict[tuple[View, int], Ragged] = {}
        for view in dict.fromkeys(task.view for task in self.tasks.values()):
            names = {LABELS + name for name, task in self.tasks.items() if task.view == view}
            for number, table in enumerate(tables):
                if not names.isdisjoint(table.column_names):
                    block = EncoderRows.from_arrow(table, prefix_of(view))
                    if isinstance(view, DrawnView):
                        assert self.vocabulary is not None
                        block = drawn(block, view, key, places[number], self.vocabulary)
                        asked[view, number] = asked_for(block)
                    blocks[view, number] = without_originals(block)
        rows = EncoderRows.concatenate(list(blocks.values()))
        batch = self._batch(rows)
        first, texts = 0, {}
        for place, block in blocks.items():
            texts[place] = _texts(block, first)
            first += len(block.windows.values)
        width = batch.input_ids.shape[1] if batch.joined is None else batch.joined.shape[1]
        return replace(batch, targets=self._targets(tables, texts, asked, width))

    def rows(self, rows: EncoderRows, tasks: Mapping[str, np.ndarray]) -> Batch:
        """Dataset rows in one view, without labels; by task, which of them it speaks of, (n,)."""
        texts = _texts(rows, 0)
        targets = {
            name: Targets(_numbers(texts.take(ours), self.tasks[name].view), None)
            for name, ours in tasks.items()
        }
        return replace(self._batch(rows), targets=targets)

    def _batch(self, rows: EncoderRows) -> Batch:
        lengths, columns = rows.lengths, rows.columns
        seq_len = int(lengths.max())
        segments = columns.get("token_type_ids")
        real = np.arange(seq_len) < lengths[:, None]
        return Batch(
            input_ids=torch.from_numpy(columns["input_ids"].pad(seq_len, self.pad_token_id)),
            attention_mask=torch.from_numpy(real.astype(np.int64)),
            words=torch.from_numpy(columns["words"].pad(seq_len, -1)),
            sources=torch.from_numpy(rows.sources),
            token_type_ids=None if segments is None else torch.from_numpy(segments.pad(seq_len, 0)),
            joined=torch.from_numpy(_joined(rows, real)) if rows.windowed else None,
        )

    def _targets(
        self,
        tables: Sequence[pa.Table],
        texts: Mapping[tuple[View, int], Ragged],
        asked: Mapping[tuple[View, int], Ragged],
        width: int,
    ) -> dict[str, Targets]:
        targets = {}
        for name, task in self.tasks.items():
            rows, labels = [], []
            for number, table in enumerate(tables):
                if LABELS + name in table.column_names:
                    column = table.column(LABELS + name).combine_chunks()
                    known = np.flatnonzero(column.is_valid())
                    if len(known):
                        rows.append(texts[task.view, number].take(known))
                        given = asked.get((task.view, number))
                        labels.append(
                            _values(column.drop_null()) if given is None else given.take(known)
                        )
            if labels:
                targets[name] = Targets(
                    _numbers(Ragged.concatenate(rows), task.view),
                    torch.from_numpy(task.collate(_together(labels), width)),
                )
        return targets


def _texts(rows: EncoderRows, first: int) -> Ragged:
    """The numbers of the texts of each dataset row, from the first on."""
    return Ragged(np.arange(first, first + len(rows.windows.values)), rows.windows.lengths)


def _numbers(texts: Ragged, view: View) -> torch.Tensor:
    """The texts of dataset rows, (n,), or (n, texts) where a row may be many; -1 = none."""
    if not view.many:
        return torch.from_numpy(texts.values)
    return torch.from_numpy(texts.pad(int(texts.lengths.max(initial=0)), -1))


def _joined(rows: EncoderRows, real: np.ndarray) -> np.ndarray:
    """Where the joined sub-words of each text stand in the padded rows, (texts, …), -1 = none."""
    places, numbers = rows.joined()
    padded = np.flatnonzero(real)[places]
    return Ragged(padded, numbers).pad(int(numbers.max()), -1)


def _values(column: pa.Array) -> np.ndarray | Ragged:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return Ragged.from_arrow(column)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _together(parts: Sequence[np.ndarray | Ragged]) -> np.ndarray | Ragged:
    """The labels of several tables."""
    ragged = [part for part in parts if isinstance(part, Ragged)]
    numbers = [part for part in parts if not isinstance(part, Ragged)]
    return Ragged.concatenate(ragged) if ragged else np.concatenate(numbers)
