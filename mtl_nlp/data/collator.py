"""Rows of several datasets become one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from mtl_nlp.data.prepare import LABELS
from mtl_nlp.model.batch import Batch, Targets
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Task


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest among them and says which task speaks of which rows.

    Attributes:
        tasks: By name.
        pad_token_id: What stands in the place of missing sub-words.
    """

    tasks: Mapping[str, Task]
    pad_token_id: int

    def batch(self, tables: Sequence[pa.Table]) -> Batch:
        """The rows of encoded tables, one table after the other, with their targets."""
        names = [n for n in tables[0].column_names if n in ("input_ids", "words", "token_type_ids")]
        columns = {
            name: Ragged.concatenate(
                [Ragged.from_arrow(table.column(name).combine_chunks()) for table in tables]
            )
            for name in names
        }
        seq_len = int(columns["input_ids"].lengths.max())
        return self._batch(columns, seq_len, self._targets(tables, seq_len))

    def rows(self, columns: Mapping[str, Ragged]) -> Batch:
        """Encoded rows without targets."""
        return self._batch(columns, int(columns["input_ids"].lengths.max()), {})

    def _batch(
        self, columns: Mapping[str, Ragged], seq_len: int, targets: dict[str, Targets]
    ) -> Batch:
        lengths = columns["input_ids"].lengths
        segments = columns.get("token_type_ids")
        return Batch(
            input_ids=torch.from_numpy(columns["input_ids"].pad(seq_len, self.pad_token_id)),
            attention_mask=torch.from_numpy(
                (np.arange(seq_len) < lengths[:, None]).astype(np.int64)
            ),
            words=torch.from_numpy(columns["words"].pad(seq_len, -1)),
            sources=torch.arange(len(lengths)),
            token_type_ids=None if segments is None else torch.from_numpy(segments.pad(seq_len, 0)),
            targets=targets,
        )

    def _targets(self, tables: Sequence[pa.Table], seq_len: int) -> dict[str, Targets]:
        targets = {}
        for name, task in self.tasks.items():
            rows, labels, first = [], [], 0
            for table in tables:
                if LABELS + name in table.column_names:
                    column = table.column(LABELS + name).combine_chunks()
                    known = np.asarray(column.is_valid())
                    rows.append(np.flatnonzero(known) + first)
                    if known.any():
                        labels.append(task.collate(_values(column.drop_null()), seq_len))
                first += len(table)
            if labels:
                targets[name] = Targets(
                    torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(labels))
                )
        return targets


def _values(column: pa.Array) -> np.ndarray | Ragged:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return Ragged.from_arrow(column)
    return np.asarray(column.to_numpy(zero_copy_only=False))
