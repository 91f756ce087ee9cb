"""Divergences against torch's own, and against each task's logits and labels word for word."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from mtl_nlp.tasks import TASK_TYPES, build_task
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.divergence import number_divergence, sigmoid_divergence, softmax_divergence

brief = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**20)


def both_ways(one: Any, other: Any) -> torch.Tensor:
    return kl_divergence(one, other) + kl_divergence(other, one)


def drawn(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = (3 * torch.randn(*shape, generator=generator) for _ in range(2))
    return one, other, torch.rand(shape, generator=generator) < 0.7


@brief
@given(SEEDS)
def test_of_softmax_it_is_the_sum_of_torchs_kl_both_ways(seed: int) -> None:
    one, other, known = drawn(seed, 3, 4, 5)
    known = known[..., 0]
    expected = both_ways(Categorical(logits=one), Categorical(logits=other))[known].sum()
    torch.testing.assert_close(softmax_divergence(one, other, known), expected)


@brief
@given(SEEDS)
def test_of_yes_or_no_it_is_that_too(seed: int) -> None:
    one, other, known = drawn(seed, 3, 4)
    expected = both_ways(Bernoulli(logits=one), Bernoulli(logits=other))[known].sum()
    torch.testing.assert_close(sigmoid_divergence(one, other, known), expected)


@brief
@given(SEEDS)
def test_of_numbers_it_is_that_of_normal_distributions(seed: int) -> None:
    one, other, known = drawn(seed, 6)
    expected = both_ways(Normal(one, 1.0), Normal(other, 1.0))[known].sum()
    torch.testing.assert_close(number_divergence(one, other, known), expected)


WORDS = torch.tensor([[0, 1, -100, -100], [1, -100, 0, -100]])
HEADS = torch.tensor([[[0, 1], [1, 0], [-100, -100]], [[0, -100], [3, 1], [1, 0]]])
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], torch.Tensor, int]] = {
    "text_classification": ({"labels": ("a", "b")}, (2, 2), torch.tensor([1, -100]), 1),
    "multi_label_classification": ({"labels": ("a", "b")}, (1, 2), torch.tensor([[1, -100]]), 1),
    "soft_classification": ({"labels": ("a", "b")}, (1, 2), torch.tensor([[0.2, 0.8]]), 1),
    "regression": ({}, (2, 1), torch.tensor([0.5, torch.nan]), 1),
    "token_classification": ({"labels": ("a", "b"), "scheme": "none"}, (2, 4, 2), WORDS, 4),
    "multi_label_token_classification": (
        {"labels": ("a", "b")}, (2, 4, 2), WORDS.unsqueeze(2).expand(-1, -1, 2), 4,
    ),
    "lemmatization": ({"labels": ("a", "b")}, (2, 4, 2), WORDS, 4),
    "masked_language_modeling": ({}, (2, 4, 9), WORDS, 4),
    "question_answering": ({}, (2, 5, 2), torch.tensor([[1, 2, 4], [-100, -100, 5]]), 1),
    "multiple_choice": ({}, (2, 3, 1), torch.tensor([[0, 1, -100], [0, 0, 0]]), 1),
    "span_classification": (
        {"labels": ("a",)}, (2, 4, 2, 1), WORDS.view(2, 4, 1, 1).expand(-1, -1, 2, -1), 4,
    ),
    "dependency_parsing": ({"labels": ("a", "b")}, (2, 3, 3, 4), HEADS, 5),
    "text_generation": ({}, (2, 4, 9), WORDS, 4),
}  # fmt: skip
"""Of each type options, the shape of its logits, labels and how many items these label."""


def test_every_type_that_has_one_is_here() -> None:
    having = {n for n, cls in TASK_TYPES.items() if cls.divergence is not Task.divergence}
    assert having == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_it_counts_the_items_of_the_loss_and_no_others(name: str) -> None:
    """The logits that the loss has no slope by may be anything; nothing between equals is added."""
    options, shape, labels, count = CASES[name]
    task = build_task("t", name, options, where="t")
    assert int(task.count(labels)) == count
    one, other, _ = drawn(1, *shape)
    one.requires_grad_()
    (by_loss,) = torch.autograd.grad(task.loss(one, labels).total, one)
    apart = task.divergence(one, other, labels)
    (by_divergence,) = torch.autograd.grad(apart, one)
    assert apart > 0
    assert torch.equal(by_divergence != 0, by_loss != 0) or name == "multiple_choice"
    assert task.divergence(other, one, labels).item() == pytest.approx(apart.item(), rel=1e-5)
    assert task.divergence(one, one, labels) == 0
    torch.testing.assert_close(
        task.divergence(
            torch.cat([one, one]),
            torch.cat([other, other]),
            labels.repeat_interleave(1, 0).repeat(2, *[1] * (labels.ndim - 1)),
        ),
        2 * apart,
    )


def test_words_of_a_crf_are_compared_each_by_itself() -> None:
    options = {"labels": ("a", "b"), "scheme": "none", "decoder": "crf"}
    crf = build_task("t", "token_classification", options, where="t")
    plain = build_task("t", "token_classification", {**options, "decoder": "linear"}, where="t")
    one, other, _ = drawn(2, 2, 8, 2)  # of 4 words, then of neighbours
    labels = torch.tensor([[0, -1, 1, -100], [1, -100, -100, -100]])  # -1: any
    known = torch.where(labels < 0, -100, labels)
    expected = plain.divergence(one[:, :4], other[:, :4], known)
    torch.testing.assert_close(crf.divergence(one, other, labels), expected)
