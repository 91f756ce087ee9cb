"""Local files of lines are found by name or pattern, and read plain or gzipped."""

import gzip
from pathlib import Path

import pytest

from mtl_nlp.data.text_files import matching_files, numbered_lines


def test_files_are_found_by_name_and_by_pattern_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c[1].txt", "d.csv"):
        (tmp_path / name).touch()
    found = matching_files([f"{tmp_path}/d.csv", f"{tmp_path}/[ab].txt", f"{tmp_path}/c[1].txt"])
    assert [file.name for file in found] == ["d.csv", "a.txt", "b.txt", "c[1].txt"]
    with pytest.raises(ValueError, match=r"no file matches .*/\*\.json"):
        list(matching_files([f"{tmp_path}/*.json"]))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_lines_are_numbered_and_lose_their_ends(tmp_path: Path, name: str) -> None:
    content = "\ufeffone\r\n\nthree é".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(numbered_lines(tmp_path / name)) == [(1, "one"), (2, ""), (3, "three é")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", "a.txt is not UTF-8; save it as UTF-8"),
        ("a.gz", b"plain", "a.gz cannot be read whole: Not a gzipped file"),
        ("a.gz", gzip.compress(b"one" * 99, mtime=0)[:-9], "a.gz cannot be read whole: "),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(numbered_lines(tmp_path / name))
