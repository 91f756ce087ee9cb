"""Shell patterns over the names of a model's parameters."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from mtl_nlp.errors import RecipeError

_SHOWN = 3  # of the names that are nearest to a pattern which meets none


def meets(pattern: str, name: str) -> bool:
    """Whether a pattern meets a parameter's name, or the name of a part that holds it.

    >>> meets("heads.ner", "heads.ner.stock.bias"), meets("heads.n", "heads.ner.stock.bias")
    (True, False)
    """
    return any(fnmatchcase(part, pattern) for part in _parts(name))


def met(pattern: str, names: Sequence[str], *, where: str) -> list[str]:
    """The names that a pattern meets, in their order.

    Args:
        pattern: ``*`` stands for any characters, ``?`` for one, ``[…]`` for one of those.
        names: As ``named_parameters`` gives them.
        where: The recipe's key that the pattern stands in.

    Raises:
        RecipeError: If it meets none, with those that are nearest.
    """
    found = [name for name in names if meets(pattern, name)]
    if not found:
        parts = list(dict.fromkeys(part for name in names for part in _parts(name)))
        nearest = difflib.get_close_matches(pattern, parts, n=_SHOWN, cutoff=0.0)
        raise RecipeError(
            f"{where}: expected the name of a parameter or of a part of the model, or a pattern of"
            f" some, but none is met by {pattern!r}; the nearest are {', '.join(nearest)}"
        )
    return found


def most_specific(
    values: Mapping[str, float], names: Sequence[str], *, where: str
) -> dict[str, float]:
    """The value of each name that a pattern meets.

    Of several patterns the one with most characters that are no wildcards decides.

    Args:
        values: By pattern.
        names: As ``named_parameters`` gives them.
        where: The recipe's key that the patterns stand in.

    Raises:
        RecipeError: If a pattern meets no name, or two that are equally specific meet one and
            disagree.
    """
    chosen: dict[str, str] = {}
    for pattern in sorted(values, key=_specificity):
        for name in met(pattern, names, where=where):
            before = chosen.get(name)
            if (
                before is not None
                and _specificity(before) == _specificity(pattern)
                and values[before] != values[pattern]
            ):
                raise RecipeError(
                    f"{where}: {before!r} and {pattern!r} are equally specific, both meet {name!r}"
                    f" and give it {values[before]:g} and {values[pattern]:g}; name it in one that"
                    " is longer"
                )
            chosen[name] = pattern
    return {name: values[pattern] for name, pattern in chosen.items()}


def _specificity(pattern: str) -> int:
    """How many characters of a name a pattern fixes."""
    return len(re.sub(r"\[[^]]+\]|[*?]", "", pattern))


def _parts(name: str) -> Iterable[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    return accumulate(name.split("."), lambda before, part: f"{before}.{part}")
