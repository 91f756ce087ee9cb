"""The mixture by example: mixes, passes and length grouping."""

import json
from itertools import combinations

import numpy as np
import pytest

from mtl_nlp.data.mixture import Mixture
from mtl_nlp.recipe_sampling import SamplingSpec


def uniform(**sizes: int) -> dict[str, np.ndarray]:
    return {name: np.full(size, 7) for name, size in sizes.items()}


def log_normal(seed: int, **sizes: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: np.clip(random.lognormal(3, 0.5, size), 3, 128).astype(np.int64)
        for name, size in sizes.items()
    }


def mixture(
    lengths: dict[str, np.ndarray],
    batch_size: int,
    strategy: str = "proportional",
    *,
    mix: str = "batch",
    steps: int = 100,
    state: dict | None = None,
) -> Mixture:
    sampling = SamplingSpec(strategy=strategy, mix=mix)
    return Mixture(
        lengths, batch_size=batch_size, sampling=sampling, seed=13, steps=steps, state=state
    )


def test_the_first_step_is_rounded_by_largest_remainder() -> None:
    assert mixture(uniform(sst2=6920, wnut17=3394), 32).plan(0).counts == {"sst2": 21, "wnut17": 11}


def test_the_remainder_is_carried_over() -> None:
    plans = mixture(uniform(a=30, b=10), 2)  # 1.5 and 0.5 rows a step, the tie to the first
    assert [plans.plan(step).counts for step in range(4)] == [{"a": 2}, {"a": 1, "b": 1}] * 2


def test_round_robin_by_step_is_the_recipes_order() -> None:
    plans = mixture(uniform(c=90, a=5, b=40), 4, "round_robin", mix="step")
    drawn = [plans.plan(step).counts for step in range(60)]
    assert drawn == [{"c": 4}, {"a": 4}, {"b": 4}] * 20


def test_proportional_by_step_spreads_the_small_dataset() -> None:
    plans = mixture(uniform(big=80, small=20), 10, mix="step")
    names = [next(iter(plans.plan(step).rows)) for step in range(10)]
    assert names == ["big", "big", "small", "big", "big"] * 2


def test_a_dataset_that_ends_starts_again_and_says_so() -> None:
    plans = mixture(uniform(big=1000, small=10), 8, "round_robin")
    restarts = {step: plans.plan(step).restarts for step in range(8)}
    assert restarts == {2: {"small": 1}, 5: {"small": 2}, 7: {"small": 3}} | {
        step: {} for step in (0, 1, 3, 4, 6)
    }
    first, second = (np.concatenate([plans.plan(s).rows["small"] for s in steps])
                     for steps in (range(5), range(5, 10)))  # fmt: skip
    assert first.tolist() != second.tolist()
    assert np.bincount(first).tolist() == [2] * 10


def test_several_passes_fit_into_one_step() -> None:
    plan = mixture(uniform(big=100, small=3), 20, "round_robin").plan(0)
    assert plan.restarts == {"small": 3}
    for start in (0, 3, 6):
        assert sorted(plan.rows["small"][start : start + 3]) == [0, 1, 2]


def test_a_hundred_datasets_are_all_drawn_from() -> None:
    lengths = uniform(**{f"d{number}": 1 + number % 9 for number in range(100)})
    plans = mixture(lengths, 32, "round_robin")
    drawn = dict.fromkeys(lengths, 0)
    for step in range(25):
        for name, count in plans.plan(step).counts.items():
            drawn[name] += count
    assert drawn == dict.fromkeys(lengths, 8) == plans.planned_draws(25)


def test_a_pass_is_as_many_steps_as_hold_all_rows() -> None:
    plans = mixture(uniform(a=33, b=32), 32)
    assert plans.steps_per_pass == 3
    assert plans.planned_draws(3) == {"a": 49, "b": 47}


@pytest.mark.parametrize(("steps", "others"), [(8, {}), (16, {"other": 5000})])
def test_no_two_passes_group_alike(steps: int, others: dict[str, int]) -> None:
    plans = mixture({"small": np.arange(64)} | uniform(**others), 8, "round_robin")
    groups = [set(plans.plan(step).rows["small"]) for step in range(4 * steps)]
    passes = [groups[start : start + steps] for start in range(0, 4 * steps, steps)]
    for one, other in combinations(passes, 2):
        assert sum(group in other for group in one) <= steps // 4


def test_rows_of_equal_length_keep_no_order_of_the_file() -> None:
    rows = mixture(uniform(only=500), 500).plan(0).rows["only"]
    assert abs(np.corrcoef(rows, np.arange(500))[0, 1]) < 0.2


def test_a_step_draws_the_same_quantile_of_every_dataset() -> None:
    lengths = {"short": np.arange(2000), "long": np.arange(10_000, 12_000)}
    plans = mixture(lengths, 40)
    means = np.array([
        [lengths[name][rows].mean() for name, rows in plans.plan(step).rows.items()]
        for step in range(50)
    ])  # fmt: skip
    assert np.corrcoef(means.T)[0, 1] > 0.98
    assert abs(np.corrcoef(means[:, 0], np.arange(50))[0, 1]) < 0.5  # in random order


def test_every_window_has_an_order_of_its_own() -> None:
    lengths = {"only": np.arange(4000)}
    plans = mixture(lengths, 40)
    means = np.array([plans.plan(step).rows["only"].mean() for step in range(100)])
    assert abs(np.corrcoef(means[:50], means[50:])[0, 1]) < 0.5


def test_the_state_is_json_of_the_windows_beginning() -> None:
    state = mixture(uniform(a=3000, b=1000), 30).state(75)  # windows end at 44 and 89 of 134
    assert state == {
        "step": 44,
        "drawn": {"a": 990, "b": 330},
        "carry": {"a": "0", "b": "0"},
    }
    assert json.loads(json.dumps(state)) == state


def test_a_resumed_mixture_still_plans_earlier_steps() -> None:
    lengths = log_normal(3, a=3000, b=1000)
    whole = mixture(lengths, 32)
    resumed = mixture(lengths, 32, state=whole.state(130))
    assert resumed.plan(130).rows["a"].tolist() == whole.plan(130).rows["a"].tolist()
    assert resumed.plan(2).rows["b"].tolist() == whole.plan(2).rows["b"].tolist()


@pytest.mark.parametrize(
    ("lengths", "batch_size", "strategy"),
    [
        (uniform(a=3000, c=1000), 32, "proportional"),
        (uniform(a=3000, b=1001), 32, "proportional"),
        (uniform(a=3000, b=1000), 16, "proportional"),
        (uniform(a=3000, b=1000), 32, "round_robin"),
    ],
)
def test_a_state_of_other_data_or_settings_is_refused(
    lengths: dict[str, np.ndarray], batch_size: int, strategy: str
) -> None:
    state = mixture(uniform(a=3000, b=1000), 32).state(110)
    with pytest.raises(
        ValueError, match="state does not belong to these datasets, batch_size, sampling"
    ):
        mixture(lengths, batch_size, strategy, state=state)


@pytest.mark.parametrize("lengths", [{}, uniform(a=5, b=0)])
def test_a_dataset_without_rows_is_refused(lengths: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="datasets with at least one row each, but got"):
        mixture(lengths, 4)


@pytest.mark.parametrize("steps", [40, 160])
def test_a_state_of_annealed_sampling_belongs_to_a_length_of_training(steps: int) -> None:
    lengths = uniform(large=900, small=100)
    state = mixture(lengths, 50, "annealed", steps=80).state(70)
    assert mixture(lengths, 50, "annealed", steps=80, state=state).state(70) == state
    with pytest.raises(ValueError, match=r"does not belong to these datasets, .* and steps"):
        mixture(lengths, 50, "annealed", steps=steps, state=state)
    plain = mixture(lengths, 50, "proportional", steps=80).state(70)
    assert mixture(lengths, 50, "proportional", steps=steps, state=plain).state(70) == plain
