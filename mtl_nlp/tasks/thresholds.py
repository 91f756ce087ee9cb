"""Above which probability a label is given: the thresholds that score best."""

import numpy as np

EVEN = 0.5  # the threshold where nothing tells a better one


def best_thresholds(
    probabilities: np.ndarray, right: np.ndarray, *, beyond: int = 0
) -> tuple[float, ...]:
    """One threshold per label, which together give the highest micro F1 there is.

    Micro F1 is 2 Σ correct / Σ (given + right), both sums over labels, so by Dinkelbach's method
    (1967, "On nonlinear fractional programming") each label takes the threshold that maximises
    ``2 correct - F1 * given``, where F1 is that of the last round, until it rises no more. Of
    thresholds that are equally good, those stand halfway between two probabilities that come
    nearest to 0.5, or are 0.5.

    Args:
        probabilities: Of each label, in [0, 1], (items, labels).
        right: 1 where an item has a label, else 0, (items, labels).
        beyond: How many right labels there are beside these, which no threshold finds.
    """
    items, labels = probabilities.shape
    order = np.argsort(-probabilities, axis=0, kind="stable")
    falling = np.take_along_axis(probabilities, order, axis=0).astype(np.float64)
    hits = np.take_along_axis(right, order, axis=0).cumsum(axis=0)
    # Row k of each table stands for giving a label to its k likeliest items, (items + 1, labels).
    correct = np.concatenate([np.zeros((1, labels)), hits])
    given = np.arange(items + 1.0)[:, None]
    # Just above 1, so that a label may be given to none even where it seems certain.
    above = np.concatenate([np.full((1, labels), np.nextafter(1.0, 2.0)), falling])
    below = np.concatenate([falling, np.zeros((1, labels))])
    possible = above > below
    away = np.maximum(np.maximum(below - EVEN, EVEN - above), 0.0)  # of the gap from 0.5
    every = np.arange(labels)
    score, rising = 0.0, True
    while rising:
        value = np.where(possible, 2 * correct - score * given, -np.inf)
        best = value >= value.max(axis=0) - 1e-9
        chosen = np.where(best, away, np.inf).argmin(axis=0)  # (labels,)
        total = chosen.sum() + right.sum() + beyond
        reached = 2 * correct[chosen, every].sum() / total if total else 0.0
        rising, score = reached > score + 1e-12, reached
    high, low = above[chosen, every], below[chosen, every]
    inside = (low < EVEN) & (high > EVEN)
    return tuple(float(t) for t in np.where(inside, EVEN, (low + high) / 2))
