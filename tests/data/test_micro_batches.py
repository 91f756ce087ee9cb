"""How a step is cut: by example, and the cheapest cut against all others."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.micro_batches import cheapest_cuts, micro_batches
from mtl_nlp.data.mixture import Mixture, StepPlan


def cost_of(lengths: np.ndarray, cuts: tuple[int, ...], forward_cost: int) -> int:
    return sum(
        forward_cost + (end - begin) * int(lengths[end - 1])
        for begin, end in pairwise((0, *cuts, len(lengths)))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 8), st.integers(0, 60))
def test_no_other_cut_is_cheaper(tokens: list[int], most_rows: int, forward_cost: int) -> None:
    lengths = np.sort(np.array(tokens))
    others = [
        cuts
        for number in range(len(lengths))
        for cuts in combinations(range(1, len(lengths)), number)
        if all(end - begin <= most_rows for begin, end in pairwise((0, *cuts, len(lengths))))
    ]
    cuts = tuple(cheapest_cuts(lengths, most_rows, forward_cost))
    assert cuts in others
    cheapest = min(cost_of(lengths, other, forward_cost) for other in others)
    assert cost_of(lengths, cuts, forward_cost) == cheapest


def test_rows_of_one_length_are_cut_only_where_they_must_be() -> None:
    assert cheapest_cuts(np.full(32, 7), most_rows=32, forward_cost=1) == []
    assert len(cheapest_cuts(np.full(32, 7), most_rows=16, forward_cost=1)) == 1


def test_pieces_are_sorted_by_length_over_all_datasets() -> None:
    lengths = {"a": np.array([5, 9, 1]), "b": np.array([6, 2, 8])}
    plan = StepPlan(0, {"a": np.array([2, 0, 1]), "b": np.array([1, 0, 2])}, {})
    pieces = micro_batches(plan, lengths, 2, forward_cost=9)
    assert [{name: rows.tolist() for name, rows in piece.items()} for piece in pieces] == [
        {"a": [2], "b": [1]},
        {"a": [0], "b": [0]},
        {"a": [1], "b": [2]},
    ]


def test_a_rank_without_rows_gets_no_pieces() -> None:
    lengths = {"only": np.full(2, 7)}
    plan = Mixture(lengths, batch_size=2, strategy="proportional", mix="batch", seed=13).plan(0)
    assert micro_batches(plan, lengths, 4, forward_cost=9, rank=2, world_size=3) == []


@pytest.mark.parametrize("forward_cost", [24, 48, 96])
def test_mixed_steps_need_little_padding(forward_cost: int) -> None:
    random = np.random.default_rng(1)
    lengths = {
        name: np.clip(random.lognormal(mean, 0.5, size), 3, 128).astype(np.int64)
        for name, mean, size in (("long", 3.4, 3000), ("short", 3.0, 6000))
    }
    mixture = Mixture(lengths, batch_size=32, strategy="proportional", mix="batch", seed=13)
    padded = tokens = 0
    for step in range(mixture.steps_per_pass):
        for piece in micro_batches(mixture.plan(step), lengths, 32, forward_cost=forward_cost):
            held = np.concatenate([lengths[name][rows] for name, rows in piece.items()])
            padded += len(held) * held.max()
            tokens += held.sum()
    assert 1 - tokens / padded < 0.05
