"""The cheapest cut against all others."""

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.cuts import cheapest_cuts


def cost_of(lengths: np.ndarray, cuts: tuple[int, ...], piece_cost: int) -> int:
    return sum(
        piece_cost + (end - begin) * int(lengths[end - 1])
        for begin, end in pairwise((0, *cuts, len(lengths)))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 8), st.integers(0, 60))
def test_no_other_cut_is_cheaper(tokens: list[int], most_rows: int, piece_cost: int) -> None:
    lengths = np.sort(np.array(tokens))
    others = [
        cuts
        for number in range(len(lengths))
        for cuts in combinations(range(1, len(lengths)), number)
        if all(end - begin <= most_rows for begin, end in pairwise((0, *cuts, len(lengths))))
    ]
    cuts = tuple(cheapest_cuts(lengths, most_rows, piece_cost))
    assert cuts in others
    cheapest = min(cost_of(lengths, other, piece_cost) for other in others)
    assert cost_of(lengths, cuts, piece_cost) == cheapest


def test_rows_of_one_length_are_cut_only_where_they_must_be() -> None:
    assert cheapest_cuts(np.full(32, 7), most_rows=32, piece_cost=1) == []
    assert len(cheapest_cuts(np.full(32, 7), most_rows=16, piece_cost=1)) == 1


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=7),
    st.integers(1, 8),
    st.integers(0, 40),
    st.none() | st.integers(1, 200),
)
def test_items_of_several_rows_are_cut_where_it_costs_least(
    items: list[tuple[int, int]], most_rows: int, piece_cost: int, most_padded: int | None
) -> None:
    sizes, counts = (np.array(one) for one in zip(*sorted(items), strict=True))

    def pieces(cuts: tuple[int, ...]) -> list[tuple[int, int]]:
        return list(pairwise((0, *cuts, len(sizes))))

    def cost(cuts: tuple[int, ...]) -> int:
        return sum(piece_cost + counts[a:b].sum() * sizes[b - 1] for a, b in pieces(cuts))

    def fits(a: int, b: int) -> bool:
        rows = counts[a:b].sum()
        padded = rows * sizes[b - 1]
        return rows <= most_rows and (most_padded is None or padded <= most_padded)

    others = [
        cuts
        for number in range(len(sizes))
        for cuts in combinations(range(1, len(sizes)), number)
        if all(b - a == 1 or fits(a, b) for a, b in pieces(cuts))
    ]
    cuts = tuple(cheapest_cuts(sizes, most_rows, piece_cost, counts, most_padded=most_padded))
    assert cuts in others
    assert cost(cuts) == min(map(cost, others))
