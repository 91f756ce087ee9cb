"""Words that change a recipe, `dotted.path=value`, values in YAML."""

from collections.abc import Sequence
from typing import Any

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_file import parse_yaml, unshared


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's mapping under `dotted.path=value` words, later words last.

    A value is YAML and replaces what stands there; null takes the key out, so that its default
    holds. A word for one of `training.epochs` and `training.max_steps` takes out the other.

    Raises:
        RecipeError: If a word is not of that form or its path leads through something other than a
            mapping; the message names the word.
    """
    words = [(word, *_split(word)) for word in overrides]
    result: dict[str, Any] = unshared(content)
    training = result.get("training")
    for _, keys, value in words:
        rival = {"epochs": "max_steps", "max_steps": "epochs"}.get(keys[-1])
        if keys[:-1] == ["training"] and rival and value is not None and isinstance(training, dict):
            training.pop(rival, None)
    for word, keys, value in words:
        target = result
        for depth, key in enumerate(keys[:-1], start=1):
            if target.get(key) is None:
                target[key] = {}
            target = target[key]
            if not isinstance(target, dict):
                place = ".".join(keys[:depth])
                raise RecipeError(
                    f"override {word!r}: `{place}` holds {target!r}, not a mapping, so nothing can "
                    f"be set inside it; give it whole, as {place}=value"
                )
        if value is None and keys[-1] in target:
            del target[keys[-1]]
        else:
            target[keys[-1]] = value  # a null that took nothing out is left for the check to judge
    return result


def _split(word: str) -> tuple[list[str], Any]:
    """The keys and the value of a `dotted.path=value` word."""
    path, equals, text = word.partition("=")
    if not equals:
        raise RecipeError(f"override {word!r}: expected key=value, found no `=`")
    keys = path.strip().split(".")
    if not all(keys):
        raise RecipeError(
            f"override {word!r}: a key is empty; expected key=value with dots between the keys, "
            "as in training.max_steps=100"
        )
    return keys, parse_yaml(text, source=f"override {word!r}")
