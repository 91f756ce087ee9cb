"""Training rows, encoded once: sub-words and labels as Arrow columns that batches are cut from."""

import hashlib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.encoder_rows import SIZES
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.inputs import input_record
from mtl_nlp.errors import DataError
from mtl_nlp.ragged import Ragged
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.tasks import saved_form
from mtl_nlp.tasks.base import Encoding, Task
from mtl_nlp.tasks.views import View
from mtl_nlp.words import Row

LABELS = "labels:"
"""What the name of a column with a task's encoded labels begins with."""
_TRUNCATED = "truncated"

_ROWS_PER_PROCESS = 50_000
_MOST_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class EncodedColumns:
    """Turns records of one split into encoded columns."""

    encoder: RowEncoder
    spec: DatasetSpec
    tasks: tuple[Task, ...]
    bindings: tuple[Binding, ...]
    features: Features
    place: str

    def __call__(self, batch: Mapping[str, list[Any]], indices: Sequence[int]) -> pa.Table:
        """The encoded columns of rows, given by column; their numbers in the split."""
        records = [
            dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        rows = read_rows(self.encoder, self.spec, records, self.place, indices)
        columns: dict[str, pa.Array] = {}
        for view in dict.fromkeys(task.view.stored for task in self.tasks):
            encoded = self.encoder.encode(rows, view)
            columns |= encoded.encoder_rows.to_arrow(prefix_of(view))
            columns[prefix_of(view) + _TRUNCATED] = pa.array(encoded.truncated)
            encodings = encoded.encodings()
            for task, binding in zip(self.tasks, self.bindings, strict=True):
                if task.view.stored == view:
                    labels = self._labels(task, binding, records, encodings, indices)
                    columns[LABELS + task.name] = pa.array(labels)
        return pa.table(columns)

    def fingerprint(self, records: str) -> str:
        """Of the columns, from that of the records; the same in other processes."""
        content = [
            records,
            self.encoder.fingerprint,
            self.spec.model_dump(),
            [saved_form(task) for task in self.tasks],
            [asdict(binding) for binding in self.bindings],
            [code.read_text(encoding="utf-8") for code in self._code()],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def _code(self) -> list[Path]:
        """The files that decide what becomes of a row, so that no newer code meets old columns."""
        package = Path(__file__).parent.parent
        own = [package / f"{name}.py" for name in ("words", "vocabulary", "ragged")]
        own += [*package.glob("data/*.py"), *package.glob("tasks/*.py")]
        return sorted({*own, *(Path(inspect.getfile(type(task))) for task in self.tasks)})

    def _labels(
        self,
        task: Task,
        binding: Binding,
        records: Sequence[Mapping[str, Any]],
        encodings: Sequence[Encoding],
        indices: Sequence[int],
    ) -> list[Any]:
        known = set(task.labels)
        labels: list[Any] = []
        for record, encoding, index in zip(records, encodings, indices, strict=True):
            place = f"{self.place}, row {index}"
            value = read_label(task, binding, record, self.features, encoding.row, place)
            if value is None:
                labels.append(None)
                continue
            if unknown := [label for label in task.occurrences(value) if label not in known]:
                raise DataError(
                    f"{place}: task {task.name!r} has no label {unknown[0]!r}; its labels are"
                    f" {', '.join(task.labels)}; mend the row, or add it to"
                    f" tasks.{task.name}.labels"
                )
            labels.append(task.encode(value, encoding))
        return labels


class EncodedSplit:
    """The encoded rows of one dataset's split, memory-mapped where ``datasets`` caches them.

    Attributes:
        lengths: Sub-words of the longest encoder row of each row, over all views, (n,).
        encoder_rows: How many of these each row has, over all views, (n,).
    """

    buffer: int | None = None  # rows that are held at once of a split that is not mapped

    def __init__(self, dataset: Dataset, views: Sequence[View]) -> None:
        self._table = dataset.with_format("arrow")
        self.views = tuple(views)
        self._lengths = {}
        self.lengths, self.encoder_rows = np.zeros(1, np.uint8), np.zeros(1, np.uint8)
        for view in self.views:
            longest, counts = self._sizes(view)
            self._lengths[view] = longest
            self.lengths = np.maximum(self.lengths, longest)
            self.encoder_rows = _narrow(self.encoder_rows.astype(np.int64) + counts)
        if (self.encoder_rows == self.encoder_rows[0]).all():
            self.encoder_rows = np.broadcast_to(self.encoder_rows[0], len(self))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def labelled(self) -> dict[str, np.ndarray]:
        """By task, whether the row has its label, (n,)."""
        names = [name for name in self._table.column_names if name.startswith(LABELS)]
        return {
            name.removeprefix(LABELS): np.asarray(self._column(name).is_valid()) for name in names
        }

    @property
    def fingerprint(self) -> int:
        """A number that changes with the number, order or lengths of the rows."""
        found = 0
        for part in np.array_split(self.lengths, 1 + len(self) // _ROWS_PER_PROCESS):
            found = crc32(part.astype(np.int64).tobytes(), found)
        return found

    @property
    def largest(self) -> tuple[int, int]:
        """The most encoder rows that a row has, and sub-words that one of them has."""
        return int(self.encoder_rows.max()), int(self.lengths.max())

    def take(self, rows: np.ndarray) -> pa.Table:
        """The columns of these rows."""
        table: pa.Table = self._table[rows]
        return table

    def truncated(self, view: View) -> np.ndarray:
        """Whether each row lost a part in this view, (n,)."""
        column = self._column(prefix_of(view) + _TRUNCATED)
        return np.asarray(column.to_numpy()).astype(bool)

    def lengths_in(self, view: View) -> np.ndarray:
        """Sub-words of the longest encoder row of each row in this view, (n,)."""
        return self._lengths[view].astype(np.int64)

    def _column(self, name: str) -> pa.ChunkedArray:
        return self._table.select_columns([name])[:].column(name)

    def _sizes(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Sub-words of the longest encoder row of each row, and how many it has, in few bytes."""
        longest, counts = [], []
        for chunk in self._column(prefix_of(view) + SIZES).chunks:
            if len(chunk):
                sizes = Ragged.from_arrow(chunk)
                longest.append(_narrow(np.maximum.reduceat(sizes.values, sizes.starts)))
                counts.append(_narrow(sizes.lengths))
        return np.concatenate(longest), np.concatenate(counts)


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """The same numbers, not negative, in the smallest type that has room for them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def prefix_of(view: View) -> str:
    """What the names of the columns begin with that hold the encoder rows of a view."""
    return f"{view.stored!r}:"


def prepare_split(
    dataset: Dataset,
    *,
    place: str,
    spec: DatasetSpec,
    encoder: RowEncoder,
    tasks: Sequence[Task],
    bindings: Sequence[Binding],
) -> EncodedSplit:
    """Encode a split: each row once, with the labels of all tasks on it.

    Args:
        dataset: The rows.
        place: How errors name it, ``dataset 'x', split train``.
        spec: Its input columns.
        encoder: Makes sub-words.
        tasks: The learned tasks on this dataset.
        bindings: Where each of them finds its labels.

    Raises:
        DataError: If a row is not what the recipe says; the first such row is named.
    """
    narrow = dataset.select_columns(used_columns(spec, bindings))
    rows = EncodedColumns(encoder, spec, tuple(tasks), tuple(bindings), dataset.features, place)
    processes = min(os.cpu_count() or 1, len(dataset) // _ROWS_PER_PROCESS)
    encoded = narrow.map(
        rows,
        batched=True,
        with_indices=True,
        remove_columns=narrow.column_names,
        features=_features(narrow, rows),
        # Hashing the function would take longer than reading: it holds the vocabulary.
        new_fingerprint=rows.fingerprint(narrow._fingerprint),
        num_proc=processes if processes > 1 else None,
        desc=f"encoding {place}",
    )
    return EncodedSplit(encoded, list(dict.fromkeys(task.view for task in tasks)))


def used_columns(spec: DatasetSpec, bindings: Sequence[Binding]) -> list[str]:
    """The input and label columns of a dataset."""
    used = [column for binding in bindings for column in binding.columns.values()]
    return list(dict.fromkeys([*used, *spec.inputs.values()]))


def _features(dataset: Dataset, rows: EncodedColumns) -> Features:
    """The types of the encoded columns, those of labels from the first row that has them."""
    types: dict[str, pa.DataType] = {}
    start, size = 0, 1
    while start < len(dataset) and (not types or any(map(pa.types.is_null, types.values()))):
        stop = min(start + size, len(dataset))
        for field in rows(dataset[start:stop], range(start, stop)).schema:
            if pa.types.is_null(types.get(field.name, pa.null())):
                types[field.name] = field.type
        start, size = stop, min(2 * size, _MOST_ROWS_AT_ONCE)
    return Features.from_arrow_schema(pa.schema(list(types.items())))


def read_rows(
    encoder: RowEncoder,
    spec: DatasetSpec,
    records: Sequence[Mapping[str, Any]],
    place: str,
    indices: Sequence[int],
) -> list[Row]:
    """The rows of a dataset's records.

    Raises:
        DataError: Naming the first row that is no input.
    """
    rows = []
    for record, index in zip(records, indices, strict=True):
        try:
            rows.append(encoder.row(input_record(record, spec)))
        except ValueError as error:
            raise DataError(f"{place}, row {index}: {error}; mend or drop the row") from None
    return rows


def read_label(
    task: Task,
    binding: Binding,
    record: Mapping[str, Any],
    features: Features,
    row: Row,
    place: str,
) -> Any:
    """What is right for one row in one task, or None.

    Raises:
        DataError: Naming the row and what is wrong with its label.
    """
    try:
        return task.read(binding.fields(record, features), row)
    except (ValueError, TypeError, KeyError) as error:
        columns = ", ".join(binding.columns.values())
        raise DataError(f"{place}, column {columns}: task {task.name!r}: {error}") from None
