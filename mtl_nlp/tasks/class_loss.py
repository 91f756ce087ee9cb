"""Losses of the task types that choose among labels, and the options these types share.

All are sums over labelled items. The count that goes with them stays the number of items, also
where labels have weights; torch's ``weight=`` divides by the sum of the items' weights instead.
Dividing by their number, a step's gradient is that of the weighted risk on average whatever labels
the step happens to hold (in a step with one label alone torch's weights cancel out), and the task's
share in the whole loss stays what ``weight`` and sampling make it: with ``balanced`` the weights'
mean over the training items is 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.tasks.base import Task, option

_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class WeightedTask(Task):
    """A task whose labels may count unequally.

    Attributes:
        learned_weights: Of each logit, where ``class_weights`` is ``balanced``.
    """

    class_weights: Literal["none", "balanced"] | Mapping[str, _Weight] = option(
        "none",
        "how much a label's items count: none, balanced (the rarer the more) or {label: weight}",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "part of each target that is spread evenly over all labels"
    )
    learned_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise a ValueError also for a weight of what is no label, once the labels are known."""
        super().__post_init__()
        if not self.labels or isinstance(self.class_weights, str):
            return
        names = self.weight_names
        if unknown := [name for name in self.class_weights if name not in names]:
            raise ValueError(
                f"class_weights: expected weights of labels, found {unknown[0]!r}; the labels"
                f" are {', '.join(dict.fromkeys(names))}"
            )

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The name under which each logit's weight is given."""
        return self.logit_names

    def with_weights(self, counts: Mapping[str, float]) -> Self:
        """The task with its labels' weights where train teaches them (``balanced``).

        Args:
            counts: How often train has each of ``logit_names``, which are known by now.
        """
        if self.class_weights != "balanced":
            return self
        learned = balanced_weights([counts.get(name, 0) for name in self.logit_names])
        return replace(self, learned_weights=learned)

    @cached_property
    def label_weights(self) -> tuple[float, ...]:
        """The weight of each logit; empty where all are 1.

        Raises:
            ValueError: If they should be balanced and no training rows have taught them.
        """
        if isinstance(self.class_weights, Mapping):
            return tuple(self.class_weights.get(name, 1.0) for name in self.weight_names)
        if self.class_weights == "balanced" and not self.learned_weights:
            raise ValueError(
                f"task {self.name!r}: class_weights: balanced is learned from a recipe's training"
                " rows; give the weights as {label: weight} to train without a recipe"
            )
        return self.learned_weights


@dataclass(frozen=True, kw_only=True)
class ClassTask(WeightedTask):
    """A task whose items each have one right label, or a right yes or no for each label."""

    focal: Annotated[float, Field(ge=0, allow_inf_nan=False)] = option(
        0.0, "gamma of the focal loss, which lets easy items count less; 0: off"
    )

    def class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`softmax_loss` under the task's options."""
        return softmax_loss(
            logits,
            labels,
            weights=self.label_weights,
            smoothing=self.label_smoothing,
            focal=self.focal,
        )

    def question_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`sigmoid_loss` under the task's options."""
        return sigmoid_loss(
            logits,
            labels,
            weights=self.label_weights,
            smoothing=self.label_smoothing,
            focal=self.focal,
        )


def balanced_weights(counts: Sequence[float]) -> tuple[float, ...]:
    """Weights under which every label has the same part in the loss: n / (k * n_c).

    King & Zeng (2001), as in scikit-learn's ``class_weight="balanced"``.

    Args:
        counts: Items of each label, n_c. Their sum is n; k is the number of labels that have items.
            A label without one has the weight 1.
    """
    k = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (k * count) if count else 1.0 for count in counts)


def softmax_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Sequence[float] = (),
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> Tensor:
    """Cross-entropy in nats, in float32, summed over the labelled items.

    Weights and smoothing are those of ``torch.nn.functional.cross_entropy``. The focal loss (Lin
    et al., 2017, arXiv:1708.02002, equation 4) multiplies each item by (1 - p) ** gamma, where p is
    the probability of its label.

    Args:
        logits: (items, labels).
        labels: (items,), -100 = not labelled.
        weights: Of each label; empty: all 1.
        smoothing: Part of each target that is spread over all labels, in [0, 1).
        focal: gamma, at least 0.
    """
    logits = logits.float()
    weight = logits.new_tensor(weights) if weights else None
    losses = F.cross_entropy(
        logits,
        labels,
        weight=weight,
        ignore_index=-100,
        label_smoothing=smoothing,
        reduction="none" if focal else "sum",
    )
    if not focal:
        return losses
    is_label = F.one_hot(labels.clamp(min=0), logits.shape[-1]).bool()  # (items, labels)
    # The logarithm of 1 - p, which keeps its digits, and its gradient, where p is nearly 1.
    others = logits.masked_fill(is_label, float("-inf")).logsumexp(dim=-1)  # (items,)
    return (losses * torch.exp(focal * (others - logits.logsumexp(dim=-1)))).sum()


def sigmoid_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Sequence[float] = (),
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> Tensor:
    """Binary cross-entropy in nats, in float32, summed over the labelled yes-or-no questions.

    Args:
        logits: Of yes, (…, labels).
        labels: 1 = yes, 0 = no, -100 = not labelled, (…, labels).
        weights: Of each label's yes, as torch's ``pos_weight``; empty: all 1.
        smoothing: Part of each target that is spread evenly over yes and no, in [0, 1).
        focal: gamma, as in `softmax_loss`, at least 0.
    """
    logits, known = logits.float(), labels != -100
    yes = (labels == 1).float()
    losses = F.binary_cross_entropy_with_logits(
        logits,
        yes * (1 - smoothing) + smoothing / 2 if smoothing else yes,
        pos_weight=logits.new_tensor(weights) if weights else None,
        reduction="none",
    )
    if focal:
        losses = losses * torch.exp(focal * F.logsigmoid(logits * (1 - 2 * yes)))
    return losses.masked_fill(~known, 0.0).sum()


def soft_loss(
    logits: Tensor, targets: Tensor, *, weights: Sequence[float] = (), smoothing: float = 0.0
) -> Tensor:
    """Kullback-Leibler divergence in nats of predicted from right probabilities, in float32.

    It is summed over the labelled items. An item counts as much as the labels of its targets do on
    average, so that weights move no item's best prediction and the loss is never below 0; where
    one label has all the probability this is weighted cross-entropy.

    Args:
        logits: (items, labels).
        targets: Probabilities, NaN = not labelled, (items, labels).
        weights: Of each label; empty: all 1.
        smoothing: Part of each target that is spread over all labels, in [0, 1).
    """
    known = ~targets.isnan().any(dim=-1, keepdim=True)  # (items, 1)
    right = targets.float().nan_to_num()
    aim = right * (1 - smoothing) + smoothing / right.shape[-1] if smoothing else right
    losses = F.kl_div(logits.float().log_softmax(dim=-1), aim, reduction="none")
    if weights:
        losses = losses * (right * right.new_tensor(weights)).sum(dim=-1, keepdim=True)
    return losses.masked_fill(~known, 0.0).sum()
