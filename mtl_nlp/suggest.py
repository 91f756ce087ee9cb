"""The nearest known word to a misspelt one, for the messages of errors."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of an error message about an unknown word: the nearest known one, else all of them.

    Args:
        word: What was found.
        known: What may stand there.

    >>> did_you_mean("learning_rte", ["learning_rate", "warmup"])
    'did you mean `learning_rate`?'
    >>> did_you_mean("colour", ["learning_rate", "warmup"])
    'known are `learning_rate` and `warmup`'
    """
    by_lower_case = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), by_lower_case, n=1)
    if nearest:
        return f"did you mean `{by_lower_case[nearest[0]]}`?"
    quoted = [f"`{name}`" for name in by_lower_case.values()]
    if len(quoted) < 2:
        return f"known is {quoted[0]}" if quoted else "none is known"
    return f"known are {', '.join(quoted[:-1])} and {quoted[-1]}"
