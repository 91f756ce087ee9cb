"""What task types share that answer yes or no for each label: weights of yes, and thresholds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from mtl_nlp.tasks.class_loss import ClassTask
from mtl_nlp.tasks.labels import sorted_labels
from mtl_nlp.tasks.thresholds import EVEN, best_thresholds


@dataclass(frozen=True, kw_only=True)
class QuestionTask(ClassTask):
    """A task that answers yes or no for each label of an item (a text, a word) by itself.

    Attributes:
        thresholds: Probability above which an item has a label, by label; learned from validation.
            Empty: 0.5 for all.
    """

    thresholds: tuple[float, ...] = ()

    def with_labels(self, labels: Sequence[str], items: Iterable[Iterable[str]]) -> Self:
        """The task with its label names and the weights of their yes.

        Args:
            labels: Those that are known; none: those of the items.
            items: The labels of each labelled item of train; gone through only if need be.

        Raises:
            ValueError: If there are none.
        """
        balanced = self.class_weights == "balanced"
        if labels and not balanced:
            return replace(self, labels=tuple(labels))
        counts: Counter[str] = Counter()
        number = 0
        for names in items:
            number += 1
            counts.update(set(names))
        if not labels and not counts:
            raise ValueError("expected some labels in train, found none; check the label column")
        task = replace(self, labels=tuple(labels) or sorted_labels(counts))
        if not balanced:
            return task
        weights = [balanced_yes(counts[name], number) for name in task.labels]
        return replace(task, learned_weights=tuple(weights))

    def with_thresholds(self, logits: np.ndarray, right: np.ndarray, *, every: int) -> Self:
        """The task with the thresholds that give the highest micro F1.

        Args:
            logits: Of the labelled items that the encoder sees, (items, num_labels).
            right: 1 where an item has a label, else 0, (items, num_labels).
            every: How many labels all labelled items have, with those that the task lacks and those
                of items that the encoder does not see.
        """
        beyond = every - int(right.sum())
        best = best_thresholds(sigmoid(logits), right, beyond=beyond)
        return replace(self, thresholds=best)

    def above(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are given, (…, num_labels)."""
        chosen: np.ndarray = probabilities > np.array(self.thresholds or [EVEN] * len(self.labels))
        return chosen


def balanced_yes(count: int, items: int) -> float:
    """How many items lack a label for each that has it; 1 where all or none have it."""
    return (items - count) / count if 0 < count < items else 1.0


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of yes."""
    probabilities: np.ndarray = torch.from_numpy(logits).sigmoid().numpy()
    return probabilities
