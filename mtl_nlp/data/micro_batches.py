"""A step cut into pieces, one forward each, where the cuts save the most padding."""

from collections.abc import Mapping

import numpy as np

from mtl_nlp.cuts import cheapest_cuts
from mtl_nlp.data.apportion import Ints
from mtl_nlp.data.passes import Numbers
from mtl_nlp.data.step_plan import StepPlan


def micro_batches(
    plan: StepPlan,
    lengths: Mapping[str, Numbers],
    most_rows: int,
    *,
    forward_cost: int,
    most_tokens: int | None = None,
    encoder_rows: Mapping[str, Numbers] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> list[dict[str, Ints]]:
    """One rank's share of a step, cut by length into pieces that need little padding.

    Ranks take turns over the rows sorted by dataset and length, so each has its share of every
    dataset and every length, and their numbers of rows differ by at most one.

    Args:
        plan: The step.
        lengths: Dataset name -> tokens of each of its rows, as the mixture was given.
        most_rows: The most encoder rows of a piece; a row that has more is a piece by itself.
        forward_cost: Tokens that could be computed in the time that one more forward costs.
        most_tokens: The most tokens of a piece with its padding, encoder rows times the longest; a
            row that has more is a piece by itself; None for no limit.
        encoder_rows: Dataset name -> encoder rows of each of its rows; one by default.
        rank: From 0.
        world_size: Number of ranks.

    Returns:
        Dataset name -> rows, for each piece, shortest first; none on a rank without rows.
    """
    rows = np.concatenate(list(plan.rows.values()))
    tokens = _of_rows(lengths, plan)
    counts = (
        np.ones(len(rows), dtype=np.int64) if encoder_rows is None else _of_rows(encoder_rows, plan)
    )
    dataset = np.repeat(np.arange(len(plan.rows)), list(plan.counts.values()))
    mine = np.lexsort((tokens, dataset))[rank::world_size]
    mine = mine[np.argsort(tokens[mine], kind="stable")]
    cuts = cheapest_cuts(
        tokens[mine], most_rows, forward_cost, counts[mine], most_padded=most_tokens
    )
    return [
        {
            name: rows[piece[dataset[piece] == number]]
            for number, name in enumerate(plan.rows)
            if (dataset[piece] == number).any()
        }
        for piece in np.split(mine, cuts)
        if len(piece)
    ]


def _of_rows(numbers: Mapping[str, Numbers], plan: StepPlan) -> Ints:
    """The numbers of a step's rows, dataset after dataset; they may be kept in few bytes."""
    found = [numbers[name][rows] for name, rows in plan.rows.items()]
    return np.concatenate(found).astype(np.int64)
