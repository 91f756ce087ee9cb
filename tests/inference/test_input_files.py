"""Rows of files come in as they are, each with its place; what cannot be read is named."""

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.inference.input_files import RowFile, check_input, text_rows
from tests.rows import write_rows as write_file

ROWS = [{"text": "Anna loved it", "id": 1}, {"text": 'a "bad", \nold 😩', "id": 2}]

_ZIPPED_TEXT = gzip.compress(b"text", mtime=0)  # without the time, which would name the test


def stdin_of(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="ascii")


def records(name: str | Path) -> list[dict[str, Any]]:
    return [row.record for row in RowFile(str(name))]


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_rows_are_read_as_they_were_written(tmp_path: Path, kind: str, zipped: str) -> None:
    path = tmp_path / f"in.{kind}{zipped}"
    write_file(path, ROWS)
    expected = [{**row, "id": str(row["id"])} for row in ROWS] if kind == "csv" else ROWS
    assert records(path) == expected


@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_a_text_is_a_line(tmp_path: Path, zipped: str) -> None:
    content = "\ufeffone\r\n two \u2028 2\nthree".encode()
    path = tmp_path / f"in.txt{zipped}"
    path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    assert records(path) == [{"text": "one"}, {"text": " two \u2028 2"}, {"text": "three"}]
    assert [row.place for row in RowFile(str(path))][2] == f"{path}, line 3"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("é\nb\n", [{"text": "é"}, {"text": "b"}]),
        ('\n {"text": "a"}\n{"text": "b"}\n', [{"text": "a"}, {"text": "b"}]),
        ('[1]\n{"a"\n', [{"text": "[1]"}, {"text": '{"a"'}]),
    ],
)
def test_stdin_is_texts_or_json_lines(
    monkeypatch: pytest.MonkeyPatch, content: str, expected: list[Any]
) -> None:
    monkeypatch.setattr("sys.stdin", stdin_of(content.encode()))
    assert records("-") == expected


def test_blank_lines_of_json_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    places = [row.place for row in RowFile(str(tmp_path / "in.jsonl"))]
    assert [place.rpartition(", ")[2] for place in places] == ["line 1", "line 3"]


def test_blank_lines_of_texts_and_of_csv_are_rows_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n\n \nb\n")
    assert records(tmp_path / "in.txt") == [{"text": one} for one in ("a", "", " ", "b")]
    (tmp_path / "in.csv").write_text("\ntext,id\na,1\n\n  \n,4\n")
    rows = list(RowFile(str(tmp_path / "in.csv")))
    assert [(row.record["text"], row.record["id"]) for row in rows] == [
        ("a", "1"),
        ("", ""),
        ("  ", ""),
        ("", "4"),
    ]
    assert [row.place.rpartition(" ")[2] for row in rows] == ["3", "4", "5", "6"]
    (tmp_path / "one.csv").write_text("text\n \n\n")
    assert records(tmp_path / "one.csv") == [{"text": " "}, {"text": ""}]


def test_an_empty_text_of_the_command_line_is_refused() -> None:
    with pytest.raises(UserError, match=r"^text 2: expected a text, found an empty one"):
        text_rows(["a", " "])


def test_it_tells_how_much_is_read(tmp_path: Path) -> None:
    for kind, total in (("jsonl", None), ("parquet", 2)):
        path = tmp_path / f"in.{kind}"
        write_file(path, ROWS)
        file = RowFile(str(path))
        assert len(list(file)) == 2
        assert file.done == file.total == (total or path.stat().st_size)


def test_a_long_cell_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"text\n{'a' * 200_000}\n")
    assert len(records(tmp_path / "in.csv")[0]["text"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.txt", b"", "in.txt: expected rows, found none"),
        ("in.jsonl", b"\n\n", "in.jsonl: expected rows, found none"),
        ("in.csv", b"text\n", "in.csv: expected rows, found none"),
        ("in.txt", b"a\n\xff\n", "in.txt, line 2: expected UTF-8, byte 1 is not"),
        ("in.jsonl", b'{"text": NaN}\n', "in.jsonl, line 1: expected JSON: NaN is no JSON value"),
        ("in.jsonl", b"[" * 100_000 + b"\n", "in.jsonl, line 1: expected JSON"),
        ("in.jsonl", b"3\n", "in.jsonl, line 1: expected an object"),
        ("in.csv", b"text,\na,b\n", "in.csv, line 1: expected a header .* without a name"),
        ("in.csv", b"text,id\na\n", "in.csv, line 2: expected 2 cells as in the header, found 1"),
        ("in.csv", b'text\n"a\nb"c\n', "in.csv, line 3: expected CSV"),
        ("in.parquet", b"text", "in.parquet: expected a Parquet file"),
        ("in.jsonl.gz", b"text", "in.jsonl.gz: the gzip file is damaged"),
        ("in.parquet.gz", _ZIPPED_TEXT, "in.parquet.gz: expected a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        records(tmp_path / name)


def test_a_name_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}")
    check_input(str(tmp_path / "in.jsonl"))
    check_input("-")
    with pytest.raises(UserError, match=r"--input: there is no file .*did you mean `in\.jsonl`"):
        check_input(str(tmp_path / "in.json"))
