"""Rows with predictions written to a file, whole or not at all."""

import contextlib
import gzip
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.inference.input_files import STDIN, chunks, listed

OUTPUT_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_output(name: str, source: str | None = None) -> None:
    """Raise a UserError for an output that could not be written.

    Args:
        name: The file to write.
        source: The input file, which it must not replace.
    """
    path = Path(name)
    if not path.name.lower().endswith(OUTPUT_ENDINGS):
        raise UserError(
            f"--output: expected a file that ends in {listed(OUTPUT_ENDINGS)}, found {path.name}"
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
    try:
        if path.suffix.lower() == ".parquet":
            written = _write_parquet(rows, temporary)
        else:
            written = _write_json_lines(rows, temporary, zipped=path.suffix.lower() == ".gz")
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


def _write_json_lines(rows: Iterable[Mapping[str, Any]], path: Path, *, zipped: bool) -> int:
    written = 0
    with path.open("wb") as raw:
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
            for chunk in chunks(rows):
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
