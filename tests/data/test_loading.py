"""Whatever a recipe names as a dataset becomes the splits train, validation and test."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from mtl_nlp.data.loading import load_splits
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import DatasetSpec, Recipe
from tests.rows import write_rows

ROWS = [{"text": f"text number {i}", "label": "good" if i % 2 else "bad"} for i in range(40)]
LOADERS = {"jsonl": "json", "csv": "csv", "parquet": "parquet"}


def _spec(path: str, files: dict[str, str], **more: Any) -> DatasetSpec:
    return DatasetSpec(**{"path": path, "data_files": files, "text": "text", **more})


@pytest.fixture
def train_file(tmp_path: Path) -> str:
    return write_rows(tmp_path / "train.jsonl", ROWS)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "jsonl.gz", "csv.gz"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    files = {s: write_rows(tmp_path / f"{s}.{ending}", ROWS) for s in ("train", "validation")}
    splits = load_splits("d", _spec(LOADERS[ending.split(".")[0]], files), seed=1)
    assert list(splits) == ["train", "validation"]
    assert splits["train"].to_list() == ROWS


def test_files_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes" / "rows").mkdir(parents=True)
    write_rows(tmp_path / "recipes" / "rows" / "train.jsonl", ROWS)
    (tmp_path / "recipes" / "mood.yaml").write_text(
        "encoder: org/encoder\n"
        "datasets: {d: {path: json, data_files: {train: rows/train.jsonl}, text: text}}\n"
        "tasks: {mood: {type: text_classification, dataset: d, label: label}}\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.from_yaml("recipes/mood.yaml")
    assert len(load_splits("d", recipe.datasets["d"], seed=1)["train"]) == 36


def test_other_names_of_splits_are_mapped(tmp_path: Path) -> None:
    files = {name: write_rows(tmp_path / f"{name}.jsonl", ROWS[:n]) for name, n in
             (("train", 9), ("dev", 5), ("heldout", 4))}  # fmt: skip
    spec = _spec("json", files, splits={"validation": "dev", "test": "heldout"})
    assert {s: len(d) for s, d in load_splits("d", spec, seed=1).items()} == {
        "train": 9,
        "validation": 5,
        "test": 4,
    }


def test_a_seeded_tenth_is_held_out_where_validation_is_missing(train_file: str) -> None:
    said: list[str] = []
    splits = load_splits("d", _spec("json", {"train": train_file}), seed=1, say=said)
    assert (len(splits["train"]), len(splits["validation"])) == (36, 4)
    together = [*splits["train"]["text"], *splits["validation"]["text"]]
    assert sorted(together) == sorted(row["text"] for row in ROWS)
    assert said == [
        "dataset 'd' has no validation split: 4 rows of train (10%) are held out for it"
    ]


def test_shares_are_of_the_whole_of_train_and_do_not_overlap(train_file: str) -> None:
    spec = _spec("json", {"train": train_file}, splits={"validation": 0.25, "test": 0.5})
    splits = load_splits("d", spec, seed=1)
    assert {s: len(d) for s, d in splits.items()} == {"train": 10, "validation": 10, "test": 20}
    assert len({text for split in splits.values() for text in split["text"]}) == 40


def test_the_seed_decides_what_is_held_out(train_file: str) -> None:
    def held_out(seed: int) -> list[str]:
        splits = load_splits("d", _spec("json", {"train": train_file}), seed=seed)
        return list(splits["validation"]["text"])

    assert held_out(1) == held_out(1)
    assert held_out(1) != held_out(2)


def test_max_rows_is_a_seeded_sample_in_the_files_order(train_file: str) -> None:
    spec = _spec(
        "json", {"train": train_file, "test": train_file}, max_rows={"train": 7, "test": 99}
    )
    splits = load_splits("d", spec, seed=1)
    numbers = [int(text.split()[-1]) for text in splits["train"]["text"]]
    assert len(numbers) == 7
    assert numbers == sorted(numbers)
    assert numbers != list(range(7))
    assert len(splits["test"]) == 40
    assert list(load_splits("d", spec, seed=1)["train"]["text"]) == list(splits["train"]["text"])
    assert list(load_splits("d", spec, seed=2)["train"]["text"]) != list(splits["train"]["text"])


def test_rows_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "small_corpus"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write_rows(package / "train.jsonl", ROWS)
    monkeypatch.syspath_prepend(tmp_path)
    spec = _spec("package:small_corpus", {"train": "train.jsonl"})
    assert len(load_splits("d", spec, seed=1)["train"]) == 36


def test_a_missing_package_is_named() -> None:
    spec = DatasetSpec(path="package:no_such_corpus", text="text")
    with pytest.raises(DataError, match=r"dataset 'd' .*no package 'no_such_corpus' is installed"):
        load_splits("d", spec, seed=1)


def test_a_broken_file_is_told_with_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    train = write_rows(tmp_path / "train.jsonl", ROWS)
    spec = _spec("json", {"train": train, "validation": str(tmp_path / "dev.jsonl")})
    expected = r"dataset 'd', split validation \(.*dev.jsonl\) cannot be loaded: JSON parse error"
    with pytest.raises(DataError, match=expected):
        load_splits("d", spec, seed=1)


@pytest.mark.parametrize(
    ("path", "content"), [("json", b""), ("json", b"[]"), ("json", b"\n"), ("text", b"")]
)
def test_an_empty_file_is_told(tmp_path: Path, path: str, content: bytes) -> None:
    (tmp_path / "train").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset 'd', split train .*it holds no rows"):
        load_splits("d", _spec(path, {"train": str(tmp_path / "train")}), seed=1)


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    empty = pa.table({"text": pa.array([], pa.string())})
    parquet.write_table(empty, tmp_path / "train.parquet")
    spec = _spec("parquet", {"train": str(tmp_path / "train.parquet")})
    with pytest.raises(DataError, match=r"dataset 'd', split train .*it holds no rows"):
        load_splits("d", spec, seed=1)


def test_splits_need_not_have_the_same_types(tmp_path: Path) -> None:
    labels = {"test": None, "train": "good", "validation": 3}
    files = {
        split: write_rows(tmp_path / f"{split}.jsonl", [{"text": "a", "label": label}])
        for split, label in labels.items()
    }
    splits = load_splits("d", _spec("json", files), seed=1)
    assert {split: rows[0]["label"] for split, rows in splits.items()} == labels


def test_a_hub_dataset_that_does_not_exist_is_told() -> None:
    with pytest.raises(DataError, match=r"dataset 'd' \(nobody/nothing\) cannot be loaded"):
        load_splits("d", DatasetSpec(path="nobody/nothing", text="text"), seed=1)


def test_a_missing_train_split_is_told_with_the_ones_there_are(train_file: str) -> None:
    spec = _spec("json", {"test": train_file})
    with pytest.raises(
        DataError, match=r"dataset 'd': no split 'train'; it has test; name the one"
    ):
        load_splits("d", spec, seed=1)


@pytest.mark.parametrize("key", ["text", "text_pair"])
def test_a_missing_input_column_is_told_with_the_ones_there_are(train_file: str, key: str) -> None:
    spec = _spec("json", {"train": train_file}, **{key: "sentence"})
    expected = rf"dataset 'd', split train: no column 'sentence' \(for {key}\); it has text, label"
    with pytest.raises(DataError, match=expected):
        load_splits("d", spec, seed=1)


def test_too_few_rows_to_hold_some_out_are_told(tmp_path: Path) -> None:
    spec = _spec("json", {"train": write_rows(tmp_path / "train.jsonl", ROWS[:1])})
    with pytest.raises(DataError, match="dataset 'd', split train: expected rows, found none"):
        load_splits("d", spec, seed=1)
