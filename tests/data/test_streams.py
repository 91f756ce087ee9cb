import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_nlp.data.loading import load_splits, load_stream
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.recipe import DatasetSpec, Recipe


def write(folder: Path, *sizes: int) -> dict[str, Any]:
    """Files of so many rows, each with its number; and the dataset."""
    number, files = 0, []
    for size in sizes:
        files.append(folder / f"train-{len(files)}.jsonl")
        rows = [{"text": f"row {number + i}", "number": number + i} for i in range(size)]
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
        number += size
    (folder / "validation.jsonl").write_text('{"text": "seen", "number": -1}\n' * 3)
    named = {"train": list(map(str, files)), "validation": str(folder / "validation.jsonl")}
    return {"path": "json", "data_files": named, "text": "text", "streaming": True}


def read(stream: Any, start: int, rows: int) -> list[int]:
    """The numbers in the rows from a place on, checked against what the stream calls them."""
    found: list[int] = []
    for first, table in stream.read(start):
        numbers = table.column("number").to_pylist()
        assert numbers == list(range(first, first + len(table)))
        found += numbers
        if len(found) >= rows:
            return found[:rows]
    raise AssertionError("a stream has no end")


def test_a_pass_has_every_row_once_and_files_in_an_order_of_its_own(tmp_path: Path) -> None:
    spec = DatasetSpec(**write(tmp_path, 5, 1500, 3, 40))
    stream, whole = load_stream("d", spec, seed=3)
    assert stream.sizes == (5, 1500, 3, 40)
    assert len(whole["validation"]) == 3
    drawn = read(stream, 0, 6 * 1548)
    passes = [drawn[at : at + 1548] for at in range(0, len(drawn), 1548)]
    assert all(sorted(one) == list(range(1548)) for one in passes)
    assert len({tuple(one) for one in passes}) > 1
    for start in (0, 4, 5, 1000, 1547, 1548, 1549, 5000):
        assert read(stream, start, 60) == drawn[start : start + 60]


def test_max_rows_takes_the_first_rows(tmp_path: Path) -> None:
    spec = DatasetSpec(**write(tmp_path, 5, 30, 40), max_rows={"train": 20, "validation": 2})
    stream, whole = load_stream("d", spec, seed=3)
    assert stream.sizes == (5, 15)
    assert sorted(read(stream, 20, 20)) == list(range(20))
    assert len(whole["validation"]) == 2
    assert load_splits("d", spec, seed=3)["train"]["number"][:] == list(range(20))


def test_files_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    spec = DatasetSpec(**write(tmp_path, 50))
    stream, _ = load_stream("d", spec, seed=3)
    write(tmp_path, 40)
    with pytest.raises(DataError, match="dataset 'd', split train: expected 50 rows in file 0"):
        read(stream, 0, 60)
    (tmp_path / "train-0.jsonl").write_text('{"text": \n')
    with pytest.raises(DataError, match="dataset 'd', split train: cannot be read after row"):
        read(stream, 0, 60)


def test_a_stream_needs_a_validation_split_of_its_own(tmp_path: Path) -> None:
    content = write(tmp_path, 50)
    del content["data_files"]["validation"]
    with pytest.raises(DataError, match=r"no split 'validation'.*no rows are held out"):
        load_stream("d", DatasetSpec(**content), seed=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": {"validation": 0.1}}, "cannot hold out `splits.validation: 0.1`"),
        ({"path": "conllu", "text": None, "tokens": "form"}, "does not go with `path: conllu`"),
    ],
)
def test_what_no_stream_can_do_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    dataset = write(tmp_path, 5)
    del dataset["data_files"]["validation"]
    task = {"type": "text_classification", "dataset": "d", "label": "number"}
    with pytest.raises(RecipeError, match=message):
        Recipe(encoder="e", datasets={"d": dataset | changes}, tasks={"t": task})


def test_the_page_shows_a_recipe() -> None:
    page = Path(__file__).parents[2] / "docs" / "streaming.md"
    block = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    assert Recipe(encoder="e", **yaml.safe_load(block)).datasets["reviews"].streaming
