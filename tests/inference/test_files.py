"""Rows of files come in as they are and go out with predictions, in order, whole or not at all."""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import DataError, UserError
from mtl_nlp.inference.files import (
    CHUNK,
    PlacedRow,
    RowFile,
    check_input,
    check_output,
    json_line,
    predicted_rows,
    text_rows,
    write_rows,
)
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from tests.rows import write_rows as write_file
from tests.tiny import tiny_encoder, tiny_tokenizer

ROWS = [{"text": "Anna loved it", "id": 1}, {"text": 'a "bad", \nold 😩', "id": 2}]

_ZIPPED_TEXT = gzip.compress(b"text", mtime=0)  # without the time, which would name the test


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    tasks = {
        "mood": {"type": "text_classification", "labels": ["bad", "good"]},
        "pos": {"type": "token_classification", "labels": ["X", "Y"], "scheme": "none"},
    }
    model = MultiTaskModel.from_encoder(tiny_encoder(tmp_path_factory.mktemp("encoder")), tasks)
    return Predictor(model.eval(), RowEncoder(tiny_tokenizer(), max_length=32))


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


def test_rows_keep_their_order_over_chunks(predictor: Predictor) -> None:
    words = ["good", "the bad city", "music " * 9, "we play", "never"]
    texts = [f"{words[i % 5]} {i}" for i in range(CHUNK + 3)]
    results = list(predicted_rows(predictor, text_rows(texts), ["pos"]))
    assert [result["text"] for result in results] == texts
    assert [result["predictions"]["pos"]["words"] for result in results] == [
        text.split() for text in texts
    ]


def test_only_a_chunk_is_held(predictor: Predictor) -> None:
    taken = 0

    def endless() -> Iterator[PlacedRow]:
        nonlocal taken
        while True:
            taken += 1
            yield PlacedRow("row", {"text": "a"})

    next(predicted_rows(predictor, endless(), ["mood"]))
    assert taken == CHUNK


def test_a_row_keeps_its_columns(predictor: Predictor) -> None:
    rows = [PlacedRow("row", {"id": 7, "text": "good", "tags": [1, {"a": None}]})]
    (result,) = predicted_rows(predictor, rows)
    assert list(result) == ["id", "text", "tags", "predictions"]
    assert result["tags"] == [1, {"a": None}]
    assert list(result["predictions"]) == ["mood", "pos"]


def test_predictions_that_are_there_are_not_replaced(predictor: Predictor) -> None:
    rows = [PlacedRow("in.csv, line 2", {"text": "a", "predictions": ""})]
    with pytest.raises(DataError, match=r"^in\.csv, line 2: the column 'predictions'"):
        list(predicted_rows(predictor, rows))


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_written_rows_are_read_back(tmp_path: Path, predictor: Predictor, name: str) -> None:
    rows = list(predicted_rows(predictor, text_rows(["Anna loved it", "bad"])))
    assert write_rows(rows, tmp_path / name) == 2
    assert records(tmp_path / name) == rows
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parquet_has_the_columns_of_all_chunks(tmp_path: Path) -> None:
    late = {"text": "b", "predictions": {"ner": [{"word": "b", "start": 0}]}, "id": 1.5}
    rows = [{"text": "a", "predictions": {"ner": []}, "id": 1}] * CHUNK + [late]
    assert write_rows(iter(rows), tmp_path / "out.parquet") == CHUNK + 1
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("id").type == pa.float64()
    assert table.slice(CHUNK).to_pylist() == [late]


def test_values_of_several_kinds_do_not_go_into_parquet(tmp_path: Path) -> None:
    rows = [{"id": 1}] * CHUNK + [{"id": "one"}]
    with pytest.raises(DataError, match=r"several kinds.*write \.jsonl instead"):
        write_rows(rows, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    def failing() -> Iterator[Mapping[str, Any]]:
        yield {"text": "a"}
        raise DataError("row 1 is wrong")

    (tmp_path / name).write_text("before")
    with pytest.raises(DataError, match="row 1 is wrong"):
        write_rows(failing(), tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "before")]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no_folder/out\.jsonl cannot be written"):
        write_rows([{}], tmp_path / "no_folder" / "out.jsonl")


def test_half_a_surrogate_pair_goes_out_as_it_came_in(tmp_path: Path) -> None:
    row = {"text": "good", "id": "\ud800", "\udfff": ["é \\ud800 😩"]}
    json_line(row).encode()
    assert json.loads(json_line(row)) == row
    assert write_rows([row], tmp_path / "out.jsonl") == 1
    assert records(tmp_path / "out.jsonl") == [row]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "b", "id": "\ud800"}, r"row 1, column 'id': .*found '\\ud800' .*write \.jsonl"),
        ({"text": "b", "id": 2**63}, "row 1, column 'id': expected .* found 9223372036854775808"),
        ({"text": "b", "id": [{"a": -(2**64)}]}, "row 1, column 'id': .*write .jsonl instead"),
        ({"text": "b", "\ud800": 1}, r"column '\\ud800': .*write \.jsonl instead"),
    ],
)
def test_what_parquet_cannot_hold_is_told(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_rows([{"text": "a", "id": None}, row], tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text() | st.none()))
def test_a_line_is_one_line_of_json(row: dict[str, Any]) -> None:
    line = json_line(row)
    assert "\n" not in line
    assert json.loads(line) == row


def test_values_beyond_json(tmp_path: Path) -> None:
    row = {"day": date(2024, 2, 29), "price": Decimal("1.50"), "odd": [float("nan"), 1.5]}
    assert json.loads(json_line(row)) == {"day": "2024-02-29", "price": "1.50", "odd": [None, 1.5]}
    with pytest.raises(DataError, match=r"found bytes; write \.parquet instead"):
        json_line({"raw": b"a"})


def test_names_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("{}")
    check_input(str(source))
    check_input("-")
    check_output(str(tmp_path / "out.parquet"), str(source))
    check_output(str(source), "-")
    with pytest.raises(UserError, match=r"--input: there is no file .*did you mean `in\.jsonl`"):
        check_input(str(tmp_path / "in.json"))
    with pytest.raises(UserError, match=r"--output: .* is the --input as well"):
        check_output(str(source), str(source))
    with pytest.raises(UserError, match=r"--output: expected a file that ends in \.jsonl"):
        check_output(str(tmp_path / "out.csv"))
