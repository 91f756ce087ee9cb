"""Rows in order of length, cut into pieces that are padded one by one."""

import math

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def cheapest_cuts(
    sizes: Ints,
    most_rows: int,
    piece_cost: float,
    counts: Ints | None = None,
    *,
    most_padded: int | None = None,
) -> list[int]:
    """Where to cut items in order of size so that padding and pieces cost least.

    A piece costs ``piece_cost + rows * size of its largest item``; the cheapest cut of all items is
    found from the cheapest cuts of the first 1, 2, 3 … of them.

    Args:
        sizes: Of each item, rising, (n,).
        most_rows: The most rows of a piece, unless a single item has more.
        piece_cost: What one more piece costs, in the unit of the sizes.
        counts: Rows of each item, (n,); one by default.
        most_padded: The most ``rows * size of its largest item`` of a piece, unless a single item
            has more; None for no limit.

    Returns:
        The first item of each piece but the first one.

    >>> cheapest_cuts(np.array([3, 3, 9, 9]), most_rows=4, piece_cost=5)
    [2]
    """
    counts = np.ones(len(sizes), dtype=np.int64) if counts is None else counts
    wasted = int(counts.sum() * sizes[-1] - (counts * sizes).sum()) if len(sizes) else 0
    limits = np.full(len(sizes), most_rows)  # rows of a piece, by its last item, (n,)
    if most_padded is not None:
        limits = np.minimum(limits, most_padded // sizes)
    if wasted <= piece_cost and counts.sum() <= limits.min(initial=most_rows):
        return []  # no cut can save what it costs
    rows_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    cost = np.full(len(sizes) + 1, math.inf)  # of the cheapest cut of the first n items
    cost[0] = 0
    begins = np.zeros(len(sizes) + 1, dtype=int)  # of its last piece
    for end in range(1, len(sizes) + 1):
        first = int(np.searchsorted(rows_before, rows_before[end] - limits[end - 1]))
        first = min(first, end - 1)
        rows = rows_before[end] - rows_before[first:end]
        of_begin = cost[first:end] + rows * sizes[end - 1]
        best = int(of_begin.argmin())
        cost[end] = of_begin[best] + piece_cost
        begins[end] = first + best
    cuts = []
    end = len(sizes)
    while end and begins[end]:
        end = int(begins[end])
        cuts.append(end)
    return cuts[::-1]
