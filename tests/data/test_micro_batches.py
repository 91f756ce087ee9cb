"""How a step is cut into pieces, by example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.recipe_sampling import SamplingSpec


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
    plan = Mixture(lengths, batch_size=2, sampling=SamplingSpec(), seed=13, steps=1).plan(0)
    assert micro_batches(plan, lengths, 4, forward_cost=9, rank=2, world_size=3) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 150),
    st.integers(1, 3),
)
def test_no_piece_has_more_tokens_than_allowed_unless_it_is_one_row(
    items: list[tuple[int, int]], most_rows: int, most_tokens: int, world_size: int
) -> None:
    lengths, counts = ({"a": np.array(one)} for one in zip(*items, strict=True))
    plan = StepPlan(0, {"a": np.arange(len(items))}, {})
    pieces = [
        piece["a"]
        for rank in range(world_size)
        for piece in micro_batches(
            plan,
            lengths,
            most_rows,
            forward_cost=30,
            most_tokens=most_tokens,
            encoder_rows=counts,
            rank=rank,
            world_size=world_size,
        )
    ]
    assert sorted(np.concatenate(pieces)) == list(range(len(items)))
    for rows in pieces:
        encoder_rows = counts["a"][rows].sum()
        padded = encoder_rows * lengths["a"][rows].max()
        assert len(rows) == 1 or (encoder_rows <= most_rows and padded <= most_tokens)


@pytest.mark.parametrize("forward_cost", [24, 48, 96])
def test_mixed_steps_need_little_padding(forward_cost: int) -> None:
    random = np.random.default_rng(1)
    lengths = {
        name: np.clip(random.lognormal(mean, 0.5, size), 3, 128).astype(np.int64)
        for name, mean, size in (("long", 3.4, 3000), ("short", 3.0, 6000))
    }
    mixture = Mixture(lengths, batch_size=32, sampling=SamplingSpec(), seed=13, steps=1)
    padded = tokens = 0
    for step in range(mixture.steps_per_pass):
        for piece in micro_batches(mixture.plan(step), lengths, 32, forward_cost=forward_cost):
            held = np.concatenate([lengths[name][rows] for name, rows in piece.items()])
            padded += len(held) * held.max()
            tokens += held.sum()
    assert 1 - tokens / padded < 0.05
