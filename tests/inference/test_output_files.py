"""Rows with predictions go out whole or not at all."""

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

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.inference.input_files import CHUNK, RowFile
from mtl_nlp.inference.output_files import check_output, json_line, write_rows

ROWS = [
    {"text": "Anna loved it", "predictions": {"ner": [{"word": "Anna", "start": 0}]}},
    {"text": "bad", "predictions": {"ner": [{"word": "bad", "start": 0}]}},
]


def records(name: str | Path) -> list[dict[str, Any]]:
    return [row.record for row in RowFile(str(name))]


@pytest.mark.parametrize(
    "name",
    ["out.jsonl", "out.jsonl.gz", "out.parquet", "OUT.JSONL.GZ", "out.gz.JSONL", "out.Parquet"],
)
def test_written_rows_are_read_back(tmp_path: Path, name: str) -> None:
    assert write_rows(ROWS, tmp_path / name) == 2
    assert records(tmp_path / name) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == [name]
    zipped = (tmp_path / name).read_bytes().startswith(b"\x1f\x8b")
    assert zipped == name.lower().endswith(".gz")


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


def test_a_name_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("{}")
    check_output(str(tmp_path / "out.parquet"), str(source))
    check_output(str(source), "-")
    with pytest.raises(UserError, match=r"--output: .* is the --input as well"):
        check_output(str(source), str(source))
    with pytest.raises(UserError, match=r"--output: expected a file that ends in \.jsonl"):
        check_output(str(tmp_path / "out.csv"))
