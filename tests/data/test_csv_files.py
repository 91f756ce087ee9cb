"""CSV and TSV files are told apart by name; headers that no table can have are refused."""

import gzip
from pathlib import Path

import pytest

from mtl_nlp.data.csv_files import separator
from mtl_nlp.data.loading import load_splits
from mtl_nlp.recipe import DatasetSpec

ROWS = [{"text": "a, b", "label": "x"}, {"text": 'say "c"', "label": "y"}]


def _write(file: Path, content: str) -> str:
    data = content.encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return str(file)


@pytest.mark.parametrize("name", ["a.tsv", "a.TSV", "a.tsv.gz"])
def test_cells_of_tsv_files_have_tabs_between_them(tmp_path: Path, name: str) -> None:
    content = 'text\tlabel\na, b\tx\n"say ""c"""\ty\n'
    file = _write(tmp_path / name, content)
    spec = DatasetSpec(path="csv", data_files={"train": file, "validation": file}, text="text")
    assert load_splits("d", spec, seed=1)["train"].to_list() == ROWS
    assert separator([file]) == "\t"


def test_a_pattern_is_judged_by_the_files_it_meets(tmp_path: Path) -> None:
    _write(tmp_path / "a.tsv", "text\tlabel\nb\tx\n")
    assert separator([f"{tmp_path}/*"]) == "\t"
    assert separator(["https://host/a.tsv.gz"]) == "\t"
    assert separator(["https://host/a"]) == ","
    _write(tmp_path / "b.csv", "text,label\nb,x\n")
    with pytest.raises(ValueError, match=r"a\.tsv has tabs .* and .*b\.csv has commas; give a"):
        separator([f"{tmp_path}/*"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it holds no rows; expected .*, found an empty file; add rows or leave the file out"),
        ("\n\n", "found an empty file"),
        ("text,label", "it holds no rows; .*found that line alone"),
        ("text,label\n\n \n", "it holds no rows; .*found that line alone"),
        ("text,label,text\na,b,c\n", "columns of distinct names, found 'text' twice in the first"),
        ('\ufeff"text",text\na,b\n', "found 'text' twice in the first line; rename or drop one"),
    ],
)
def test_a_header_that_no_table_can_have_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"a\.csv: .*{message}"):
        separator([_write(tmp_path / "a.csv", content)])


def test_columns_without_a_name_and_long_cells_are_fine(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.csv", f",,text\n1,2,{'long ' * 50_000}\n")
    assert separator([file]) == ","
