"""Thresholds that score best, against trying every choice there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.thresholds import best_thresholds


def micro_f1(given_labels: np.ndarray, right: np.ndarray) -> float:
    total = given_labels.sum() + right.sum()
    return float(2 * (given_labels & right).sum() / total) if total else 0.0


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 10_000), st.floats(0, 1))
def test_no_other_thresholds_score_better(items: int, labels: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.integers(0, 9, (items, labels)).astype(np.float32) / 8
    right = random.random((items, labels)) < share
    found = best_thresholds(probabilities, right.astype(int))
    assert all(0 <= threshold <= 1 for threshold in found)
    # A threshold below 0, which would give a label to what certainly lacks it, is none.
    cuts = [(0.0, *np.unique(probabilities[:, label])) for label in range(labels)]
    best = max(micro_f1(probabilities > np.array(one), right) for one in product(*cuts))
    assert micro_f1(probabilities > np.array(found), right) == pytest.approx(best)


@pytest.mark.parametrize(
    ("probabilities", "right", "threshold"),
    [
        ([0.9, 0.2], [1, 0], 0.5),  # as good as any
        ([0.4, 0.2], [1, 0], 0.3),  # halfway between
        ([0.9, 0.7], [1, 0], 0.8),
        ([0.9, 0.8], [0, 0], 0.95),  # no text has it
        ([0.4, 0.3], [0, 0], 0.5),
        ([0.5, 0.5], [1, 1], 0.25),
        ([1.0, 0.0], [1, 0], 0.5),
    ],
)
def test_a_threshold_stands_where_it_is_safest(
    probabilities: list[float], right: list[int], threshold: float
) -> None:
    # Beside a label that is always told, so that a wrong one costs something.
    table = np.array([[p, 0.9] for p in probabilities])
    found = best_thresholds(table, np.array([[r, 1] for r in right]))
    assert found == pytest.approx((threshold, 0.5))


def test_scores_of_all_labels_are_weighed_together() -> None:
    # Told alone, the second label's one right text is worth three wrong ones; here it is not.
    probabilities = np.array([[0.9, 0.4], [0.9, 0.3], [0.9, 0.2], [0.9, 0.1]])
    right = np.array([[1, 0], [1, 0], [1, 0], [1, 1]])
    assert best_thresholds(probabilities, right) == (0.5, 0.5)
    assert best_thresholds(probabilities[:, 1:], right[:, 1:]) == pytest.approx((0.05,))
