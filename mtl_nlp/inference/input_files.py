"""The rows of a file, of stdin or of the command line, read as they come, each with its place."""

import csv
import gzip
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.local_files import files_nearby

Row = TypeVar("Row")

STDIN = "-"
INPUT_ENDINGS = (".txt", ".jsonl", ".csv", ".parquet")
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
            header = next((cells for cells in reader if cells), [])
            twice = [name for name in header if header.count(name) > 1]
            if not all(header) or twice:
                wrong = f"column {twice[0]!r} twice" if twice else "a column without a name"
                self._fail(reader.line_num, f"expected a header of distinct names, found {wrong}")
            for cells in reader:
                if len(cells) < 2 and not "".join(cells).strip():
                    cells = [*cells, *[""] * (len(header) - len(cells))]  # a blank line
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
    """Texts of the command line as rows.

    Raises:
        UserError: If one is empty.
    """
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"text {number}: expected a text, found an empty one; leave it out")
    return [PlacedRow(f"text {i}", {"text": text}) for i, text in enumerate(texts, start=1)]


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
            f"--input: expected a file that ends in {listed(INPUT_ENDINGS)}, perhaps with .gz"
            f" behind it, found {path.name}"
        )


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, so many at a time as are held in memory."""
    source = iter(rows)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def listed(endings: Sequence[str]) -> str:
    """Endings as a sentence names them."""
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _ending(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
