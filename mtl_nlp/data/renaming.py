"""Label names that a recipe's ``map`` changes, wherever they stand in a value."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from mtl_nlp.tasks.labels import label_name


def with_new_names(value: Any, rename: Mapping[str, str]) -> Any:
    """The value with label names changed, also in lists, records and behind a tag's prefix."""
    if isinstance(value, list):
        return [with_new_names(item, rename) for item in value]
    if isinstance(value, dict):  # a record's label, not where it starts
        return {k: with_new_names(v, rename) if _renames(k, value) else v for k, v in value.items()}
    old = _old_name(value, rename)
    if old is None:
        return value
    return rename[old] if old == _plain_name(value) else f"{value[:2]}{rename[old]}"


def old_names(value: Any, rename: Mapping[str, str]) -> Iterator[str]:
    """The names in a value that are changed."""
    if isinstance(value, list):
        for item in value:
            yield from old_names(item, rename)
    elif isinstance(value, dict):
        for key, item in value.items():
            if _renames(key, value):
                yield from old_names(item, rename)
    elif (old := _old_name(value, rename)) is not None:
        yield old


def _renames(key: str, record: Mapping[str, Any]) -> bool:
    return key == "label" or "label" not in record


def _old_name(value: Any, rename: Mapping[str, str]) -> str | None:
    """The name that is changed in a label or tag; None where there is none."""
    name = _plain_name(value)
    if name in rename:
        return name
    prefix, _, rest = name.partition("-")
    return rest if isinstance(value, str) and len(prefix) == 1 and rest in rename else None


def _plain_name(value: Any) -> str:
    """A label as ``map`` names it, whether it was read as text, a truth value or a number."""
    if isinstance(value, bool | int | float):
        with suppress(ValueError):  # no whole number, which names no label
            return label_name(value, ())
    return str(value)
