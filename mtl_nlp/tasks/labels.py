"""What stands in label columns: names and indices of labels, whole and other numbers."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedConfig

from mtl_nlp import recipe_values


def check_labels(labels: Sequence[str], fewest: int, type_name: str) -> None:
    """Refuse label names that no task of a type can have.

    Raises:
        ValueError: If one is empty or stands twice, or there are fewer than the fewest.
    """
    recipe_values.label_names(labels)
    if len(labels) < fewest:
        raise ValueError(
            f"a {type_name} task chooses among at least {fewest} labels, found"
            f" {', '.join(labels)} alone"
        )


def stock_labels(config: PreTrainedConfig) -> tuple[str, ...]:
    """The label names of a stock checkpoint, in the order of its logits.

    Raises:
        ValueError: If two logits bear one name.
    """
    by_id = {int(key): str(label) for key, label in (config.id2label or {}).items()}
    names = tuple(by_id[key] for key in sorted(by_id))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"expected distinct label names in id2label, found {twice[0]!r} twice")
    return names


def label_ids(
    labels: Sequence[str], predictions: Sequence[str], references: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Predicted and right labels as their ids.

    Labels that training did not have are numbered behind the others, so that they count as errors.
    """
    every = dict.fromkeys([*labels, *references, *predictions])
    ids = {label: number for number, label in enumerate(every)}
    return [ids[label] for label in predictions], [ids[label] for label in references]


def label_name(value: Any, labels: Sequence[str]) -> str:
    """The name of a label given by name or index.

    A whole number that is itself the name of a label is that label, else it counts from 0.

    Raises:
        ValueError: If it is neither text nor a whole number, is empty, or counts past the last
            label.
    """
    if isinstance(value, bool | np.bool_):
        value = str(bool(value)).lower()
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(
                f"expected a label, found {value!r}, an empty one; name it, or give null, which"
                " stands for no label"
            )
        return value
    number = whole_number(value)
    if number is None:
        raise ValueError(f"expected a label's name or index, found {value!r:.80}")
    if not labels or str(number) in labels:
        return str(number)
    if not 0 <= number < len(labels):
        raise ValueError(
            f"label index {number} is out of range: there are {len(labels)} labels,"
            f" {', '.join(labels)}"
        )
    return labels[number]


def sorted_labels(counts: Counter[str]) -> tuple[str, ...]:
    """Label names in a stable order: as numbers where all are, else as text."""
    if all(name.removeprefix("-").isdecimal() for name in counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts))


def whole_number(value: Any) -> int | None:
    """A whole number as such; None for anything else, truth values too.

    One gap or fraction in a column makes a file's other whole numbers floats, which are taken.

    >>> whole_number(3), whole_number(3.0), whole_number(3.5), whole_number(True)
    (3, 3, None, None)
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return int(value) if math.isfinite(value) and float(value).is_integer() else None


def finite_number(value: Any) -> float:
    """A number in a label column.

    Raises:
        ValueError: If it is something else, or no finite number.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise ValueError(f"expected a number, found {value!r:.80}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, found {number}; null marks a missing one")
    return number
