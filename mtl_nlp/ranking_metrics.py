"""Scores of rankings in which one candidate is right."""

from collections.abc import Sequence

import numpy as np

_ROWS_AT_ONCE = 1024


def ranking_scores(ranks: Sequence[int]) -> dict[str, float]:
    """How often the right candidate comes first, and the mean of 1 / its rank.

    Args:
        ranks: Of the right candidate of each row, from 1.

    Returns:
        ``accuracy`` and ``mrr`` (mean reciprocal rank) in [0, 1], 0.0 without rows.

    >>> ranking_scores([1, 2, 4, 4])
    {'accuracy': 0.25, 'mrr': 0.5}
    """
    if not len(ranks):
        return {"accuracy": 0.0, "mrr": 0.0}
    places = np.asarray(ranks, dtype=np.float64)
    return {"accuracy": float(np.mean(places == 1)), "mrr": float(np.mean(1 / places))}


def retrieval_ranks(queries: np.ndarray, candidates: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The rank of each query's own candidate among all, by their dot products.

    A candidate that is as near as the right one ranks before it, so that a model to which all texts
    are alike finds nothing.

    Args:
        queries: (n, dim).
        candidates: (m, dim).
        right: Each query's number among the candidates, (n,).

    Returns:
        Ranks from 1, (n,).
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        scores = queries[block] @ candidates.T  # (block, m)
        own = np.take_along_axis(scores, right[block, None], axis=1)
        ranks[block] = (scores >= own).sum(axis=1)
    return ranks
