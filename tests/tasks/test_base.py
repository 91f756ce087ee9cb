"""What all task types share: options and defaults."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from transformers import PreTrainedConfig

from mtl_nlp.tasks import options_of
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.token_classification import TokenClassification

TASK = TextClassification(name="t", labels=("a", "b", "c"))


def test_options_are_the_fields_a_recipe_may_set() -> None:
    of_all = {"after", "after_gradient", "layers"}
    losses = {"class_weights", "label_smoothing", "focal"}
    assert options_of(TextClassification).keys() == {*of_all, *losses}
    options = options_of(TokenClassification)
    assert options.keys() == {"scheme", "decoder", "pooling", *of_all, *losses}
    assert "spans" in options["scheme"].metadata["option"]


def test_a_task_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'labels'"):
        TASK.labels = ()  # type: ignore[misc]


def test_the_first_metric_is_the_primary_one() -> None:
    assert TASK.primary == "accuracy"


def test_by_default_labels_are_counted_by_the_mark_that_leaves_them_out() -> None:
    assert TASK.count(torch.tensor([0, -100, 2])).item() == 2


def test_by_default_nothing_is_diagnosed() -> None:
    assert TASK.diagnose({"d": {"train": []}}) == []


def test_a_type_without_stock_checkpoints_says_so() -> None:
    class Plain(TextClassification):
        type = "plain"
        of_stock = classmethod(super(TextClassification, TextClassification).of_stock.__func__)

    with pytest.raises(ValueError, match="a plain task is not taken in from stock checkpoints"):
        Plain.of_stock("t", PreTrainedConfig())
