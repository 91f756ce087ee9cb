"""Curves of a log's numbers: gathered, smoothed, thinned, and their best point."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 1000  # of one curve, as many as a picture has columns

Curve = NDArray[np.float64]  # (points, 2): optimizer step, value


def curves_of(
    records: Iterator[tuple[int, Mapping[str, float | None]]],
) -> dict[str, Curve]:
    """By name, the steps at which it has a finite value, with the value."""
    points: dict[str, list[tuple[int, float]]] = {}
    for step, values in records:
        for name, value in values.items():
            if value is not None and np.isfinite(value):
                points.setdefault(name, []).append((step, value))
    return {name: np.array(pairs, dtype=np.float64) for name, pairs in points.items()}


def best(curve: Curve, *, lower: bool = False) -> NDArray[np.float64]:
    """The point (step, value) of the first best value."""
    values = curve[:, 1]
    point: NDArray[np.float64] = curve[values.argmin() if lower else values.argmax()]
    return point


def smoothed(curve: Curve) -> Curve:
    """Running mean, taken twice, over a twentieth of the points, or a few if they are few."""
    half = max(len(curve) // 40, min(8, len(curve) // 4))
    at = np.arange(len(curve))
    first, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(curve))
    values = curve[:, 1]
    for _ in range(2):
        sums = np.concatenate([[0.0], np.cumsum(values)])
        values = (sums[end] - sums[first]) / (end - first)
    return np.column_stack([curve[:, 0], values])


def thinned(curve: Curve) -> Curve:
    """At most ``_MOST_POINTS`` points of a curve, evenly picked, with its ends."""
    if len(curve) <= _MOST_POINTS:
        return curve
    picked: Curve = curve[np.linspace(0, len(curve) - 1, _MOST_POINTS).round().astype(int)]
    return picked
