"""The seeded plan of which rows of which datasets make up step n."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

WINDOW_STEPS = 50  # grouped by length together: more saves little padding, fewer repeat less alike


def proportional(sizes: Sequence[int]) -> list[Fraction]:
    """Every dataset in proportion to its rows."""
    return [Fraction(size, sum(sizes)) for size in sizes]


def round_robin(sizes: Sequence[int]) -> list[Fraction]:
    """Every dataset as much as any other."""
    return [Fraction(1, len(sizes))] * len(sizes)


# From the datasets' rows, in the recipe's order, to their shares of all draws; shares sum to 1.
STRATEGIES: dict[str, Callable[[Sequence[int]], list[Fraction]]] = {
    "proportional": proportional,
    "round_robin": round_robin,
}


@dataclass(frozen=True, eq=False)
class StepPlan:
    """The rows of one optimizer step."""

    step: int  # from 0
    rows: dict[str, Ints]  # dataset -> rows, pass by pass; only datasets drawn from
    restarts: dict[str, int]  # dataset -> the pass (1 = the second) that it starts in this step

    @property
    def counts(self) -> dict[str, int]:
        """Rows of every dataset in the step."""
        return {name: len(rows) for name, rows in self.rows.items()}


@dataclass(frozen=True)
class _Window:
    """A stretch of steps whose rows are grouped by length together."""

    number: int
    start: int
    stop: int  # exclusive


@dataclass(frozen=True, eq=False)
class _Standing:
    """Where the datasets stand before a window's first step, in the recipe's order."""

    window: _Window
    drawn: Ints  # rows, (datasets,)
    carry: Ints  # what each is owed, (datasets,), in units / the shares' common denominator


class Mixture:
    """Plans every step of a training as a pure function of seed, step and state.

    With ``mix="batch"`` a step holds rows of all datasets: the whole part of each share, the
    remaining rows to the largest remainders, which are carried over. With ``mix="step"`` it holds
    rows of the one dataset that is owed most. Ties go to the first in the recipe. At every prefix
    the draws stray from ``steps * batch_size * share`` by less than one row (with ``"step"``, one
    step) for up to three datasets; more of them may queue for the same row, and 1.3 was seen.

    A dataset is an endless stream of passes, each a fresh permutation of its rows. Windows of some
    50 steps, which divide a pass over all data evenly, are grouped by length: each step draws from
    the same length quantile of every dataset, the steps stand in random order, and no two passes
    group alike. How long the training is changes no plan.

    Args:
        lengths: Dataset name -> tokens of each of its training rows, in the recipe's order.
        batch_size: Rows of a step.
        strategy: A name in ``STRATEGIES``.
        mix: ``"batch"`` or ``"step"``.
        seed: Not negative.
        state: What ``state`` returned for the step to go on from; earlier steps are then replayed
            from the beginning.

    Attributes:
        shares: Dataset name -> its share of all draws.
        steps_per_pass: Steps in which as many rows are drawn as all datasets hold together.

    Raises:
        ValueError: If there is no dataset, a dataset has no rows, or ``state`` belongs to other
            data or settings.

    >>> tokens = {"sst2": np.array([9, 4, 7]), "wnut17": np.array([5])}
    >>> Mixture(tokens, batch_size=4, strategy="proportional", mix="batch", seed=13).plan(0).counts
    {'sst2': 3, 'wnut17': 1}
    """

    def __init__(
        self,
        lengths: Mapping[str, Ints],
        *,
        batch_size: int,
        strategy: str,
        mix: Literal["batch", "step"],
        seed: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        sizes = {name: len(tokens) for name, tokens in lengths.items()}
        if not sizes or not all(sizes.values()):
            raise ValueError(
                f"a mixture needs datasets with at least one row each, but got {sizes}"
            )
        self.shares = dict(zip(sizes, STRATEGIES[strategy](list(sizes.values())), strict=True))
        self.steps_per_pass = math.ceil(sum(sizes.values()) / batch_size)
        self._lengths = dict(lengths)
        self._seed = seed
        # What is apportioned: a step's rows one by one, or the step as a whole.
        self._units, self._unit_rows = (batch_size, 1) if mix == "batch" else (1, batch_size)
        self._denominator = math.lcm(*(share.denominator for share in self.shares.values()))
        due = [int(share * self._denominator) * self._units for share in self.shares.values()]
        self._whole, self._remainder = np.divmod(np.array(due), self._denominator)
        nothing = np.zeros(len(sizes), np.int64)
        self._beginning = _Standing(self._window_of(0), nothing, nothing)
        self._restored = self._restore(state) if state is not None else self._beginning
        self._standing = self._restored
        self._passes: dict[str, tuple[int, Ints]] = {}  # the pass last drawn from, with its number
        self._plans: list[StepPlan] = []  # of the window last planned

    def plan(self, step: int) -> StepPlan:
        """The rows of a step, counted from 0."""
        window = self._window_of(step)
        if not self._plans or self._plans[0].step != window.start:
            self._plans = self._plan_window(self._standing_at(window))
        return self._plans[step - window.start]

    def state(self, step: int) -> dict[str, Any]:
        """JSON values from which another mixture of the same data and settings plans this step."""
        standing = self._standing_at(self._window_of(step))
        owed = [Fraction(int(carry), self._denominator) for carry in standing.carry]
        return {
            "step": standing.window.start,
            "drawn": dict(zip(self._lengths, standing.drawn.tolist(), strict=True)),
            "carry": dict(zip(self._lengths, map(str, owed), strict=True)),
        }

    def planned_draws(self, total_steps: int) -> dict[str, int]:
        """Rows of every dataset in the first steps together, some microseconds a step."""
        drawn, carry = self._beginning.drawn, self._beginning.carry
        for start in range(0, total_steps, 1000):
            counts, carry = self._apportion(carry, min(1000, total_steps - start))
            drawn = drawn + counts.sum(axis=0)
        return dict(zip(self._lengths, drawn.tolist(), strict=True))

    def _restore(self, state: Mapping[str, Any]) -> _Standing:
        window, drawn = self._window_of(state["step"]), state["drawn"]
        owed = {
            name: window.start * self._units * share - Fraction(drawn.get(name, 0), self._unit_rows)
            for name, share in self.shares.items()
        }
        expected = {name: str(carry) for name, carry in owed.items()}
        if (
            window.start != state["step"]
            or drawn.keys() != owed.keys()
            or state["carry"] != expected
        ):
            raise ValueError(
                "the mixture's state does not belong to these datasets, batch_size, strategy and "
                f"mix: expected step {window.start} and carry {expected}, found {dict(state)}"
            )
        carry = [int(owed[name] * self._denominator) for name in self._lengths]
        return _Standing(window, np.array([drawn[name] for name in self._lengths]), np.array(carry))

    def _window_of(self, step: int) -> _Window:
        parts = max(1, round(self.steps_per_pass / WINDOW_STEPS))
        number, inside = divmod(step, self.steps_per_pass)
        part = ((inside + 1) * parts - 1) // self.steps_per_pass
        start, stop = (
            number * self.steps_per_pass + edge * self.steps_per_pass // parts
            for edge in (part, part + 1)
        )
        return _Window(number * parts + part, start, stop)

    def _standing_at(self, window: _Window) -> _Standing:
        """Walks to a window from the nearest known one before it."""
        known = (self._standing, self._restored, self._beginning)
        standing = next(point for point in known if point.window.start <= window.start)
        while standing.window != window:
            steps = standing.window.stop - standing.window.start
            counts, carry = self._apportion(standing.carry, steps)
            drawn = standing.drawn + counts.sum(axis=0)
            standing = _Standing(self._window_of(standing.window.stop), drawn, carry)
        self._standing = standing
        return standing

    def _apportion(self, carry: Ints, steps: int) -> tuple[Ints, Ints]:
        """Rows of each dataset in the next steps, (steps, datasets), and the carry after them."""
        rest = self._units - int(self._whole.sum())
        most_owed = np.empty((steps, rest), np.int64)
        ahead = -carry
        for step in range(steps):
            ahead -= self._remainder
            most_owed[step] = ahead.argsort(kind="stable")[:rest]
            ahead[most_owed[step]] += self._denominator
        counts = np.tile(self._whole, (steps, 1))
        counts[np.arange(steps)[:, None], most_owed] += 1
        return counts * self._unit_rows, -ahead

    def _plan_window(self, standing: _Standing) -> list[StepPlan]:
        window, steps = standing.window, standing.window.stop - standing.window.start
        counts, _ = self._apportion(standing.carry, steps)  # (steps, datasets)
        # A blank keeps this apart from every dataset's name.
        by_length = self._random("steps by length", window.number).permutation(steps)
        plans = [StepPlan(step, {}, {}) for step in range(window.start, window.stop)]
        for name, first, of_dataset in zip(self._lengths, standing.drawn, counts.T, strict=True):
            if not of_dataset.any():
                continue
            size = len(self._lengths[name])
            ends = first + np.cumsum(of_dataset)  # (steps,)
            rows = np.split(self._draw(name, int(first), of_dataset, by_length), ends[:-1] - first)
            before, last = (ends - of_dataset - 1) // size, (ends - 1) // size  # pass numbers
            for at in np.flatnonzero(of_dataset):
                plans[at].rows[name] = rows[at]
                if last[at] > max(before[at], 0):
                    plans[at].restarts[name] = int(last[at])
        return plans

    def _draw(self, name: str, first: int, counts: Ints, by_length: Ints) -> Ints:
        """The next rows of a dataset, after its ``first`` ones, laid out step by step.

        What a window holds of each of its passes is dealt by itself, to the steps that draw from
        that pass: so between two seams come all its rows, each once. Half a pass at a time, for a
        whole one sorted by length would be grouped as every other.
        """
        lengths = self._lengths[name]
        size, ends = len(lengths), first + np.cumsum(counts)
        dealt = []
        for number in range(first // size, -(-int(ends[-1]) // size)):
            begin, middle, end = (number * size + part for part in (0, size // 2, size))
            for low, high in ((begin, middle), (middle, end)):
                inside = np.clip(ends, low, high) - np.clip(ends - counts, low, high)
                if not inside.any():
                    continue
                start = max(first, low) - begin
                rows = self._pass(name, number)[start : start + inside.sum()]
                rows = rows[np.argsort(lengths[rows], kind="stable")]  # equal ones stay shuffled
                dealt.append(_deal(rows, inside, by_length))
        return np.concatenate(dealt)

    def _pass(self, name: str, number: int) -> Ints:
        if self._passes.get(name, (None,))[0] != number:
            order = self._random(name, number).permutation(len(self._lengths[name]))
            self._passes[name] = (number, order)
        return self._passes[name][1]

    def _random(self, name: str, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, crc32(name.encode()), number])


def _deal(rows: Ints, counts: Ints, order: Ints) -> Ints:
    """Deals rows to steps in the given order of the steps, and lays them out step by step."""
    sources = np.empty_like(counts)
    sources[order] = np.cumsum(counts[order]) - counts[order]
    targets = np.cumsum(counts) - counts
    dealt: Ints = rows[np.repeat(sources - targets, counts) + np.arange(len(rows))]
    return dealt
