"""What all task types share: options, label names, their order."""

from collections import Counter
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedConfig

from mtl_nlp.tasks.base import label_ids, label_name, options_of, sorted_labels, stock_labels
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.token_classification import TokenClassification

TASK = TextClassification(name="t", labels=("a", "b", "c"))


def test_options_are_the_fields_a_recipe_may_set() -> None:
    losses = {"class_weights", "label_smoothing", "focal"}
    every = {"after", "after_gradient"}
    assert options_of(TextClassification).keys() == every | losses
    options = options_of(TokenClassification)
    assert options.keys() == {"scheme", "decoder", "pooling", *every, *losses}
    assert "spans" in options["scheme"].metadata["option"]


def test_a_task_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'labels'"):
        TASK.labels = ()  # type: ignore[misc]


def test_a_labels_id_is_its_position() -> None:
    assert [TASK.label_id(label) for label in ("a", "c", "never")] == [0, 2, None]
    assert TASK.primary == "accuracy"


def test_by_default_labels_are_counted_by_the_mark_that_leaves_them_out() -> None:
    assert TASK.count(torch.tensor([0, -100, 2])).item() == 2


def test_ids_of_labels_begin_with_those_of_training() -> None:
    assert label_ids(("b", "a"), ["a", "b", "z"], ["c", "d", "a"]) == ([1, 0, 4], [2, 3, 1])


def test_by_default_nothing_is_diagnosed() -> None:
    assert TASK.diagnose({"d": {"train": []}}) == []


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


def test_a_type_without_stock_checkpoints_says_so() -> None:
    class Plain(TextClassification):
        type = "plain"
        of_stock = classmethod(super(TextClassification, TextClassification).of_stock.__func__)

    with pytest.raises(ValueError, match="a plain task is not taken in from stock checkpoints"):
        Plain.of_stock("t", PreTrainedConfig())
