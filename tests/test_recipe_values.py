import re
from typing import Any

import pytest

from mtl_nlp import recipe_values as values


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a.jsonl", {"train": ["a.jsonl"]}),
        (["a.jsonl", "b.jsonl"], {"train": ["a.jsonl", "b.jsonl"]}),
        ({"test": "a", "dev": ("b", "c")}, {"test": ["a"], "dev": ["b", "c"]}),
        (None, None),
    ],
)
def test_data_files_are_lists_by_split(written: Any, plain: Any) -> None:
    assert values.data_files(written) == plain
    assert values.data_files(plain) == plain


def test_labels_are_the_text_that_stands_in_the_recipe() -> None:
    assert values.label_names([0, True, False, "no", "ü"]) == ["0", "true", "false", "no", "ü"]
    assert values.label_map({1: "positive", "no": 0}) == {"1": "positive", "no": "0"}


def test_options_are_copied_and_tuples_become_lists() -> None:
    written = {"a": (1, [2.5, None]), "b": True}
    plain = values.option(written)
    assert plain == {"a": [1, [2.5, None]], "b": True}


@pytest.mark.parametrize("value", [object(), {1: "a"}, float("nan"), [float("inf")], b"a", {1, 2}])
def test_options_that_yaml_cannot_say_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="should be text, a number, a list or a mapping"):
        values.option(value)


@pytest.mark.parametrize("good", ["ner", "_x", "Task_2", "a"])
def test_names_are_identifiers(good: str) -> None:
    assert values.name(good) == good


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("my-task", "such as `my_task`"),
        ("été", "English letters"),
        ("2nd", "the first not a digit$"),
        ("a\n", "English letters"),
        ("", "English letters"),
        ("mean", "stand for scores over all tasks"),
    ],
)
def test_other_names_are_refused(bad: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        values.name(bad)


@pytest.mark.parametrize("good", ["name", "org/name", "org/na.me-2_x", "a/b", None])
def test_repositories_have_a_name_and_perhaps_an_owner(good: str | None) -> None:
    assert values.repo_id(good) == good


@pytest.mark.parametrize("bad", ["a b", "org/", "/name", "a/b/c", "-a", "https://host/name", "ü"])
def test_other_repositories_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"should be `name` or `org/name`, found"):
        values.repo_id(bad)


def test_a_long_wrong_value_is_cut() -> None:
    assert len(values.found("x" * 1000)) == 60
    assert values.found(None) == "null"


@pytest.mark.parametrize(
    ("path", "file", "loader"),
    [
        ("json", "a/train.jsonl", None),
        ("json", "a/train.JSON.gz", None),
        ("csv", "train.tsv", None),
        ("csv", "train.jsonl.gz", "json"),
        ("json", "train.parquet", "parquet"),
        ("text", "train.conll", None),
        ("xml", "train.txt", None),
        ("conllu", "train.conllu.gz", None),
        ("conllu", "train.jsonl", "json"),
        ("text", "train.conllu", "conllu"),
    ],
)
def test_endings_fit_their_loaders(path: str, file: str, loader: str | None) -> None:
    wrong = values.wrong_loader(path, file)
    mend = f"`{file}` is not a file for `path: {path}`; write `path: {loader}`"
    assert wrong == (mend if loader else None)


@pytest.mark.parametrize("path", ["parquet", "json"])
def test_gzipped_parquet_is_no_file_of_any_loader(path: str) -> None:
    wrong = values.wrong_loader(path, "a/b.Parquet.gz")
    assert wrong is not None
    assert "`a/b.Parquet.gz` is not read" in wrong
    assert "gunzip" in wrong


@pytest.mark.parametrize("path", ["jsonl", "data/train.csv", "TXT", "dev.conllu"])
def test_a_file_is_no_loader(path: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`path: {path}` names no dataset")):
        values.check_path(path, None)


def test_hub_datasets_keep_their_own_files_and_splits() -> None:
    values.check_path("org/name", {"train": ["data/a.bin"]})
    values.check_splits("org/name", {"validation": "dev"}, {"fold_1": ["data/a.bin"]})
    values.check_splits("json", {"validation": "train[90%:]"}, {"train": ["a.jsonl"]})
