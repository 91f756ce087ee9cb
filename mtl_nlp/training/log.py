"""`log.jsonl`: what training saw, one strict JSON object a line, surviving kills and resumes."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mtl_nlp.errors import DataError


@dataclass(frozen=True)
class RunRecords:
    """The lines of a log, each a dict as it was written, in the order of writing."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)


class RunLog:
    """Appends records to a log; every line is handed to the system as soon as it is written.

    A kill therefore costs at most the line being written; opening the log again cuts that line
    off. Numbers that JSON does not know (NaN, the infinities) are written as ``null``, numbers
    of NumPy as plain ones.

    Args:
        path: The file, made (with its folders) if it is not there, else continued.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._pending = b""  # what a full disk would not take
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < path.stat().st_size:
            self._file.truncate(whole)

    def write(self, record: Mapping[str, Any]) -> bool:
        """Append a record: a step's, or an evaluation's if it has the key ``evaluation``.

        Returns:
            Whether the disk took it, and all before it; what it refuses is offered again with the
            next record.

        Raises:
            ValueError: If the record has no ``step``, by which a resume would cut the log.
            TypeError: If it holds anything but mappings, lists, strings, booleans, numbers, None.
        """
        if "step" not in record:
            raise ValueError(f"a log record needs its 'step', but has only {sorted(record)}")
        self._pending += json.dumps(_strict(record), allow_nan=False).encode() + b"\n"
        try:
            while self._pending:
                self._pending = self._pending[self._file.write(self._pending) :]
        except OSError:
            return False
        return True

    def truncate_after(self, step: int) -> None:
        """Drop every record of a later step, whole or not at all; 0 empties the log."""
        kept = [json.dumps(record) for record in _records(self._path) if record["step"] <= step]
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        with temporary.open("wb") as file:
            file.writelines(line.encode() + b"\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        temporary.replace(self._path)
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_log(path: Path) -> RunRecords:
    """Read a log, also while it is being written: a last line without its end is left out.

    Raises:
        DataError: If there is no such file, or a line of it is not a record.
    """
    records = RunRecords()
    for record in _records(path):
        (records.evaluations if "evaluation" in record else records.steps).append(record)
    return records


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected the log of a training run, but there is no such file; "
            "name the log.jsonl of a run folder"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise DataError(
                f"{path}, line {number}: expected a JSON object with a whole number 'step', found "
                f"{line[:60].decode(errors='replace')!r}; remove that line"
            )
        yield record


def _strict(value: Any) -> Any:
    """The same value in what strict JSON can say."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value
