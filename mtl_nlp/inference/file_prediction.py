"""Rows of files with their predictions, a chunk at a time; rows that no task reads are counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtl_nlp.errors import DataError
from mtl_nlp.inference.input_files import PlacedRow, chunks
from mtl_nlp.inference.predictor import INPUTS, Predictor
from mtl_nlp.tasks.base import Task

PREDICTIONS = "predictions"
_MAIN_INPUTS = ("text", "tokens")  # no task reads a row without one of them


@dataclass
class _Tally:
    """Rows of one kind: how many there were and the first of them."""

    count: int = 0
    first: PlacedRow | None = None

    def add(self, row: PlacedRow) -> None:
        self.count += 1
        self.first = self.first or row


def predicted_rows(
    predictor: Predictor,
    rows: Iterable[PlacedRow],
    tasks: Sequence[str] | None = None,
    *,
    warn: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Each row as it came in plus ``predictions``, in order.

    A cell or line without visible characters is a missing input, whatever the file's kind: a row
    whose text is missing comes back with no predictions.

    Args:
        predictor: Of a model.
        rows: The rows; only a chunk of them is held.
        tasks: The tasks wanted; by default all whose input a row has.
        warn: Told after the last row how many have no predictions and why, and how many have two
            inputs of which one is read, a sentence a reason.

    Raises:
        UserError: If a named task is not the model's.
        DataError: If a row is no input, or not that of a named task; names its place.
    """
    empty, unread, twofold = _Tally(), _Tally(), _Tally()
    for chunk in chunks(rows):
        for row in chunk:
            _check(row)
            if not any(_is_blank(row.record.get(name)) for name in _MAIN_INPUTS):
                twofold.add(row)
        silent = [tasks is None and _lacks_text(row.record) for row in chunk]
        answered = [row for row, none in zip(chunk, silent, strict=True) if not none]
        results = iter(
            predictor.predict(
                [_given(row.record) for row in answered],
                tasks,
                places=[row.place for row in answered],
            )
        )
        for row, none in zip(chunk, silent, strict=True):
            result = {} if none else next(results)
            if not result:
                (empty if none else unread).add(row)
            yield {**row.record, PREDICTIONS: result}
    if warn is not None:
        for warning in _warnings(empty, unread, twofold, predictor.model.tasks):
            warn(warning)


def _check(row: PlacedRow) -> None:
    if PREDICTIONS in row.record:
        raise DataError(
            f"{row.place}: the column {PREDICTIONS!r} is already there; rename or drop it"
        )


def _lacks_text(record: Mapping[str, Any]) -> bool:
    """Whether there is a column for the text and nothing in it."""
    columns = [name for name in _MAIN_INPUTS if name in record]
    return bool(columns) and all(_is_blank(record[name]) for name in columns)


def _given(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record without the inputs that are missing, but for its text, which errors speak of."""
    if _lacks_text(record):
        return record
    return {
        name: value for name, value in record.items() if name not in INPUTS or not _is_blank(value)
    }


def _is_blank(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) and not item.strip() for item in value)
    return value is None or (isinstance(value, str) and not value.strip())


def _warnings(
    empty: _Tally, unread: _Tally, twofold: _Tally, tasks: Mapping[str, Task]
) -> Iterator[str]:
    if empty.first is not None:
        yield f"{_without(empty)}: no text is there"
    if unread.first is not None:
        record = _given(unread.first.record)
        columns = " + ".join(name for name in INPUTS if name in record)
        yield f"{_without(unread)}, as no task reads {columns}: {_reading(tasks)}"
    if twofold.first is not None:
        rows = "1 row" if twofold.count == 1 else f"{twofold.count:,} rows"
        yield (
            f"{rows} with both text and tokens ({twofold.first.place} first) read by tokens alone;"
            " drop one of the columns"
        )


def _without(tally: _Tally) -> str:
    assert tally.first is not None
    if tally.count == 1:
        return f"1 row has no predictions ({tally.first.place})"
    return f"{tally.count:,} rows have no predictions (the first: {tally.first.place})"


def _reading(tasks: Mapping[str, Task]) -> str:
    """What each task reads, as ``mood, ner read text; entailed reads text + text_pair``."""
    by_input: dict[str, list[str]] = {}
    for name, task in tasks.items():
        by_input.setdefault(" + ".join(task.inputs), []).append(name)
    return (
        "; ".join(
            f"{', '.join(names)} read{'s' if len(names) == 1 else ''} {columns}"
            for columns, names in by_input.items()
        )
        or "the model has no tasks"
    )
