"""Label columns: names and indices of labels, their order, whole and other numbers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedConfig

from mtl_nlp.tasks.labels import (
    finite_number,
    label_ids,
    label_name,
    sorted_labels,
    stock_labels,
    whole_number,
)


def test_ids_of_labels_begin_with_those_of_training() -> None:
    assert label_ids(("b", "a"), ["a", "b", "z"], ["c", "d", "a"]) == ([1, 0, 4], [2, 3, 1])


@pytest.mark.parametrize(
    ("value", "labels", "name"),
    [
        ("a", ["x", "y"], "a"),  # a name, known or not
        (1, ["x", "y"], "y"),
        (1.0, ["x", "y"], "y"),
        (np.int64(0), ["x", "y"], "x"),
        (np.float32(1), ["x", "y"], "y"),
        (1, ["2", "1"], "1"),  # the number is itself a name
        (7, [], "7"),
        (-1, [], "-1"),
        (True, ["false", "true"], "true"),
        (np.bool_(False), [], "false"),
    ],
)
def test_names_and_indices_are_labels(value: Any, labels: list[str], name: str) -> None:
    assert label_name(value, labels) == name


@pytest.mark.parametrize("value", [2, -1, 2.0])
def test_an_index_past_the_labels_is_told(value: Any) -> None:
    expected = f"label index {int(value)} is out of range: there are 2 labels, x, y"
    with pytest.raises(ValueError, match=expected):
        label_name(value, ["x", "y"])


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), ["a"], {"a": 1}, None])
def test_what_is_neither_name_nor_index_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a label's name or index, found"):
        label_name(value, ["x", "y"])


@pytest.mark.parametrize("value", ["", " ", "\t\u3000"])
def test_an_empty_label_is_told_with_what_stands_for_none(value: str) -> None:
    with pytest.raises(ValueError, match="an empty one; name it, or give null"):
        label_name(value, ["x", value])


@given(st.lists(st.text(max_size=3).filter(str.strip), min_size=1, max_size=6))
def test_a_given_name_stays_as_it_is(labels: list[str]) -> None:
    assert [label_name(label, labels) for label in labels] == labels


@given(st.lists(st.text(min_size=1, max_size=4)), st.randoms())
def test_the_order_of_labels_is_that_of_no_file(names: list[str], random: Any) -> None:
    shuffled = random.sample(names, len(names))
    assert sorted_labels(Counter(shuffled)) == sorted_labels(Counter(names))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "-2"], ("-2", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        ([], ()),
    ],
)
def test_numbers_are_sorted_as_numbers(names: list[str], expected: tuple[str, ...]) -> None:
    assert sorted_labels(Counter(names)) == expected


def test_a_checkpoints_labels_are_in_the_order_of_its_logits() -> None:
    config = PreTrainedConfig(id2label={1: "b", 0: "a"}, label2id={"b": 1, "a": 0})
    assert stock_labels(config) == ("a", "b")


def test_a_checkpoint_with_one_name_for_two_logits_is_told() -> None:
    config = PreTrainedConfig(id2label={0: "a", 1: "a"}, label2id={"a": 0})
    with pytest.raises(ValueError, match="expected distinct label names in id2label, found 'a'"):
        stock_labels(config)


@given(st.lists(st.text("-0123456789²٣x", max_size=4)))
@settings(deadline=None, max_examples=60)
def test_odd_numbers_are_sorted_too(names: list[str]) -> None:
    assert sorted(sorted_labels(Counter(names))) == sorted(set(names))


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (-1, -1), (3.0, 3), (np.int32(3), 3), (np.float32(3), 3), (1e30, int(1e30))],
)
def test_whole_numbers_are_taken_also_as_floats(value: Any, number: int) -> None:
    assert whole_number(value) == number
    assert type(whole_number(value)) is int


@pytest.mark.parametrize("value", [3.5, float("nan"), float("inf"), True, np.bool_(0), "3", None])
def test_nothing_else_is_a_whole_number(value: Any) -> None:
    assert whole_number(value) is None


@pytest.mark.parametrize("value", [3, 0.5, np.float32(0.5), np.int64(2)])
def test_a_number_is_a_float(value: Any) -> None:
    assert finite_number(value) == float(value)
    assert type(finite_number(value)) is float


@pytest.mark.parametrize("value", [True, np.bool_(0), "0.5", [0.5], None])
def test_what_is_no_number_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a number, found"):
        finite_number(value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 10**400])
def test_a_number_that_is_not_finite_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a finite number, found .*; null marks"):
        finite_number(value)
