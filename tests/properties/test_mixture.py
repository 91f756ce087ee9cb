"""Invariant 7: the mixture is pure, a pass holds every row once, draws match the shares."""

import json
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.mixture import WINDOW_STEPS, Mixture
from mtl_nlp.data.strategies import STRATEGIES, Shares
from mtl_nlp.recipe_sampling import SamplingSpec

Settings = dict[str, Any]
Rows = list[dict[str, list[int]]]

law = settings(max_examples=6, deadline=None)
every_strategy = pytest.mark.parametrize("strategy", sorted(STRATEGIES))
MOST_DATASETS = 20


def options_of(draw: st.DrawFn, strategy: str, names: Sequence[str]) -> dict[str, Any]:
    """Options that every dataset of these names has a share under, and one called large."""
    weights = st.one_of(st.integers(1, 9), st.floats(0.01, 9))
    options: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "weights": {"weights": st.fixed_dictionaries(dict.fromkeys([*names, "large"], weights))},
        "temperature": {"temperature": st.floats(0.5, 50)},
        "capped": {"cap": st.integers(1, 400)},
        "main": {"main": st.sampled_from(names), "ratio": st.sampled_from([0.1, 1 / 3, 2, 7.5])},
        "dynamic": {"targets": st.just({"task": 0.5})},
    }
    return {key: draw(value) for key, value in options.get(strategy, {}).items()}


@st.composite
def mixtures(
    draw: st.DrawFn, strategy: str, most_datasets: int = 8
) -> tuple[dict[str, np.ndarray], Settings]:
    """Datasets with their rows' lengths, and the settings of a mixture of them.

    Of a strategy that follows lags also those that are learned, by the step that is the next then.
    """
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=most_datasets))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    lengths = {f"d{at}": random.integers(1, 9, size) for at, size in enumerate(sizes)}
    mix = draw(st.sampled_from(["batch", "step"]))
    options = options_of(draw, strategy, list(lengths))
    lags = st.fixed_dictionaries(dict.fromkeys([*lengths, "large"], st.floats(0, 1)))
    learned = st.dictionaries(st.integers(0, 140), lags, max_size=5)
    follows = STRATEGIES[strategy].follows == "lags"
    return lengths, {
        "batch_size": draw(st.integers(1, 40)),
        "sampling": SamplingSpec(strategy=strategy, mix=mix, **options),
        "seed": draw(st.integers(0, 2**40)),
        "steps": draw(st.integers(1, 200)),
        "learned": dict(sorted(draw(learned).items())) if follows else {},
    }


def mixture_of(
    lengths: dict[str, np.ndarray], options: Settings, state: dict[str, Any] | None = None
) -> Mixture:
    """The mixture of some settings; with a state, which holds what was learned, as resumed."""
    rest = {key: value for key, value in options.items() if key != "learned"}
    mixture = Mixture(lengths, **rest, state=state)
    for step, lags in options["learned"].items() if state is None else ():
        mixture.learn(step, {name: lags[name] for name in lengths})
    return mixture


def rows_of(mixture: Mixture, steps: range) -> Rows:
    return [
        {name: rows.tolist() for name, rows in mixture.plan(step).rows.items()} for step in steps
    ]


@every_strategy
@law
@given(data=st.data(), step=st.integers(0, 150))
def test_resuming_at_any_step_goes_on_with_the_same_plans(data, strategy: str, step: int) -> None:
    lengths, options = data.draw(mixtures(strategy))
    steps = range(step, step + 40)
    state = json.loads(json.dumps(mixture_of(lengths, options).state(step)))
    resumed = mixture_of(lengths, options, state)
    assert rows_of(resumed, steps) == rows_of(mixture_of(lengths, options), steps)
    assert resumed.state(step) == state


@settings(max_examples=15, deadline=None)
@given(case=mixtures("dynamic"))
def test_lags_that_are_learned_on_the_way_change_nothing_before_them(case) -> None:
    lengths, options = case
    known, learning = (mixture_of(lengths, options | more) for more in ({}, {"learned": {}}))
    for step in range(150):
        if step in options["learned"]:
            lags = options["learned"][step]
            learning.learn(step, {name: lags[name] for name in lengths})
        assert rows_of(learning, range(step, step + 1)) == rows_of(known, range(step, step + 1))
    assert learning.state(149) == known.state(149)


@every_strategy
@law
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_the_order_of_asking_changes_nothing(data, strategy: str, random) -> None:
    lengths, options = data.draw(mixtures(strategy))
    mixture, steps = mixture_of(lengths, options), list(range(0, 100, 19))
    before = {step: rows_of(mixture, range(step, step + 1)) for step in steps}
    random.shuffle(steps)
    assert {step: rows_of(mixture, range(step, step + 1)) for step in steps} == before


@every_strategy
@law
@given(data=st.data())
def test_another_seed_draws_other_rows_in_the_same_shares(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    lengths["large"] = np.arange(300)
    seeds = [mixture_of(lengths, options | {"seed": seed}) for seed in (1, 2)]
    assert rows_of(seeds[0], range(60)) != rows_of(seeds[1], range(60))
    one, other = (counts_of(mixture, 60) for mixture in seeds)
    if STRATEGIES[strategy].shuffles:  # the datasets' turns are drawn anew, their number is not
        unit = 1 if options["sampling"].mix == "batch" else options["batch_size"]
        assert np.abs(one.sum(axis=0) - other.sum(axis=0)).max() <= unit
    else:
        assert one.tolist() == other.tolist()


@every_strategy
@law
@given(data=st.data())
def test_every_pass_of_a_dataset_holds_each_row_once(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    steps = rows_of(mixture_of(lengths, options), range(100))
    for name, tokens in lengths.items():
        drawn = np.array([row for step in steps for row in step.get(name, [])], dtype=int)
        whole = len(drawn) // len(tokens) * len(tokens)
        passes = drawn[:whole].reshape(-1, len(tokens))
        assert (np.sort(passes, axis=1) == np.arange(len(tokens))).all()
        assert len(set(drawn[whole:])) == len(drawn) - whole


@every_strategy
@law
@given(data=st.data())
def test_restarts_are_exactly_the_seams_between_passes(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    mixture, drawn = mixture_of(lengths, options), dict.fromkeys(lengths, 0)
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


def shares_of(lengths: dict[str, np.ndarray], options: Settings, steps: int) -> list[Shares]:
    """The shares that each of the first steps should have."""
    sizes, sampling = {name: len(one) for name, one in lengths.items()}, options["sampling"]
    strategy = STRATEGIES[sampling.strategy]
    steps_per_pass = math.ceil(sum(sizes.values()) / options["batch_size"])
    if strategy.follows == "lags":
        shares = [strategy.shares(sizes, lags=dict.fromkeys(sizes, 1.0))] * steps
        for step, lags in options["learned"].items():
            first = next(at for at in windows(steps_per_pass) if at >= step)
            shares[first:] = [strategy.shares(sizes, lags=lags)] * (steps - first)
        return shares
    if strategy.follows is None:
        return [strategy.shares(sizes, **sampling.options)] * steps
    passes = math.ceil(options["steps"] / steps_per_pass)
    by_pass = [
        strategy.shares(sizes, progress=number / (passes - 1) if passes > 1 else 0)
        for number in range(passes)
    ]
    return [by_pass[min(step // steps_per_pass, passes - 1)] for step in range(steps)]


def windows(steps_per_pass: int) -> Iterator[int]:
    """The first steps of the stretches that are grouped by length together, which part a pass."""
    parts = max(1, round(steps_per_pass / WINDOW_STEPS))
    for number in count():
        yield from (
            number * steps_per_pass + part * steps_per_pass // parts for part in range(parts)
        )


def stray(
    counts: np.ndarray, shares: Sequence[Sequence[Fraction | int]], options: Settings
) -> Fraction:
    """The most units (rows, or steps of one dataset) between draws and due, exactly."""
    size = options["batch_size"]
    unit = 1 if options["sampling"].mix == "batch" else size
    return max(
        abs(int(count) - size * share) / Fraction(unit)
        for row, due in zip(counts, shares, strict=True)
        for count, share in zip(row, due, strict=True)
    )


@every_strategy
@law
@given(data=st.data())
def test_every_step_holds_exactly_the_batch(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    counts = counts_of(mixture_of(lengths, options), 80)
    assert (counts.sum(axis=1) == options["batch_size"]).all()
    shares = [list(one.values()) for one in shares_of(lengths, options, 80)]
    assert stray(counts, shares, options) < 1  # each share rounded up or down
    if options["sampling"].mix == "step":
        assert (np.count_nonzero(counts, axis=1) == 1).all()


@every_strategy
@law
@given(data=st.data(), most=st.sampled_from([3, MOST_DATASETS]))
def test_draws_follow_the_shares_at_every_prefix(data, strategy: str, most: int) -> None:
    lengths, options = data.draw(mixtures(strategy, most_datasets=most))
    mixture = mixture_of(lengths, options)
    drawn = np.cumsum(counts_of(mixture, 120), axis=0)
    shares = shares_of(lengths, options, 120)
    due = [list(accumulate(one[name] for one in shares)) for name in lengths]
    assert stray(drawn, list(zip(*due, strict=True)), options) < (1 if len(lengths) <= 3 else 2)
    assert mixture.planned_draws(120) == dict(zip(lengths, drawn[-1].tolist(), strict=True))


@every_strategy
@law
@given(data=st.data())
def test_the_shares_told_are_the_mean_over_the_training(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    shares = shares_of(lengths, options, options["steps"])
    assert mixture_of(lengths, options).shares == {
        name: sum(one[name] for one in shares) / len(shares) for name in lengths
    }


@every_strategy
@law
@given(data=st.data())
def test_no_step_is_due_less_than_the_least_share(data, strategy: str) -> None:
    lengths, options = data.draw(mixtures(strategy))
    mixture, shares = mixture_of(lengths, options), shares_of(lengths, options, 200)
    for name in lengths:
        assert 0 < mixture.least_share([name]) <= min(one[name] for one in shares)
    assert mixture.least_share(list(lengths)) == 1


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(STRATEGIES)).flatmap(mixtures),
    st.integers(0, 100),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 50),
)
def test_ranks_and_pieces_part_the_rows_of_a_step(
    case, step: int, micro_batch_size: int, world_size: int, forward_cost: int
) -> None:
    lengths, options = case
    plan = mixture_of(lengths, options).plan(step)
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
    for name, rows in plan.counts.items():  # every rank has its share of every dataset
        held = [sum(len(piece.get(name, ())) for piece in pieces) for pieces in ranks]
        assert max(held) - min(held) <= 1
        assert sum(held) == rows
