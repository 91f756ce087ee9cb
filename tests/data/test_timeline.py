"""Shares over a training: stretches, means, and what is learned on the way."""

from fractions import Fraction

import pytest

from mtl_nlp.data.strategies import annealed, dynamic, proportional
from mtl_nlp.data.timeline import ByLag, timeline
from mtl_nlp.recipe_sampling import SamplingSpec

SIZES = {"large": 90, "small": 10}
SAMPLING = SamplingSpec(strategy="dynamic", targets={"task": 0.5})


def test_most_strategies_never_change() -> None:
    steady = timeline(SIZES, SamplingSpec(), steps=30, steps_per_pass=10)
    assert steady.at(0) == steady.at(999) == steady.mean(7) == proportional(SIZES)
    assert steady.until(5) is None
    assert steady.denominator == 10


def test_annealed_shares_hold_for_a_pass() -> None:
    by_pass = timeline(SIZES, SamplingSpec(strategy="annealed"), steps=25, steps_per_pass=10)
    first, middle, last = (annealed(SIZES, progress=part) for part in (0, 0.5, 1))
    assert [by_pass.at(step) for step in (0, 9, 10, 20, 400)] == [first, first, middle, last, last]
    assert [by_pass.until(step) for step in (0, 9, 10, 20, 400)] == [10, 10, 20, None, None]
    for name in SIZES:
        total = 10 * first[name] + 10 * middle[name] + 5 * last[name]
        assert by_pass.mean(25)[name] == total / 25


def test_lags_hold_from_their_step_on() -> None:
    by_lag = ByLag(SIZES, SAMPLING)
    behind = [{"large": 0.0, "small": 0.4}, {"large": 0.2, "small": 0.2}]
    by_lag.learn(10, behind[1])
    by_lag.learn(10, behind[0])  # in place of the other
    by_lag.learn(30, behind[1])
    shares = [dynamic(SIZES, lags=lags) for lags in behind]
    even = {"large": Fraction(1, 2), "small": Fraction(1, 2)}
    assert [by_lag.at(step) for step in (0, 9, 10, 29, 30)] == [even, even, *shares[:1] * 2, even]
    assert [by_lag.until(step) for step in (0, 10, 30)] == [10, 30, None]
    assert by_lag.mean(40)["small"] == Fraction(10 * 50 + 20 * 95 + 10 * 50, 40 * 100)


@pytest.mark.parametrize(
    ("step", "lags"), [(9, {"large": 1.0, "small": 1.0}), (20, {"large": 1.0})]
)
def test_lags_of_the_past_or_of_other_datasets_are_refused(
    step: int, lags: dict[str, float]
) -> None:
    by_lag = ByLag(SIZES, SAMPLING)
    by_lag.learn(10, {"large": 0.1, "small": 0.3})
    with pytest.raises(
        ValueError, match=r"lags of \['large', 'small'\] from step 10 or later, fou"
    ):
        by_lag.learn(step, lags)
