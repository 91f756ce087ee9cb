"""Scores of rankings, against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.ranking_metrics import ranking_scores, retrieval_ranks


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_scores_are_the_share_of_firsts_and_the_mean_of_inverse_ranks(ranks: list[int]) -> None:
    scores = ranking_scores(ranks)
    assert scores["accuracy"] == pytest.approx(ranks.count(1) / len(ranks))
    assert scores["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert scores["accuracy"] <= scores["mrr"] <= 1


def test_without_rows_all_is_zero() -> None:
    assert ranking_scores([]) == {"accuracy": 0.0, "mrr": 0.0}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000))
def test_ranks_are_places_in_the_sorted_candidates(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    queries, candidates = random.normal(size=(n, 3)), random.normal(size=(m, 3))
    right = random.integers(0, m, n)
    ranks = retrieval_ranks(queries, candidates, right)
    for query, own, rank in zip(queries, right, ranks, strict=True):
        nearest = sorted(range(m), key=lambda i: -float(query @ candidates[i]))
        assert nearest.index(own) + 1 == rank


def test_where_all_are_alike_nothing_is_found() -> None:
    same = np.ones((5, 2))
    assert retrieval_ranks(same, same, np.arange(5)).tolist() == [5] * 5


def test_blocks_change_nothing() -> None:
    random = np.random.default_rng(0)
    vectors = random.integers(-3, 4, size=(2500, 4)).astype(np.float64)
    right = random.integers(0, 30, 2500)
    whole = retrieval_ranks(vectors, vectors[:30], right)
    alone = [
        int(retrieval_ranks(vectors[i : i + 1], vectors[:30], right[i : i + 1])[0])
        for i in (0, 1023, 1024, 2048, 2499)
    ]
    assert whole[[0, 1023, 1024, 2048, 2499]].tolist() == alone
