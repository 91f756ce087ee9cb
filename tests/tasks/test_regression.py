"""A number per text: read, standardised, lost, decoded, shown and scored."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.errors import RecipeError
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.regression import Regression
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

ROW = Row(split_words("a good day"))
ENCODING = Encoding(ROW, np.array([-1, 0, 1, 2, -1]))
NUMBERS = st.floats(-1e4, 1e4)


def learn(*values: Any, **fields: Any) -> Regression:
    return Regression(name="stars", **fields).learn([{"label": value} for value in values], None)


def test_mean_and_deviation_are_learned_and_saved() -> None:
    task = learn(1, None, 2.5, 4, bounds=(0.0, 5.0))
    assert (task.mean, task.deviation) == (2.5, pytest.approx(np.std([1, 2.5, 4])))
    saved = json.loads(json.dumps(saved_form(task)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json") == task


@pytest.mark.parametrize("values", [(), (None,), (3, 3.0)])
def test_equal_numbers_teach_nothing(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="expected at least two different numbers in train, found"):
        learn(*values)


def test_labels_and_classes_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="labels: a number has no label names; leave them out"):
        learn(1, 2, labels=("a", "b"))
    with pytest.raises(ValueError, match="found the classes a, b; for these there is text_classif"):
        Regression(name="stars").learn([], ["a", "b"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3.5", "expected a number, found '3.5'"),
        (True, "expected a number, found True"),
        ([1], r"expected a number, found \[1\]"),
        (float("nan"), "expected a finite number, found nan; null marks a missing one"),
        (float("-inf"), "expected a finite number, found -inf"),
        (5.5, r"expected a number within bounds \[0, 5\], found 5.5"),
    ],
)
def test_a_row_that_is_no_such_number_is_told(value: Any, message: str) -> None:
    task = Regression(name="stars", bounds=(0.0, 5.0))
    with pytest.raises(ValueError, match=message):
        task.read({"label": value}, ROW)
    with pytest.raises(ValueError, match=message):
        task.learn([{"label": value}], None)


def test_numbers_are_read_as_they_are() -> None:
    task = Regression(name="stars", bounds=(0.0, 5.0))
    assert [task.read({"label": value}, ROW) for value in (5, 0.0, None)] == [5.0, 0.0, None]
    assert list(task.occurrences(5.0)) == []


@settings(deadline=None, max_examples=40)
@given(st.lists(NUMBERS, min_size=2, max_size=6, unique_by=lambda n: round(n, 1)))
def test_what_is_encoded_is_decoded(numbers: list[float]) -> None:
    task = learn(*numbers)
    encoded = task.collate(np.array([task.encode(n, ENCODING) for n in numbers]), 9)
    assert encoded.mean() == pytest.approx(0, abs=1e-5)
    assert encoded.std() == pytest.approx(1, abs=1e-5)
    found = [one.value for one in task.decode(encoded[:, None], [ENCODING] * len(numbers))]
    np.testing.assert_allclose(found, numbers, rtol=1e-5, atol=1e-5 * task.deviation)


def test_predictions_stay_within_the_bounds() -> None:
    task = Regression(name="stars", bounds=(1.0, 5.0), mean=3.0, deviation=1.0)
    logits = np.array([[-9.0], [0.5], [9.0]], dtype=np.float32)
    decoded = task.decode(logits, [ENCODING] * 3)
    assert [task.present(one, ROW) for one in decoded] == [
        {"score": 1.0},
        {"score": 3.5},
        {"score": 5.0},
    ]


@pytest.mark.parametrize("criterion", ["mse", "huber"])
def test_the_loss_is_torchs_over_labelled_texts_however_cut(criterion: Any) -> None:
    task = Regression(name="stars", criterion=criterion)
    logits = (3 * torch.randn(7, 1)).bfloat16().requires_grad_()
    labels = torch.randn(7)
    labels[[2, 5]] = float("nan")
    known = ~labels.isnan()
    reference = F.mse_loss if criterion == "mse" else F.huber_loss
    expected = reference(logits[known, 0].float(), labels[known], reduction="sum")
    loss = task.loss(logits, labels)
    torch.testing.assert_close(loss.total, expected)
    assert loss.total.dtype == torch.float32
    assert loss.count == task.count(labels) == 5
    parts = [task.loss(logits[a:b], labels[a:b]) for a, b in ((0, 2), (2, 3), (3, 7))]
    torch.testing.assert_close(torch.stack([part.total for part in parts]).sum(), loss.total)
    assert sum(int(part.count) for part in parts) == 5
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert torch.equal(gradient[~known], torch.zeros_like(gradient[~known]))


def test_minus_a_hundred_is_a_number_like_any_other() -> None:
    labels = torch.tensor([-100.0, 1.0])
    assert Regression(name="t").loss(torch.zeros(2, 1), labels).total == 10001.0
    assert Regression(name="t").count(labels) == 2


def test_metrics_are_those_it_names_the_primary_first() -> None:
    scores = Regression(name="t").metrics([1.0, 2.0, 4.0], [1.0, 3.0, 4.0])
    assert tuple(scores) == Regression(name="t").metric_names
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["rmse"] == pytest.approx((1 / 3) ** 0.5)


@pytest.mark.parametrize("stock", [True, False])
def test_the_head_gives_one_logit(stock: bool) -> None:
    config = tiny_config("bert")
    head = Regression(name="stars", stock=stock).build_head(config)
    states = EncoderStates(torch.randn(2, 5, config.hidden_size), torch.ones(2, 5))
    assert head(states).shape == (2, 1)
    if stock:
        assert head.stock.config.problem_type == "regression"


def test_a_checkpoints_logit_is_the_number_itself() -> None:
    task = Regression.of_stock("t", PreTrainedConfig(num_labels=1))
    assert task.decode(np.array([[2.5]], dtype=np.float32), [ENCODING])[0].value == 2.5
    for config in (
        PreTrainedConfig(num_labels=2, problem_type="regression"),
        PreTrainedConfig(num_labels=1, problem_type="multi_label_classification"),
    ):
        with pytest.raises(ValueError, match="a regression task predicts one number, and this che"):
            Regression.of_stock("t", config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": [5, 0]}, r"tasks.t.bounds: .*should be \[low, high\] with low below high, fou"),
        ({"bounds": [5]}, r"tasks.t.bounds: "),
        ({"criterion": "mae"}, r"tasks.t.criterion: should be 'mse' or 'huber', found 'mae'"),
    ],
)
def test_options_that_cannot_be_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_task("t", "regression", settings, where="tasks.t")
