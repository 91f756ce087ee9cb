"""A step cut into pieces, one forward each, where the cuts save the most padding."""

import math
from collections.abc import Mapping

import numpy as np

from mtl_nlp.data.mixture import Ints, StepPlan


def micro_batches(
    plan: StepPlan,
    lengths: Mapping[str, Ints],
    most_rows: int,
    *,
    forward_cost: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[dict[str, Ints]]:
    """One rank's share of a step, cut by length into pieces that need little padding.

    Ranks take turns over the rows sorted by dataset and length, so each has its share of every
    dataset and every length, and their numbers of rows differ by at most one.

    Args:
        plan: The step.
        lengths: Dataset name -> tokens of each of its rows, as the mixture was given.
        most_rows: The most rows of a piece.
        forward_cost: Tokens that could be computed in the time that one more forward costs.
        rank: From 0.
        world_size: Number of ranks.

    Returns:
        Dataset name -> rows, for each piece, shortest first; none on a rank without rows.
    """
    rows = np.concatenate(list(plan.rows.values()))
    tokens = np.concatenate([lengths[name][rows] for name, rows in plan.rows.items()])
    dataset = np.repeat(np.arange(len(plan.rows)), list(plan.counts.values()))
    mine = np.lexsort((tokens, dataset))[rank::world_size]
    mine = mine[np.argsort(tokens[mine], kind="stable")]
    return [
        {
            name: rows[piece[dataset[piece] == number]]
            for number, name in enumerate(plan.rows)
            if (dataset[piece] == number).any()
        }
        for piece in np.split(mine, cheapest_cuts(tokens[mine], most_rows, forward_cost))
        if len(piece)
    ]


def cheapest_cuts(lengths: Ints, most_rows: int, forward_cost: int) -> list[int]:
    """Where to cut rows in order of length so that padded tokens and forwards cost least.

    A piece of rows ``i`` to ``j`` costs ``forward_cost + (j - i) * length of its longest row``; the
    cheapest cut of all rows is found from the cheapest cuts of the first 1, 2, 3 … of them.

    Args:
        lengths: Tokens of each row, rising, (n,).
        most_rows: The most rows of a piece.
        forward_cost: In tokens.

    Returns:
        The first row of each piece but the first one.

    >>> cheapest_cuts(np.array([3, 3, 9, 9]), most_rows=4, forward_cost=5)
    [2]
    """
    cost = np.full(len(lengths) + 1, math.inf)  # of the cheapest cut of the first n rows
    cost[0] = 0
    begins = np.zeros(len(lengths) + 1, dtype=int)  # of its last piece
    for end in range(1, len(lengths) + 1):
        first = max(0, end - most_rows)
        rows = np.arange(end - first, 0, -1)
        of_begin = cost[first:end] + rows * lengths[end - 1]
        best = int(of_begin.argmin())
        cost[end] = of_begin[best] + forward_cost
        begins[end] = first + best
    cuts = []
    end = len(lengths)
    while end and begins[end]:
        end = int(begins[end])
        cuts.append(end)
    return cuts[::-1]
