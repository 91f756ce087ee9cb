"""The shares of the datasets at each step of a training, whether they change or not."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction

from mtl_nlp.data.strategies import DENOMINATOR, STRATEGIES, Shares, Sizes
from mtl_nlp.recipe_sampling import SamplingSpec


class Timeline(ABC):
    """The shares at each step of a training, constant over stretches of steps.

    Attributes:
        denominator: In which all its shares can be counted.
        extremes: Shares between which, or mixtures of which, all shares lie.
    """

    denominator: int
    extremes: Sequence[Shares]

    @abstractmethod
    def at(self, step: int) -> Shares:
        """The shares at a step, counted from 0."""

    @abstractmethod
    def until(self, step: int) -> int | None:
        """The first later step that may have other shares; None where they hold ever after."""

    def mean(self, steps: int) -> Shares:
        """The mean over the first steps, at least one."""
        total = dict.fromkeys(self.at(0), Fraction(0))
        start = 0
        while start < steps:
            change = self.until(start)
            stop = steps if change is None else min(change, steps)
            for name, share in self.at(start).items():
                total[name] += (stop - start) * share
            start = stop
        return {name: share / steps for name, share in total.items()}


class Steady(Timeline):
    """The same shares ever after."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self.denominator = math.lcm(*(share.denominator for share in shares.values()))
        self.extremes = [shares]

    def at(self, step: int) -> Shares:
        """The shares."""
        return self._shares

    def until(self, step: int) -> int | None:
        """None."""
        return None


class ByPass(Timeline):
    """Shares that move with each pass over all data, up to the last pass of the training.

    Args:
        sizes: Dataset name -> its training rows, in the recipe's order.
        sampling: With a strategy that follows the progress of the training.
        steps: Of the whole training.
        steps_per_pass: Steps of a pass over all data.
    """

    denominator = DENOMINATOR

    def __init__(
        self, sizes: Sizes, sampling: SamplingSpec, *, steps: int, steps_per_pass: int
    ) -> None:
        self._sizes, self._sampling = dict(sizes), sampling
        self._steps_per_pass, self._last = steps_per_pass, (steps - 1) // steps_per_pass
        self._known: tuple[int, Shares] | None = None
        self.extremes = [self._in_pass(0), self._in_pass(self._last)]

    def at(self, step: int) -> Shares:
        """Those of the step's pass; those of the last one hold ever after."""
        return self._in_pass(min(step // self._steps_per_pass, self._last))

    def until(self, step: int) -> int | None:
        """The first step of the next pass."""
        number = step // self._steps_per_pass
        return None if number >= self._last else (number + 1) * self._steps_per_pass

    def _in_pass(self, number: int) -> Shares:
        if self._known is None or self._known[0] != number:
            shares = STRATEGIES[self._sampling.strategy].shares
            progress = number / max(self._last, 1)
            self._known = number, shares(self._sizes, progress=progress, **self._sampling.options)
        return self._known[1]


class ByLag(Timeline):
    """Shares that follow how far each dataset's tasks lag behind, as it is learned.

    Before anything is learned all datasets lag alike.

    Args:
        sizes: Dataset name -> its training rows, in the recipe's order.
        sampling: With a strategy that follows lags.

    Attributes:
        learned: The steps from which lags hold, rising, with the lag of each dataset.
    """

    denominator = DENOMINATOR

    def __init__(self, sizes: Sizes, sampling: SamplingSpec) -> None:
        self._sizes, self._sampling = dict(sizes), sampling
        self.learned: list[tuple[int, dict[str, float]]] = []
        self._shares = [self._under(dict.fromkeys(sizes, 1.0))]  # and after each of the learned
        self.extremes = [self._under(dict.fromkeys(sizes, 0.0) | {name: 1.0}) for name in sizes]

    def learn(self, step: int, lags: Mapping[str, float]) -> None:
        """Let lags hold from a step on, in place of those that were to hold from it.

        Raises:
            ValueError: If later ones are known already, or they are not those of the datasets.
        """
        if lags.keys() != self._sizes.keys() or (self.learned and step < self.learned[-1][0]):
            raise ValueError(
                f"expected lags of {list(self._sizes)} from step"
                f" {self.learned[-1][0] if self.learned else 0} or later, found {dict(lags)} from"
                f" {step}"
            )
        if self.learned and self.learned[-1][0] == step:
            del self.learned[-1], self._shares[-1]
        self.learned.append((step, dict(lags)))
        self._shares.append(self._under(lags))

    def at(self, step: int) -> Shares:
        """Those of the lags that hold at the step."""
        return self._shares[self._number(step)]

    def until(self, step: int) -> int | None:
        """The step from which the next lags hold."""
        number = self._number(step)
        return self.learned[number][0] if number < len(self.learned) else None

    def _number(self, step: int) -> int:
        """How many of the learned lags hold at a step or held before."""
        return bisect_right(self.learned, step, key=lambda one: one[0])

    def _under(self, lags: Mapping[str, float]) -> Shares:
        shares: Shares = STRATEGIES[self._sampling.strategy].shares(self._sizes, lags=lags)
        return shares


def timeline(sizes: Sizes, sampling: SamplingSpec, *, steps: int, steps_per_pass: int) -> Timeline:
    """The shares that a recipe's sampling gives the datasets over a training.

    Args:
        sizes: Dataset name -> its training rows, in the recipe's order.
        sampling: The strategy with its options.
        steps: Of the whole training.
        steps_per_pass: Steps of a pass over all data.
    """
    strategy = STRATEGIES[sampling.strategy]
    if strategy.follows == "progress":
        return ByPass(sizes, sampling, steps=steps, steps_per_pass=steps_per_pass)
    if strategy.follows == "lags":
        return ByLag(sizes, sampling)
    return Steady(strategy.shares(sizes, **sampling.options))
