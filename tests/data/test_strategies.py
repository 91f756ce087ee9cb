"""Shares of the datasets, against their formulas in floating point."""

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.strategies import (
    DENOMINATOR,
    STRATEGIES,
    annealed,
    around,
    capped,
    dynamic,
    equal,
    lag_of,
    proportional,
    tempered,
    weighted,
)
from mtl_nlp.recipe_sampling import SamplingSpec

brief = settings(deadline=None, max_examples=40)
SIZES = st.lists(st.integers(1, 10**7), min_size=2, max_size=6).map(
    lambda sizes: {f"d{at}": size for at, size in enumerate(sizes)}
)


def check(shares: dict[str, Fraction], claims: dict[str, float]) -> None:
    """They are in proportion to these claims to a billionth, sum to 1 and can be counted in."""
    total = math.fsum(claims.values())
    assert list(shares) == list(claims)
    for name, share in shares.items():
        assert float(share) == pytest.approx(claims[name] / total, rel=1e-12, abs=1.01e-9)
    assert sum(shares.values()) == 1
    assert math.lcm(*(share.denominator for share in shares.values())) <= DENOMINATOR


def test_a_recipe_knows_every_strategy() -> None:
    assert set(get_args(SamplingSpec.model_fields["strategy"].annotation)) == STRATEGIES.keys()


@brief
@given(SIZES, st.floats(0.5, 100), st.integers(1, 10**7), st.floats(0, 1), st.floats(0.01, 100))
def test_shares_are_those_of_the_formula(
    sizes: dict[str, int], temperature: float, cap: int, progress: float, ratio: float
) -> None:
    check(proportional(sizes), dict(sizes))
    check(equal(sizes), dict.fromkeys(sizes, 1.0))
    check(capped(sizes, cap=cap), {name: min(n, cap) for name, n in sizes.items()})
    largest = max(sizes.values())
    check(
        tempered(sizes, temperature=temperature),
        {name: math.exp(math.log(n / largest) / temperature) for name, n in sizes.items()},
    )
    exponent = 1 - 0.8 * progress
    check(
        annealed(sizes, progress=progress),
        {name: math.exp(math.log(n / largest) * exponent) for name, n in sizes.items()},
    )
    others = sum(sizes.values()) - sizes["d0"]
    claims = {name: ratio * n / others for name, n in sizes.items()}
    check(around(sizes, main="d0", ratio=ratio), {**claims, "d0": 1.0})
    check(weighted(sizes, weights={**sizes, "another": 3}), dict(sizes))


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (proportional({"a": 30, "b": 10}), ("3/4", "1/4")),
        (equal({"a": 30, "b": 10, "c": 1}), ("1/3", "1/3", "1/3")),
        (weighted({"a": 30, "b": 10}, weights={"a": 0.1, "b": 0.2}), ("1/3", "2/3")),
        (capped({"a": 30, "b": 10}, cap=20), ("2/3", "1/3")),
        (around({"a": 9, "m": 2, "b": 3}, main="m", ratio=0.2), ("1/8", "5/6", "1/24")),
        (around({"m": 2}, main="m", ratio=0.2), ("1",)),
    ],
)
def test_rational_shares_are_exact(shares: dict[str, Fraction], expected: tuple[str, ...]) -> None:
    assert tuple(map(str, shares.values())) == expected


@brief
@given(SIZES, st.data())
def test_draws_go_to_what_lags_behind_and_starve_nothing(sizes: dict[str, int], data: Any) -> None:
    lags = {name: data.draw(st.floats(0, 1), label=name) for name in sizes}
    shares, total, k = dynamic(sizes, lags=lags), math.fsum(lags.values()), len(sizes)
    each = {name: 0.9 * (lag / total) if total else 0.9 / k for name, lag in lags.items()}
    check(shares, {name: 0.1 / k + one for name, one in each.items()})
    assert min(shares.values()) >= Fraction(1, 10 * k) - Fraction(1, DENOMINATOR)
    rising = [shares[name] for name in sorted(sizes, key=lambda name: lags[name])]
    assert all(one - other <= Fraction(1, DENOMINATOR) for one, other in pairwise(rising))
    assert dynamic(dict.fromkeys(sizes, 1), lags=lags) == shares


@pytest.mark.parametrize(
    ("score", "lag"), [(0.0, 1.0), (0.3, 0.25), (0.4, 0.0), (0.9, 0.0), (-0.2, 1.0), (math.nan, 1)]
)
def test_a_lag_is_measured_by_the_target(score: float, lag: float) -> None:
    assert lag_of(score, 0.4) == pytest.approx(lag)


def test_rounded_shares_go_to_the_largest_remainders() -> None:
    assert [share * DENOMINATOR for share in proportional({"a": 10**10, "b": 2}).values()] == [
        10**9, 0,
    ]  # fmt: skip
    sizes = {"a": 2 * 10**9, "b": 10**9, "c": 10**9 + 1}
    assert [share * DENOMINATOR for share in proportional(sizes).values()] == [5e8, 25e7, 25e7]


@pytest.mark.parametrize("options", [{"temperature": 1.0}, {"progress": 0.0}])
def test_both_curves_begin_at_the_sizes(options: dict[str, Any]) -> None:
    sizes = {"a": 8000, "b": 1500, "c": 500}
    curve = tempered if "temperature" in options else annealed
    assert curve(sizes, **options) == proportional(sizes)


def test_extreme_temperatures_are_no_overflow() -> None:
    sizes = {"large": 10**8, "small": 1}
    assert tempered(sizes, temperature=1e-3) == {"large": 1, "small": 0}
    assert tempered(sizes, temperature=1e300) == equal(sizes)
