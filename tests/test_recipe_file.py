from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_file import (
    absolute,
    absolute_paths,
    apply_overrides,
    missing,
    read_yaml,
    write_yaml,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [
        "no",
        "1",
        "null",
        "~",
        "1e-4",
        "1.0e+3",
        "true",
        "007",
        "12:30",
        "2024-01-01",
        "<<",
        "=",
        "0x1F",
        "\x85",
        "a\u2028 b",
        "a\n b\n",
    ]
)
SCALAR = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUE = st.recursive(
    SCALAR | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return read_yaml(folder / "recipe.yaml")


@settings(deadline=None)
@given(content=st.dictionaries(TEXT, VALUE, max_size=4))
def test_writing_then_reading_is_the_identity(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "identity.yaml"
    write_yaml(content, path)
    assert repr(read_yaml(path)) == repr(content)


def test_scalars_are_what_they_look_like(tmp_path: Path) -> None:
    text = (
        "{a: 1e-4, b: no, c: 007, d: 12:30, e: 2024-01-01, f: true, g: null, h: -3, i: '1', j: 1_0}"
    )
    assert list(read(tmp_path, text).values()) == [
        0.0001, "no", "007", "12:30", "2024-01-01", True, None, -3, "1", "1_0"
    ]  # fmt: skip


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    content = read(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n")
    assert content == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", r"recipe.yaml: line 1, column 7: .*node content"),
        ("a: 1\nb: 2\na: 3", r"recipe.yaml: line 3, column 1: the key `a` .* first in line 1"),
        ("a: {b: 1, b: 2}", r"line 1, column 11: the key `b`"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("a:\n\t- b", "line 2, column 1: .*cannot start any token"),
        ("a: !!python/object/apply:os.getcwd []", "line 1, column 4: the tag !!python/object"),
        ("a: !!int x", "the tag !!int has no place here"),
        ("a: !!set {x}", "the tag !!set has no place here"),
        ("a: &a [*a]", "a value cannot hold itself"),
        ("? [a]\n: b", "line 1, column 3: found unhashable key"),
        ("a: 1\n---\nb: 1", "line 2, column 1: but found another document"),
        ("a: " + "[" * 500, "nested too deeply"),
        ("a: \x07", "unacceptable character"),
        ("", "recipe.yaml: a recipe is a mapping .* the file is empty"),
        ("- a", "the file holds a list"),
        ("1: a", "the keys of a recipe are text, found 1"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, text)


def test_a_missing_file_names_the_like_of_it(tmp_path: Path) -> None:
    (tmp_path / "sentiment.yaml").touch()
    with pytest.raises(RecipeError, match=r"no such recipe; did you mean `sentiment.yaml`"):
        read_yaml(tmp_path / "sentimet.yaml")
    with pytest.raises(RecipeError, match="nowhere does not exist either"):
        read_yaml(tmp_path / "nowhere" / "sentiment.yaml")


def test_a_folder_or_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(RecipeError, match="UTF-8 text, but byte 3 is not"):
        read_yaml(tmp_path / "latin.yaml")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").mkdir()
    with pytest.raises(
        RecipeError, match=r"recipe.yaml: the recipe cannot be written: .*directory"
    ):
        write_yaml({"a": 1}, tmp_path / "recipe.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    with pytest.raises(RecipeError, match=r"cannot be written: .*No such file"):
        write_yaml({"a": 1}, tmp_path / "nowhere" / "recipe.yaml")


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (["a.b=2"], {"a": {"b": 2, "c": 3}}),
        (["a.b=1e-4"], {"a": {"b": 0.0001, "c": 3}}),
        (["a.b={x: y=z}"], {"a": {"b": {"x": "y=z"}, "c": 3}}),
        (["a={x: y}"], {"a": {"x": "y"}}),
        (["a.b=null"], {"a": {"c": 3}}),
        (["a.b="], {"a": {"c": 3}}),
        (["d.e.f=1", "d.e.g=2"], {"a": {"b": 1, "c": 3}, "d": {"e": {"f": 1, "g": 2}}}),
        (["a.b=5", "a.b=6"], {"a": {"b": 6, "c": 3}}),
        (["d=null"], {"a": {"b": 1, "c": 3}, "d": None}),
    ],
)
def test_overrides_set_replace_and_take_out(words: list[str], result: dict[str, Any]) -> None:
    content: dict[str, Any] = {"a": {"b": 1, "c": 3}}
    assert apply_overrides(content, words) == result
    assert content == {"a": {"b": 1, "c": 3}}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training", "override 'training': expected key=value, found no `=`"),
        ("=1", "override '=1': a key is empty"),
        ("a..b=1", "override 'a..b=1': a key is empty"),
        (".a=1", "a key is empty"),
        ("a.b.c=1", "override 'a.b.c=1': `a.b` holds 1, not a mapping"),
        ("a.b=[1", r"override 'a.b=\[1': line 1, column 3"),
    ],
)
def test_an_override_that_cannot_be_applied_names_its_word(word: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        apply_overrides({"a": {"b": 1}}, [word])


def test_an_override_of_one_length_puts_the_other_out_of_force() -> None:
    epochs, steps = {"training": {"epochs": 3}}, {"training": {"max_steps": 9}}
    assert apply_overrides(epochs, ["training.max_steps=9"]) == steps
    assert apply_overrides(steps, ["training.epochs=3"]) == epochs
    assert apply_overrides(steps, ["training.epochs=null"])["training"]["max_steps"] == 9


@pytest.mark.parametrize(
    ("file", "joined"),
    [
        ("a.jsonl", "/data/a.jsonl"),
        ("../a/**/*.csv", "/a/**/*.csv"),
        ("/b/a.csv", "/b/a.csv"),
        ("https://host/a.csv", "https://host/a.csv"),
        ("hf://datasets/org/name/a.csv", "hf://datasets/org/name/a.csv"),
        ("~/a.csv", str(Path.home() / "a.csv")),
    ],
)
def test_relative_files_are_joined_and_urls_left(file: str, joined: str) -> None:
    assert absolute(file, Path("/data")) == joined


def test_only_what_is_local_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    content = {
        "encoder": "encoder",
        "datasets": {
            "local": {
                "path": "json",
                "data_files": {"train": ["a.jsonl", "s3://b/c"], "test": "d"},
            },
            "hub": {"path": "org/name", "data_files": "data/*.parquet"},
            "folder": {"path": "./encoder", "data_files": "*.parquet"},
        },
        "tasks": {"t": {"metrics": ["mine", "./mine/mine.py", "rouge", "org/wer", "encoder"]}},
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").touch()
    done = absolute_paths(content, tmp_path)
    assert done["encoder"] == str(tmp_path / "encoder")
    files = {"train": [str(tmp_path / "a.jsonl"), "s3://b/c"], "test": str(tmp_path / "d")}
    assert done["datasets"]["local"]["data_files"] == files
    assert done["datasets"]["folder"] == {
        "path": str(tmp_path / "encoder"),
        "data_files": "*.parquet",
    }
    assert done["datasets"]["hub"] == content["datasets"]["hub"]  # relative to that repository
    mine = str(tmp_path / "mine")
    assert done["tasks"]["t"]["metrics"] == [mine, f"{mine}/mine.py", "rouge", "org/wer", "encoder"]
    assert absolute_paths(done, Path("/elsewhere")) == done
    assert absolute_paths({"encoder": "org/name", "datasets": 3}, tmp_path)["encoder"] == "org/name"


def test_missing_files_are_told_from_what_the_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    assert missing(str(tmp_path / "train.jsonl")) is None
    assert missing(str(tmp_path / "tr*.jsonl")) is None
    assert missing("https://host/none.csv") is None
    assert "did you mean `train.jsonl`?" in str(missing(str(tmp_path / "trian.jsonl")))
    assert "no file matches" in str(missing(str(tmp_path / "*.csv")))
    assert "is a folder; name the files in it" in str(missing(str(tmp_path)))
