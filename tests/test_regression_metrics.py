"""Scores of numbers, against scipy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata
from sklearn.metrics import root_mean_squared_error

from mtl_nlp.regression_metrics import regression_scores


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_scores_are_those_of_their_definitions(number: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    right = random.integers(0, 4, number) + np.arange(number) % 2 / 8  # with ties
    found = random.normal(size=number)
    scores = regression_scores(right.tolist(), found.tolist())
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(right, found))
    assert scores["pearson"] == pytest.approx(pearsonr(right, found).statistic)
    ranks = pearsonr(rankdata(right), rankdata(found)).statistic
    assert scores["spearman"] == pytest.approx(ranks)


@pytest.mark.parametrize(
    ("right", "found", "rmse"),
    [([], [], 0.0), ([1.0], [3.0], 2.0), ([1.0, 1.0], [0.0, 2.0], 1.0), ([1.0, 3.0], [2, 2], 1.0)],
)
def test_what_is_undefined_is_zero(right: list[float], found: list[float], rmse: float) -> None:
    scores = regression_scores(right, found)
    assert scores == {"spearman": 0.0, "pearson": 0.0, "rmse": rmse}


def test_a_missing_prediction_is_told() -> None:
    with pytest.raises(ValueError, match="2 references but 1 predictions; give exactly one"):
        regression_scores([1.0, 2.0], [1.0])
