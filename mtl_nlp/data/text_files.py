"""Local files of lines, plain or gzipped."""

import glob
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def matching_files(patterns: Sequence[str]) -> Iterator[Path]:
    """The files that names or glob patterns mean.

    Raises:
        ValueError: If no file matches a pattern.
    """
    for pattern in patterns:
        found = [pattern]
        if glob.has_magic(pattern) and not Path(pattern).is_file():
            found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - may be absolute
        if not found:
            raise ValueError(f"no file matches {pattern}")
        yield from map(Path, found)


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1, without their ends.

    Raises:
        ValueError: If it cannot be read whole or is not UTF-8.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8; save it as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} cannot be read whole: {error}") from None
