"""How large a share of the draws each dataset has.

In the formulas n is the rows of a dataset and p its share; shares sum to 1. They are exact
fractions, so that a plan of any length adds up to the last row: as the formula gives them where
their common denominator is at most a billion, else rounded to billionths.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Literal, NamedTuple

Sizes = Mapping[str, int]
"""Dataset name -> its training rows, in the recipe's order."""
Shares = dict[str, Fraction]
"""Dataset name -> its share of all draws, in the recipe's order."""

DENOMINATOR = 10**9  # times the largest batch it is far from the end of int64
_LAST_EXPONENT = 0.2
_EQUALLY = Fraction(1, 10)  # of all draws, so that no dataset starves while others lag


def proportional(sizes: Sizes) -> Shares:
    """Every dataset in proportion to its rows: p = n / Σn."""
    return _shares({name: Fraction(size) for name, size in sizes.items()})


def equal(sizes: Sizes) -> Shares:
    """Every one of the k datasets as much as any other: p = 1 / k."""
    return _shares(dict.fromkeys(sizes, Fraction(1)))


def weighted(sizes: Sizes, *, weights: Mapping[str, float]) -> Shares:
    """In proportion to given weights: p = w / Σw."""
    return _shares({name: _as_written(weights[name]) for name in sizes})


def tempered(sizes: Sizes, *, temperature: float) -> Shares:
    """Between sizes (T = 1) and equal shares (T = ∞): p ∝ n^(1/T).

    Arivazhagan et al. (2019, arXiv:1907.05019).
    """
    return _rounded(_powers(sizes, 1 / temperature))


def capped(sizes: Sizes, *, cap: int) -> Shares:
    """In proportion to rows, of which none counts for more than K: p ∝ min(n, K).

    Raffel et al. (2020, arXiv:1910.10683), examples-proportional mixing.
    """
    return _shares({name: Fraction(min(size, cap)) for name, size in sizes.items()})


def annealed(sizes: Sizes, *, progress: float) -> Shares:
    """From sizes towards equal shares: p ∝ n^α, α = 1 - 0.8 (e - 1) / (E - 1) in pass e of E.

    Stickland & Murray (2019, arXiv:1902.02671).

    Args:
        sizes: Rows of the datasets.
        progress: (e - 1) / (E - 1), from 0 to 1.
    """
    return _rounded(_powers(sizes, 1 - (1 - _LAST_EXPONENT) * progress))


def around(sizes: Sizes, *, main: str, ratio: float) -> Shares:
    """For each row of a main dataset r of the others, which share them by size.

    p = 1 / (1 + r) for the main one, r / (1 + r) · n / Σn for the others: the mixture ratio of Xu
    et al. (2019, arXiv:1809.06963), which MT-DNN has too (Liu et al., 2019, arXiv:1901.11504).
    """
    others = sum(size for name, size in sizes.items() if name != main)
    each = _as_written(ratio)
    claims = {name: each * size / others for name, size in sizes.items() if name != main}
    return _shares({name: claims.get(name, Fraction(1)) for name in sizes})


def dynamic(sizes: Sizes, *, lags: Mapping[str, float]) -> Shares:
    """Towards what lags behind: p = 0.1 / k + 0.9 · g / Σg, of k datasets; p = 1 / k where Σg = 0.

    Drawing in proportion to the gap g between a score and that of training alone is from
    Gottumukkala et al. (2020, arXiv:2006.15487), measuring it by that score from Sharma et al.
    (2017, arXiv:1702.06053). The tenth that all share is ours.

    Args:
        sizes: Rows of the datasets, which do not count here.
        lags: How far each dataset's tasks are behind, from 0 to 1, as `lag_of` tells.
    """
    lagging = {name: Fraction(lags[name]) for name in sizes}
    total, even = sum(lagging.values()), Fraction(1, len(sizes))
    if not total:
        return equal(sizes)
    return _rounded(
        {name: _EQUALLY * even + (1 - _EQUALLY) * lag / total for name, lag in lagging.items()}
    )


def lag_of(score: float, target: float) -> float:
    """How far a score is below a positive target: (target - score) / target, within 0 and 1.

    A score that is no number lags as one of 0 does.

    >>> lag_of(0.6, 0.8), lag_of(0.9, 0.8), lag_of(math.nan, 0.8)
    (0.25, 0.0, 1.0)
    """
    return 1.0 if math.isnan(score) else min(max((target - score) / target, 0.0), 1.0)


class Strategy(NamedTuple):
    """How the datasets take turns.

    Attributes:
        shares: From sizes, and as named arguments the options that a recipe gives it.
        follows: What else the shares depend on, the name of one more argument: the ``progress``
            of the training, or the ``lags`` of the datasets as they are learned in it.
        shuffles: Whether of datasets that are owed alike a random one is drawn from, not the first
            in the recipe.
    """

    shares: Callable[..., Shares]
    follows: Literal["progress", "lags"] | None = None
    shuffles: bool = False


STRATEGIES: dict[str, Strategy] = {
    "proportional": Strategy(proportional),
    "round_robin": Strategy(equal),
    "uniform": Strategy(equal, shuffles=True),
    "weights": Strategy(weighted),
    "temperature": Strategy(tempered),
    "capped": Strategy(capped),
    "annealed": Strategy(annealed, follows="progress"),
    "main": Strategy(around),
    "dynamic": Strategy(dynamic, follows="lags"),
}


def _shares(claims: Mapping[str, Fraction]) -> Shares:
    total = sum(claims.values())
    shares = {name: claim / total for name, claim in claims.items()}
    exact = math.lcm(*(share.denominator for share in shares.values())) <= DENOMINATOR
    return shares if exact else _rounded(shares)


def _rounded(claims: Mapping[str, Fraction]) -> Shares:
    """Shares in whole billionths, by largest remainder."""
    total = sum(claims.values())
    due = {name: claim / total * DENOMINATOR for name, claim in claims.items()}
    whole = {name: int(one) for name, one in due.items()}
    by_remainder = sorted(due, key=lambda name: whole[name] - due[name])
    for name in by_remainder[: DENOMINATOR - sum(whole.values())]:
        whole[name] += 1
    return {name: Fraction(number, DENOMINATOR) for name, number in whole.items()}


def _powers(sizes: Sizes, exponent: float) -> dict[str, Fraction]:
    """Each size to the power of the exponent, measured by the largest, so that none overflows."""
    largest = max(sizes.values())
    return {name: Fraction((size / largest) ** exponent) for name, size in sizes.items()}


def _as_written(number: float) -> Fraction:
    """A number of a recipe as its digits say, not as the nearest binary one."""
    return Fraction(str(number))
