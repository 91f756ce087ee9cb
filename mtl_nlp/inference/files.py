"""Rows of a file or of stdin in, the same rows with their predictions out, a chunk at a time."""

import contextlib
import csv
import gzip
import json
import math
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.recipe_file import files_nearby

if TYPE_CHECKING:
    from mtl_nlp.inference.predictor import Predictor

STDIN = "-"
PREDICTIONS = "predictions"
INPUT_ENDINGS = (".txt", ".jsonl", ".csv", ".parquet")
OUTPUT_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_SURROGATE = re.compile("[\ud800-\udfff]")
CHUNK = 1000
"""Rows that are in memory at a time, and are sorted by length together."""


@dataclass(frozen=True)
class PlacedRow:
    """A row as it came in.

    Attributes:
        place: How errors name it, ``reviews.csv, line 7``.
        record: Its columns.
    """

    place: str
    record: dict[str, Any]


class RowFile:
    """The rows of a .txt, .jsonl, .csv or .parquet file, perhaps gzipped, or of stdin.

    Iterating reads as it goes and raises a DataError naming the line that cannot be read.

    Args:
        name: The file, or ``-`` for stdin: a text a line, or JSON lines if it begins with ``{``.

    Attributes:
        total: Size in bytes, or rows for Parquet; None where it is not known.
        done: How much of that was read so far.
    """

    def __init__(self, name: str) -> None:
        self.name = "stdin" if name == STDIN else name
        self.total = None if name == STDIN else Path(name).stat().st_size
        self.done = 0
        self._path = None if name == STDIN else Path(name)

    def __iter__(self) -> Iterator[PlacedRow]:
        empty = True
        try:
            for row in self._rows():
                empty = False
                yield row
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{self.name}: the gzip file is damaged ({error})") from error
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read: {error.strerror or error}") from error
        if empty:
            raise DataError(f"{self.name}: expected rows, found none")

    def _rows(self) -> Iterator[PlacedRow]:
        if self._path is None:
            yield from self._stdin()
            return
        ending = _ending(self._path.name)
        with self._path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if self._path.suffix.lower() == ".gz" else raw
            if ending == ".parquet":
                yield from self._parquet(file)
                return
            lines = self._lines(file, raw.tell)
            readers: dict[str, Callable[[Iterator[str]], Iterator[PlacedRow]]] = {
                ".txt": self._texts,
                ".jsonl": self._json_lines,
                ".csv": self._csv,
            }
            yield from readers[ending](lines)

    def _stdin(self) -> Iterator[PlacedRow]:
        lines = self._lines(sys.stdin.buffer, lambda: 0)
        first: list[str] = []
        for line in lines:
            first.append(line)
            if line.strip():
                break
        read = self._json_lines if first and first[-1].lstrip().startswith("{") else self._texts
        yield from read(chain(first, lines))

    def _lines(self, file: Iterable[bytes], position: Callable[[], int]) -> Iterator[str]:
        """The lines with their ends."""
        for number, line in enumerate(file, start=1):
            self.done = position()
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self._fail(
                    number, f"expected UTF-8, byte {error.start + 1} is not; save it as such"
                )

    def _texts(self, lines: Iterator[str]) -> Iterator[PlacedRow]:
        for number, line in enumerate(lines, start=1):
            yield PlacedRow(self._place(number), {"text": line.rstrip("\r\n")})

    def _json_lines(self, lines: Iterator[str]) -> Iterator[PlacedRow]:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line, parse_constant=_refuse_constant)
            except json.JSONDecodeError as error:
                self._fail(number, f"expected JSON, column {error.colno} is not: {error.msg}")
            except (ValueError, RecursionError) as error:
                self._fail(number, f"expected JSON: {error}")
            if not isinstance(record, dict):
                self._fail(
                    number, f'expected an object like {{"text": "…"}}, found {line.strip():.40}'
                )
            yield PlacedRow(self._place(number), record)

    def _csv(self, lines: Iterator[str]) -> Iterator[PlacedRow]:
        csv.field_size_limit(sys.maxsize)  # a long document is no mistake
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            twice = [name for name in header if header.count(name) > 1]
            if not all(header) or twice:
                wrong = f"column {twice[0]!r} twice" if twice else "a column without a name"
                self._fail(1, f"expected a header of distinct names, found {wrong}")
            for cells in reader:
                if len(cells) != len(header):
                    what = f"expected {len(header)} cells as in the header, found {len(cells)}"
                    self._fail(reader.line_num, what)
                row = dict(zip(header, cells, strict=True))
                yield PlacedRow(self._place(reader.line_num), row)
        except csv.Error as error:
            self._fail(reader.line_num, f"expected CSV: {error}")

    def _parquet(self, file: gzip.GzipFile | BufferedReader) -> Iterator[PlacedRow]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with tempfile.TemporaryFile() as whole:
            if isinstance(file, gzip.GzipFile):  # Parquet is read from its end
                shutil.copyfileobj(file, whole)
            try:
                parquet = pq.ParquetFile(whole if isinstance(file, gzip.GzipFile) else file)
                self.total = parquet.metadata.num_rows
                for batch in parquet.iter_batches(batch_size=CHUNK):
                    for record in batch.to_pylist():
                        yield PlacedRow(f"{self.name}, row {self.done}", record)
                        self.done += 1
            except pa.ArrowException as error:
                raise DataError(f"{self.name}: expected a Parquet file: {error}") from error

    def _place(self, line: int) -> str:
        return f"{self.name}, line {line}"

    def _fail(self, line: int, what: str) -> NoReturn:
        raise DataError(f"{self._place(line)}: {what}; mend or drop the line")


def text_rows(texts: Sequence[str]) -> list[PlacedRow]:
    """Texts of the command line as rows."""
    return [PlacedRow(f"text {i}", {"text": text}) for i, text in enumerate(texts, start=1)]


def predicted_rows(
    predictor: "Predictor", rows: Iterable[PlacedRow], tasks: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Each row as it came in plus ``predictions``, in order.

    Args:
        predictor: Of a model.
        rows: The rows; only a chunk of them is held.
        tasks: The tasks wanted; by default all whose input a row has.

    Raises:
        UserError: If a named task is not the model's.
        DataError: If a row is no input; names its place.
    """
    for chunk in _chunks(rows):
        for row in chunk:
            if PREDICTIONS in row.record:
                raise DataError(
                    f"{row.place}: the column {PREDICTIONS!r} is already there; rename or drop it"
                )
        records = [row.record for row in chunk]
        results = predictor.predict(records, tasks, places=[row.place for row in chunk])
        for record, result in zip(records, results, strict=True):
            yield {**record, PREDICTIONS: result}


def check_input(name: str) -> None:
    """Raise a UserError for an input that is not there or of no known kind."""
    path = Path(name)
    if name == STDIN:
        return
    if path.is_dir():
        raise UserError(f"--input: {path} is a folder; name a file")
    if not path.is_file():
        raise UserError(f"--input: there is no file {path}; {files_nearby(path)}")
    if _ending(path.name) not in INPUT_ENDINGS:
        raise UserError(
            f"--input: expected a file that ends in {_listed(INPUT_ENDINGS)}, perhaps with .gz"
            f" behind it, found {path.name}"
        )


def check_output(name: str, source: str | None = None) -> None:
    """Raise a UserError for an output that could not be written.

    Args:
        name: The file to write.
        source: The input file, which it must not replace.
    """
    path = Path(name)
    if not path.name.lower().endswith(OUTPUT_ENDINGS):
        raise UserError(
            f"--output: expected a file that ends in {_listed(OUTPUT_ENDINGS)}, found {path.name}"
        )
    if path.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"--output: there is no folder {path.parent}; make it, or name another")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--output: the folder {path.parent} may not be written to; name another")
    if source not in (None, STDIN) and path.exists() and path.samefile(str(source)):
        raise UserError(f"--output: {path} is the --input as well; name another file")


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write rows as .jsonl, .jsonl.gz or .parquet; the file comes to be whole or not at all.

    Returns:
        How many rows there were.

    Raises:
        DataError: If a column's values do not fit the format.
        UserError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_json_lines
    try:
        written = write(rows, temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"--output: {path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return written


def json_line(row: Mapping[str, Any]) -> str:
    """A row as JSON: dates as ISO text, decimals as text, not-a-number as null.

    Half a surrogate pair, which UTF-8 does not have, is escaped as it came in.

    Raises:
        DataError: If a value is none of JSON's kinds.
    """
    try:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        line = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=_plain)
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", line)


def _write_json_lines(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    written = 0
    with path.open("wb") as raw:
        zipped = ".gz" in path.suffixes
        file = gzip.GzipFile(filename="", fileobj=raw, mode="wb") if zipped else raw
        with contextlib.closing(file):
            for row in rows:
                file.write(f"{json_line(row)}\n".encode())
                written += 1
    return written


def _write_parquet(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Chunks wait in a file until the last one has told the types of all columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas: list[Any] = []
    written = 0
    with tempfile.TemporaryFile() as waiting:
        try:
            for chunk in _chunks(rows):
                names = dict.fromkeys(name for row in chunk for name in row)
                columns = {name: [row.get(name) for row in chunk] for name in names}
                _check_arrow(columns, written)
                table = pa.table(columns)
                with pa.ipc.new_stream(waiting, table.schema) as stream:
                    stream.write_table(table)
                schemas.append(table.schema)
                written += len(chunk)
            waiting.seek(0)
            schema = pa.unify_schemas(schemas, promote_options="permissive")
            with pq.ParquetWriter(path, schema) as writer:
                for _ in schemas:
                    table = pa.ipc.open_stream(waiting).read_all()
                    writer.write_table(pa.Table.from_pylist(table.to_pylist(), schema=schema))
        except pa.ArrowException as error:
            raise DataError(
                f"a column's values are of several kinds, which Parquet cannot hold ({error});"
                " write .jsonl instead"
            ) from error
    return written


def _check_arrow(columns: Mapping[str, Sequence[Any]], start: int) -> None:
    """Raise a DataError for a value that Arrow has no type for; rows count from ``start``."""
    import pyarrow as pa

    for name, values in columns.items():
        try:
            pa.array([name])
            pa.array(values)
        except (OverflowError, UnicodeEncodeError) as error:
            number = next((i for i, value in enumerate(values, start) if _beyond(value)), start)
            raise DataError(
                f"row {number}, column {name!a}: expected values that Parquet can hold, found"
                f" {values[number - start]!a:.60} ({error}); write .jsonl instead"
            ) from error


def _beyond(value: Any) -> bool:
    import pyarrow as pa

    try:
        pa.array([value])
    except (OverflowError, UnicodeEncodeError):
        return True
    return False


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(rows)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _ending(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _listed(endings: Sequence[str]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise DataError(
        f"expected values that JSON can hold, found {type(value).__name__}; write .parquet instead"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
