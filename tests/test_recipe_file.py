from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_file import read_yaml, write_yaml

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
