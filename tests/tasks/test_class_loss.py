"""Losses over labels: equal to torch's and the papers' formulas, added up however they are cut."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.class_loss import balanced_weights, sigmoid_loss, softmax_loss
from mtl_nlp.tasks.text_classification import TextClassification

LABELS = ("bad", "fair", "good")
OPTIONS = st.fixed_dictionaries(
    {
        "weights": st.sampled_from([(), (0.5, 2.0, 1.25)]),
        "smoothing": st.sampled_from([0.0, 0.1, 0.5]),
        "focal": st.sampled_from([0.0, 0.5, 2.0]),
    }
)
SEEDS = st.integers(0, 1000)


def items(seed: int, number: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (items, 3), one label each, and yes or no for each label, some of them unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(number, 3, generator=generator)
    one = torch.randint(0, 3, (number,), generator=generator)
    many = torch.randint(0, 2, (number, 3), generator=generator)
    one[seed % number], many[seed % number] = -100, -100
    return logits, one, many


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from([(), (0.5, 2.0, 1.25)]), st.sampled_from([0.0, 0.2]))
def test_weights_and_smoothing_are_those_of_torch(
    seed: int, weights: tuple[float, ...], smoothing: float
) -> None:
    logits, labels, many = items(seed)
    weight = torch.tensor(weights or (1.0, 1.0, 1.0))
    expected = F.cross_entropy(
        logits, labels, weight=weight, label_smoothing=smoothing, reduction="sum"
    )
    found = softmax_loss(logits, labels, weights=weights, smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    known = many[:, 0] >= 0
    targets = many[known] * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(
        logits[known], targets, pos_weight=weight, reduction="sum"
    )
    found = sigmoid_loss(logits, many, weights=weights, smoothing=smoothing)
    torch.testing.assert_close(found, expected)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.1, 5))
def test_the_focal_loss_is_the_papers(seed: int, gamma: float) -> None:
    logits, labels, many = items(seed)
    p = logits.double().softmax(-1).numpy()
    own = [p[i, label] for i, label in enumerate(labels.tolist()) if label >= 0]
    expected = sum(-((1 - q) ** gamma) * np.log(q) for q in own)
    np.testing.assert_allclose(softmax_loss(logits, labels, focal=gamma), expected, rtol=1e-4)
    p = logits.double().sigmoid().numpy()
    answers = many.flatten().tolist()
    own = [q if yes else 1 - q for q, yes in zip(p.flat, answers, strict=True) if yes >= 0]
    expected = sum(-((1 - q) ** gamma) * np.log(q) for q in own)
    np.testing.assert_allclose(sigmoid_loss(logits, many, focal=gamma), expected, rtol=1e-4)


def test_without_options_it_is_plain_cross_entropy_to_the_bit() -> None:
    logits, labels, _ = items(0)
    expected = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    assert torch.equal(softmax_loss(logits, labels), expected)
    task = TextClassification(name="mood", labels=LABELS)
    assert torch.equal(task.loss(logits, labels).total, expected)


@settings(deadline=None, max_examples=30)
@given(SEEDS, OPTIONS)
def test_what_is_not_labelled_adds_nothing_and_pieces_add_up(
    seed: int, options: dict[str, Any]
) -> None:
    logits, one, many = items(seed)
    logits.requires_grad_()
    for loss, labels in ((softmax_loss, one), (sigmoid_loss, many)):
        whole = loss(logits, labels, **options)
        (gradient,) = torch.autograd.grad(whole, logits)
        known = (labels.reshape(len(labels), -1) >= 0).all(1)
        assert torch.equal(gradient[~known], torch.zeros_like(gradient[~known]))
        assert (gradient[known].abs().sum(1) > 0).all()
        torch.testing.assert_close(loss(logits[known], labels[known], **options), whole)
        pieces = [loss(logits[a:b], labels[a:b], **options) for a, b in ((0, 2), (2, 2), (2, 7))]
        torch.testing.assert_close(torch.stack(pieces).sum(), whole)


@pytest.mark.parametrize("focal", [0.0, 0.1, 2.0])
def test_far_logits_keep_a_finite_gradient(focal: float) -> None:
    logits = torch.tensor([[500.0, -500.0, 0.0], [-500.0, 500.0, 0.0]], requires_grad=True)
    for loss, labels in ((softmax_loss, torch.zeros(2).long()), (sigmoid_loss, torch.eye(3)[:2])):
        (gradient,) = torch.autograd.grad(loss(logits, labels.long(), focal=focal), logits)
        assert gradient.isfinite().all()


def test_half_precision_logits_lose_in_full_precision() -> None:
    logits, one, many = items(3)
    half = logits.bfloat16()
    for loss, labels in ((softmax_loss, one), (sigmoid_loss, many)):
        options = {"weights": (1.0, 2.0, 3.0), "smoothing": 0.1, "focal": 1.0}
        assert torch.equal(loss(half, labels, **options), loss(half.float(), labels, **options))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_balanced_weights_are_those_of_scikit_learn(labels: list[str]) -> None:
    present = sorted(set(labels))
    counts = Counter(labels)
    weights = balanced_weights([counts[label] for label in present])
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.array(present), y=labels)
    )
    mean = sum(weights[present.index(label)] for label in labels) / len(labels)
    assert mean == pytest.approx(1.0)


def test_a_label_that_train_lacks_weighs_one() -> None:
    assert balanced_weights([4, 0, 2]) == (0.75, 1.0, 1.5)


@pytest.mark.parametrize(
    ("given_labels", "class_names"), [((), None), (LABELS, None), ((), list(LABELS))]
)
def test_balanced_weights_are_learned_and_saved(
    given_labels: tuple[str, ...], class_names: list[str] | None
) -> None:
    task = TextClassification(name="mood", labels=given_labels, class_weights="balanced")
    rows = [{"label": value} for value in ("bad", "good", "good", None, "fair", "good", "bad")]
    learned = task.learn(rows, class_names)
    assert learned.labels == LABELS
    assert learned.label_weights == pytest.approx((1.0, 2.0, 2 / 3))
    saved = json.loads(json.dumps(saved_form(learned)))
    loaded = build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json")
    assert loaded == learned
    logits, labels, _ = items(1)
    expected = softmax_loss(logits, labels, weights=(1.0, 2.0, 2 / 3))
    assert torch.equal(loaded.loss(logits, labels).total, expected)
    assert loaded.loss(logits, labels).count == loaded.count(labels) == 6


def test_weights_are_given_by_name_and_the_others_are_one() -> None:
    task = TextClassification(name="mood", labels=LABELS, class_weights={"good": 3.0})
    assert task.learn([], None).label_weights == task.label_weights == (1.0, 1.0, 3.0)


def test_a_weight_of_no_label_is_told() -> None:
    task = TextClassification(name="mood", class_weights={"god": 3.0})
    message = "class_weights: expected weights of labels, found 'god'; the labels are bad, fair, go"
    with pytest.raises(ValueError, match=message):
        task.learn([], list(LABELS))


def test_balanced_weights_that_nothing_taught_are_told() -> None:
    logits, labels, _ = items(0)
    task = TextClassification(name="mood", labels=LABELS, class_weights="balanced")
    with pytest.raises(ValueError, match="task 'mood': class_weights: balanced is learned from"):
        task.loss(logits, labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": "even"}, r"tasks.t.class_weights: should be 'none' or 'balanced', foun"),
        ({"class_weights": {"a": 0}}, r"tasks.t.class_weights: should be greater than 0, found 0"),
        ({"label_smoothing": 1.0}, r"tasks.t.label_smoothing: should be less than 1, found 1.0"),
        ({"focal": -1}, r"tasks.t.focal: should be greater than or equal to 0, found -1"),
    ],
)
def test_options_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_task("t", "text_classification", settings, where="tasks.t")
