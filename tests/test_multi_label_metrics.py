"""Scores of label sets, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, label_ranking_average_precision_score

from mtl_nlp.multi_label_metrics import multi_label_scores

LABELS = ("a", "b", "c", "d")


def sets(table: np.ndarray) -> list[list[str]]:
    return [[LABELS[i] for i in np.flatnonzero(row)] for row in table]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(0, 10_000), st.floats(0, 1))
def test_scores_are_those_of_scikit_learn(rows: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    right = random.random((rows, 4)) < share
    probabilities = random.integers(0, 5, (rows, 4)) / 4  # with ties
    found = probabilities > 0.5
    scores = multi_label_scores(sets(right), sets(found), probabilities, LABELS)
    occurring = [i for i in range(4) if right[:, i].any() or found[:, i].any()]
    for average in ("micro", "macro"):
        expected = 0.0
        if occurring:
            expected = f1_score(right, found, average=average, labels=occurring, zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(expected)
    expected = label_ranking_average_precision_score(right, probabilities)
    assert scores["lrap"] == pytest.approx(expected)


def test_a_right_label_that_the_model_lacks_is_an_error() -> None:
    scores = multi_label_scores([["a", "new"]], [["a"]], np.array([[0.9, 0.1, 0.1, 0.1]]), LABELS)
    assert scores["micro_f1"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx(1 / 2)
    assert scores["lrap"] == pytest.approx((1 + 2 / 5) / 2)  # last of five


def test_nothing_to_score_is_zero() -> None:
    nothing = {"micro_f1": 0.0, "macro_f1": 0.0, "lrap": 0.0}
    assert multi_label_scores([], [], np.zeros((0, 4)), LABELS) == nothing
    assert multi_label_scores([[]], [[]], np.zeros((1, 4)), LABELS) == {**nothing, "lrap": 1.0}


def test_a_missing_prediction_is_told() -> None:
    with pytest.raises(ValueError, match="2 references but 1 predictions; give exactly one"):
        multi_label_scores([["a"], ["b"]], [["a"]], np.zeros((1, 4)), LABELS)
