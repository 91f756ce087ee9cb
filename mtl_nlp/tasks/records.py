"""Label columns of records, such as entities, in either way that Arrow files keep them."""

from collections.abc import Mapping, Sequence
from typing import Any


def read_records(value: Any, *, what: str, keys: Sequence[str]) -> list[Any]:
    """The records of a row, each yet to be checked, which may have more keys; none for None.

    Args:
        value: A list of records, or a record of lists.
        what: What they are, as errors name them.
        keys: Those that are read.

    Raises:
        ValueError: If it is neither, or the lists differ in length.
    """
    if isinstance(value, Mapping):
        columns = [value.get(key) for key in keys]
        if not all(isinstance(c, list) and len(c) == len(columns[0] or ()) for c in columns):
            names = f"{', '.join(f'{key}s' for key in keys[:-1])} and {keys[-1]}s"
            raise ValueError(f"expected lists of {names} of one length, found {value!r:.80}")
        return [dict(zip(keys, one, strict=True)) for one in zip(*columns, strict=True)]
    if value is not None and not isinstance(value, list):
        raise ValueError(f"expected a list of {what}, found {value!r:.80}")
    return list(value or ())
