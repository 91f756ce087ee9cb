"""CSV and TSV files: what stands between their cells, and headers that no table can have."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mtl_nlp.data.text_files import matching_files, numbered_lines
from mtl_nlp.local_files import is_url

LOADER = "csv"
"""What a recipe's ``path`` is for such files."""


def separator(patterns: Sequence[str]) -> str:
    """A tab where the files of a split are ``.tsv``, else a comma; looks at local files' headers.

    Args:
        patterns: Files or glob patterns, also of files that gzip made (``.gz``), or URLs.

    Raises:
        ValueError: If only some files are ``.tsv``, or a local file has no header and rows below it
            or two columns of one name, which pandas would rename; it names the file.
    """
    urls = [pattern for pattern in patterns if is_url(pattern)]
    files = list(matching_files([pattern for pattern in patterns if not is_url(pattern)]))
    names = [*urls, *map(str, files)]
    tabs = [name for name in names if name.lower().removesuffix(".gz").endswith(".tsv")]
    if tabs and len(tabs) < len(names):
        other = next(name for name in names if name not in tabs)
        raise ValueError(
            f"{tabs[0]} has tabs between its cells and {other} has commas; give a split files of"
            " one kind"
        )
    between = "\t" if tabs else ","
    for file in files:
        _check_header(file, between)
    return between


def _check_header(file: Path, between: str) -> None:
    lines = (line for _, line in numbered_lines(file))
    try:
        names = next(filter(None, csv.reader(lines, delimiter=between)), [])
    except csv.Error as error:
        raise ValueError(f"{file}: expected a line with the columns' names: {error}") from None
    if not any(line.strip() for line in lines):
        found = "that line alone" if names else "an empty file"
        raise ValueError(
            f"{file}: it holds no rows; expected a line with the columns' names and rows below it,"
            f" found {found}; add rows or leave the file out"
        )
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise ValueError(
            f"{file}: expected columns of distinct names, found {twice[0]!r} twice in the first"
            " line; rename or drop one"
        )
