"""Which dataset gets the rows of a step: turns, carry-over, and shares that change."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mtl_nlp.data.apportion import Apportionment
from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_sampling import SamplingSpec


def rows(sizes: dict[str, int], batch_size: int, until: int, *, seed: int = 13, steps: int = 100,
         **sampling: Any) -> list[dict[str, int]]:  # fmt: skip
    """The rows of each dataset in the first steps, those of none left out."""
    parts = Apportionment(
        sizes, batch_size=batch_size, sampling=SamplingSpec(**sampling), seed=seed, steps=steps
    )
    carry, start, counts = np.zeros(len(sizes), np.int64), 0, []
    while start < until:
        stop = parts.stretch_end(start, until - start)
        some, carry = parts.rows(carry, start, stop)
        counts += some.tolist()
        start = stop
    return [
        {name: count for name, count in zip(sizes, step, strict=True) if count} for step in counts
    ]


SIZES = {"c": 90, "a": 5, "b": 40}


def test_round_robin_keeps_the_recipes_order_and_uniform_draws_a_new_one_each_round() -> None:
    in_turn = rows(SIZES, 4, 60, strategy="round_robin", mix="step")
    assert in_turn == [{"c": 4}, {"a": 4}, {"b": 4}] * 20
    drawn = [next(iter(step)) for step in rows(SIZES, 4, 300, strategy="uniform", mix="step")]
    rounds = Counter("".join(drawn[at : at + 3]) for at in range(0, 300, 3))
    assert rounds.keys() == {"abc", "acb", "bac", "bca", "cab", "cba"}
    assert min(rounds.values()) >= 5
    other = rows(SIZES, 4, 300, strategy="uniform", mix="step", seed=14)
    assert drawn != [next(iter(step)) for step in other]


def test_uniform_gives_the_odd_rows_of_mixed_steps_to_random_datasets() -> None:
    """With round robin the first in the recipe would always be ahead."""
    steps = rows(SIZES, 4, 300, strategy="uniform")
    assert all(sorted(step.values()) == [1, 1, 2] for step in steps)
    ahead = [max(step, key=lambda name: step[name]) for step in steps]
    assert {"".join(ahead[at : at + 3]) for at in range(0, 300, 3)} == {
        "abc", "acb", "bac", "bca", "cab", "cba",
    }  # fmt: skip


def test_each_main_row_comes_with_its_ratio_of_the_others() -> None:
    steps = rows({"a": 90, "m": 5, "b": 30}, 12, 50, strategy="main", main="m", ratio=2)
    assert steps == [{"a": 6, "m": 4, "b": 2}] * 50


def test_given_weights_are_the_parts_of_a_step() -> None:
    steps = rows({"a": 90, "b": 5}, 12, 9, strategy="weights", weights={"b": 2, "a": 1})
    assert steps == [{"a": 4, "b": 8}] * 9


def test_annealed_shares_move_with_each_pass() -> None:
    sizes, last = {"large": 990, "small": 10}, 4
    steps = rows(sizes, 100, 60, strategy="annealed", steps=50)  # passes of 10 steps
    of_small = [
        sum(step.get("small", 0) for step in steps[at : at + 10]) for at in range(0, 60, 10)
    ]
    for number, found in enumerate(of_small):
        alpha = 1 - 0.8 * min(number, last) / last
        due = 1000 / (1 + 99**alpha)
        assert abs(found - due) < 1 + 1e-3
    assert of_small[0] == 10
    assert abs(of_small[4] - of_small[5]) <= 1  # past the end it stays as it was


def test_the_one_pass_of_a_short_training_goes_by_size() -> None:
    steps = rows({"large": 990, "small": 10}, 100, 10, strategy="annealed", steps=7)
    assert steps == [{"large": 99, "small": 1}] * 10


def test_billions_of_rows_and_large_steps_stay_exact() -> None:
    sizes = {"a": 7 * 10**9, "b": 3 * 10**9 + 1}
    steps = rows(sizes, 10**6, 1000, strategy="temperature", temperature=3.0)
    assert {sum(step.values()) for step in steps} == {10**6}
    total = sum(step["a"] for step in steps)
    share = 7 ** (1 / 3) / (7 ** (1 / 3) + 3.000000001 ** (1 / 3))
    assert total == pytest.approx(10**9 * share, abs=2)


@pytest.mark.parametrize(
    "sampling",
    [
        {"strategy": "temperature", "temperature": 0.1},
        {"strategy": "weights", "weights": {"large": 1, "small": 1e-10}},
        {"strategy": "main", "main": "large", "ratio": 1e-10},
    ],
)
def test_a_dataset_that_nothing_would_be_drawn_from_is_told(sampling: dict[str, Any]) -> None:
    message = rf"sampling.strategy: {sampling['strategy']} gives dataset 'small' of 1,000 rows less"
    with pytest.raises(RecipeError, match=message):
        rows({"large": 1_000_000, "small": 1000}, 32, 1, **sampling)
