from typing import Any

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_overrides import apply_overrides


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
