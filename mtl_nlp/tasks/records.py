"""Label columns of records, such as entities, in either way that Arrow files keep them."""

from collections.abc import Mapping
from typing import Any


def read_records(value: Any, *, what: str, parts: str) -> list[Any]:
    """The records of a row, each yet to be checked; none for None.

    Args:
        value: A list of records, or a record of lists.
        what: What they are, as errors name them.
        parts: What the lists hold, likewise.

    Raises:
        ValueError: If it is neither, or the lists differ in length.
    """
    if isinstance(value, Mapping):
        columns = list(value.values())
        if not all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
            raise ValueError(f"expected lists of {parts} of one length, found {value!r:.80}")
        return [dict(zip(value, one, strict=True)) for one in zip(*columns, strict=True)]
    if value is not None and not isinstance(value, list):
        raise ValueError(f"expected a list of {what}, found {value!r:.80}")
    return list(value or ())
