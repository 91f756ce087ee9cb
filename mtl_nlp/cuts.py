"""Rows in order of length, cut into pieces that are padded one by one."""

import math

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def cheapest_cuts(sizes: Ints, most_rows: int, piece_cost: float) -> list[int]:
    """Where to cut rows in order of size so that padding and pieces cost least.

    A piece of rows ``i`` to ``j`` costs ``piece_cost + (j - i) * size of its largest row``; the
    cheapest cut of all rows is found from the cheapest cuts of the first 1, 2, 3 … of them.

    Args:
        sizes: Of each row, rising, (n,).
        most_rows: The most rows of a piece.
        piece_cost: What one more piece costs, in the unit of the sizes.

    Returns:
        The first row of each piece but the first one.

    >>> cheapest_cuts(np.array([3, 3, 9, 9]), most_rows=4, piece_cost=5)
    [2]
    """
    wasted = len(sizes) * sizes[-1] - sizes.sum() if len(sizes) else 0
    if len(sizes) <= most_rows and wasted <= piece_cost:
        return []  # no cut can save what it costs
    cost = np.full(len(sizes) + 1, math.inf)  # of the cheapest cut of the first n rows
    cost[0] = 0
    begins = np.zeros(len(sizes) + 1, dtype=int)  # of its last piece
    for end in range(1, len(sizes) + 1):
        first = max(0, end - most_rows)
        rows = np.arange(end - first, 0, -1)
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
