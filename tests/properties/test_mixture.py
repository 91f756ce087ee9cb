"""Invariant 7: the mixture is pure, a pass holds every row once, draws match the shares."""

import json
import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.mixture import STRATEGIES, Mixture

Settings = dict[str, object]
Rows = list[dict[str, list[int]]]

law = settings(max_examples=25, deadline=None)


@st.composite
def mixtures(draw: st.DrawFn, most_datasets: int = 8) -> tuple[dict[str, np.ndarray], Settings]:
    """Datasets with their rows' lengths, and the settings of a mixture of them."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=most_datasets))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    lengths = {f"d{at}": random.integers(1, 9, size) for at, size in enumerate(sizes)}
    return lengths, {
        "batch_size": draw(st.integers(1, 40)),
        "strategy": draw(st.sampled_from(sorted(STRATEGIES))),
        "mix": draw(st.sampled_from(["batch", "step"])),
        "seed": draw(st.integers(0, 2**40)),
    }


def rows_of(mixture: Mixture, steps: range) -> Rows:
    return [
        {name: rows.tolist() for name, rows in mixture.plan(step).rows.items()} for step in steps
    ]


@law
@given(mixtures(), st.integers(0, 150))
def test_resuming_at_any_step_goes_on_with_the_same_plans(case, step: int) -> None:
    lengths, options = case
    steps = range(step, step + 40)
    state = json.loads(json.dumps(Mixture(lengths, **options).state(step)))
    resumed = Mixture(lengths, **options, state=state)
    assert rows_of(resumed, steps) == rows_of(Mixture(lengths, **options), steps)
    assert resumed.state(step) == state


@law
@given(mixtures(), st.randoms(use_true_random=False))
def test_the_order_of_asking_changes_nothing(case, random) -> None:
    lengths, options = case
    mixture, steps = Mixture(lengths, **options), list(range(0, 100, 19))
    before = {step: rows_of(mixture, range(step, step + 1)) for step in steps}
    random.shuffle(steps)
    assert {step: rows_of(mixture, range(step, step + 1)) for step in steps} == before


@law
@given(mixtures())
def test_another_seed_draws_other_rows_in_the_same_shares(case) -> None:
    lengths, options = case
    lengths["large"] = np.arange(300)
    seeds = (Mixture(lengths, **options | {"seed": seed}) for seed in (1, 2))
    one, other = (rows_of(mixture, range(60)) for mixture in seeds)
    assert one != other
    assert [{name: len(rows) for name, rows in step.items()} for step in one] == [
        {name: len(rows) for name, rows in step.items()} for step in other
    ]


@law
@given(mixtures())
def test_every_pass_of_a_dataset_holds_each_row_once(case) -> None:
    lengths, options = case
    steps = rows_of(Mixture(lengths, **options), range(100))
    for name, tokens in lengths.items():
        drawn = np.array([row for step in steps for row in step.get(name, [])], dtype=int)
        whole = len(drawn) // len(tokens) * len(tokens)
        passes = drawn[:whole].reshape(-1, len(tokens))
        assert (np.sort(passes, axis=1) == np.arange(len(tokens))).all()
        assert len(set(drawn[whole:])) == len(drawn) - whole


@law
@given(mixtures())
def test_restarts_are_exactly_the_seams_between_passes(case) -> None:
    lengths, options = case
    mixture, drawn = Mixture(lengths, **options), dict.fromkeys(lengths, 0)
    for step in range(80):
        plan = mixture.plan(step)
        for name, rows in plan.rows.items():
            began = -(-drawn[name] // len(lengths[name]))
            drawn[name] += len(rows)
            begun = -(-drawn[name] // len(lengths[name]))
            restarted = begun > began and begun > 1
            assert plan.restarts.get(name) == (begun - 1 if restarted else None)
        assert plan.restarts.keys() <= plan.rows.keys()


def counts_of(mixture: Mixture, steps: int) -> np.ndarray:
    """Rows drawn, (steps, datasets)."""
    plans = [mixture.plan(step) for step in range(steps)]
    return np.array([[plan.counts.get(name, 0) for name in mixture.shares] for plan in plans])


def stray(counts: np.ndarray, steps: np.ndarray, mixture: Mixture, options: Settings) -> Fraction:
    """The most units (rows, or steps of one dataset) between draws and their shares, exactly."""
    whole = math.lcm(*(share.denominator for share in mixture.shares.values()))
    shares = np.array([int(share * whole) for share in mixture.shares.values()])
    most = np.abs(counts * whole - steps[:, None] * options["batch_size"] * shares).max()
    return Fraction(int(most), whole * (options["batch_size"] if options["mix"] == "step" else 1))


@law
@given(mixtures())
def test_every_step_holds_exactly_the_batch(case) -> None:
    lengths, options = case
    mixture = Mixture(lengths, **options)
    counts = counts_of(mixture, 80)
    assert (counts.sum(axis=1) == options["batch_size"]).all()
    assert stray(counts, np.ones(80, int), mixture, options) < 1  # each share rounded up or down
    if options["mix"] == "step":
        assert (np.count_nonzero(counts, axis=1) == 1).all()


@law
@given(st.one_of(mixtures(most_datasets=3), mixtures(most_datasets=20)))
def test_draws_follow_the_shares_at_every_prefix(case) -> None:
    lengths, options = case
    mixture = Mixture(lengths, **options)
    drawn = np.cumsum(counts_of(mixture, 120), axis=0)
    bound = 1 if len(lengths) <= 3 else 2
    assert stray(drawn, np.arange(1, 121), mixture, options) < bound
    assert mixture.planned_draws(120) == dict(zip(lengths, drawn[-1].tolist(), strict=True))


@law
@given(mixtures(), st.integers(0, 100), st.integers(1, 40), st.integers(1, 5), st.integers(0, 50))
def test_ranks_and_pieces_part_the_rows_of_a_step(
    case, step: int, micro_batch_size: int, world_size: int, forward_cost: int
) -> None:
    lengths, options = case
    plan = Mixture(lengths, **options).plan(step)
    ranks = [
        micro_batches(
            plan,
            lengths,
            micro_batch_size,
            forward_cost=forward_cost,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    largest = math.ceil(options["batch_size"] / world_size)

    parted: dict[str, list[int]] = {name: [] for name in plan.rows}
    for pieces in ranks:
        sizes = [sum(len(rows) for rows in piece.values()) for piece in pieces]
        assert sum(sizes) in (largest, options["batch_size"] // world_size)
        assert max(sizes, default=0) <= micro_batch_size
        assert all(sizes)
        longest = 0
        for piece in pieces:
            for name, rows in piece.items():
                parted[name] += rows.tolist()
                assert longest <= lengths[name][rows].min()
            longest = max([longest, *(lengths[name][rows].max() for name, rows in piece.items())])
    assert {name: sorted(rows) for name, rows in parted.items()} == {
        name: sorted(rows.tolist()) for name, rows in plan.rows.items()
    }
    for name, count in plan.counts.items():  # every rank has its share of every dataset
        held = [sum(len(piece.get(name, ())) for piece in pieces) for pieces in ranks]
        assert max(held) - min(held) <= 1
        assert sum(held) == count
