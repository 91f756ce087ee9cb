"""The seeded plan of which rows of which datasets make up step n."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np

from mtl_nlp.data.apportion import Apportionment, Ints
from mtl_nlp.data.passes import Numbers, Passes
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.data.strategies import Shares
from mtl_nlp.data.timeline import ByLag
from mtl_nlp.recipe_sampling import SamplingSpec

WINDOW_STEPS = 50  # grouped by length together: more saves little padding, fewer repeat less alike
NO_BUFFERS: Mapping[str, int] = MappingProxyType({})


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

    How many rows a step holds of which dataset, `Apportionment` tells.

    A dataset is drawn from in passes without end, each a fresh order of its rows (`Passes`).
    Windows of some 50 steps, which divide a pass over all data evenly, are grouped by length: each
    step draws from the same length quantile of every dataset, the steps stand in random order, and
    no two passes group alike. How long the training is changes no plan, but for a strategy that
    follows its progress; with one that follows lags, plans are also a function of those that were
    learned.

    Args:
        lengths: Dataset name -> tokens of each of its training rows, in the recipe's order.
        batch_size: Rows of a step.
        sampling: The strategy with its options, and the mix.
        seed: Not negative.
        steps: Of the whole training; later ones can be planned too.
        state: What ``state`` returned for the step to go on from; earlier steps are then replayed
            from the beginning.
        buffers: Rows that are shuffled together of each dataset that is read as a stream.

    Attributes:
        steps_per_pass: Steps in which as many rows are drawn as all datasets hold together.

    Raises:
        ValueError: If there is no dataset, a dataset has no rows, or ``state`` belongs to other
            data or settings.
        RecipeError: If a dataset has so small a share that nothing would be drawn from it.

    >>> tokens = {"sst2": np.array([9, 4, 7]), "wnut17": np.array([5])}
    >>> Mixture(tokens, batch_size=4, sampling=SamplingSpec(), seed=13, steps=1).plan(0).counts
    {'sst2': 3, 'wnut17': 1}
    """

    def __init__(
        self,
        lengths: Mapping[str, Numbers],
        *,
        batch_size: int,
        sampling: SamplingSpec,
        seed: int,
        steps: int,
        state: Mapping[str, Any] | None = None,
        buffers: Mapping[str, int] = NO_BUFFERS,
    ) -> None:
        sizes = {name: len(tokens) for name, tokens in lengths.items()}
        if not sizes or not all(sizes.values()):
            raise ValueError(
                f"a mixture needs datasets with at least one row each, but got {sizes}"
            )
        self._apportionment = Apportionment(
            sizes, batch_size=batch_size, sampling=sampling, seed=seed, steps=steps
        )
        self._steps = steps
        self.steps_per_pass = self._apportionment.steps_per_pass
        self._lengths = dict(lengths)
        self._seed = seed
        nothing = np.zeros(len(sizes), np.int64)
        self._beginning = _Standing(self._window_of(0), nothing, nothing)
        self._restored = self._restore(state) if state is not None else self._beginning
        self._standing = self._restored
        self._passes = {
            name: Passes(name, size, seed, buffers.get(name)) for name, size in sizes.items()
        }
        self._blocks: dict[str, tuple[int, int, Ints]] = {}  # last drawn from, with pass and number
        self._plans: list[StepPlan] = []  # of the window last planned

    def plan(self, step: int) -> StepPlan:
        """The rows of a step, counted from 0."""
        window = self._window_of(step)
        if not self._plans or self._plans[0].step != window.start:
            self._plans = self._plan_window(self._standing_at(window))
        return self._plans[step - window.start]

    @property
    def shares(self) -> Shares:
        """Each dataset's share of all draws, the mean over the training as far as it is known."""
        return self.planned_shares(self._steps)

    def planned_shares(self, steps: int) -> Shares:
        """Each dataset's share of the draws in the first steps, at least one."""
        return self._apportionment.timeline.mean(steps)

    def shares_at(self, step: int) -> Shares:
        """Each dataset's share of the draws in a step, as far as it is known."""
        return self._apportionment.timeline.at(step)

    def least_share(self, datasets: Collection[str]) -> Fraction:
        """The least that some datasets together may ever have of a step."""
        extremes = self._apportionment.timeline.extremes
        return min(sum((shares[name] for name in datasets), Fraction(0)) for shares in extremes)

    def learn(self, step: int, lags: Mapping[str, float]) -> int:
        """Let shares follow how far the datasets lag behind.

        They move at the first window that begins at the step or later, so that rows of a window
        stay grouped, with the evaluations of whole passes at once.

        Args:
            step: The next step.
            lags: Of every dataset, from 0 to 1.

        Returns:
            The first step that they hold in.

        Raises:
            ValueError: If the strategy does not follow lags.
        """
        timeline = self._apportionment.timeline
        if not isinstance(timeline, ByLag):
            raise ValueError("a strategy that follows no lags cannot learn them")
        window = self._window_of(step)
        first = window.start if window.start == step else window.stop
        timeline.learn(first, lags)
        if self._plans and self._plans[0].step >= first:
            self._plans = []
        if self._standing.window.start > first:
            self._standing = self._restored
        return first

    def state(self, step: int) -> dict[str, Any]:
        """JSON values from which another mixture of the same data and settings plans this step."""
        standing = self._standing_at(self._window_of(step))
        timeline = self._apportionment.timeline
        owed = [Fraction(int(carry), timeline.denominator) for carry in standing.carry]
        learned = timeline.learned if isinstance(timeline, ByLag) else ()
        lags = [[first, dict(one)] for first, one in learned]
        return {
            "step": standing.window.start,
            "drawn": dict(zip(self._lengths, standing.drawn.tolist(), strict=True)),
            "carry": dict(zip(self._lengths, map(str, owed), strict=True)),
            **({"lags": lags} if lags else {}),
        }

    def planned_draws(self, total_steps: int) -> dict[str, int]:
        """Rows of every dataset in the first steps together, some microseconds a step."""
        drawn, carry, start = self._beginning.drawn, self._beginning.carry, 0
        while start < total_steps:
            stop = self._apportionment.stretch_end(start, min(1000, total_steps - start))
            counts, carry = self._apportionment.rows(carry, start, stop)
            drawn, start = drawn + counts.sum(axis=0), stop
        return dict(zip(self._lengths, drawn.tolist(), strict=True))

    def _restore(self, state: Mapping[str, Any]) -> _Standing:
        timeline = self._apportionment.timeline
        if isinstance(timeline, ByLag):
            for step, lags in state.get("lags", ()):
                timeline.learn(step, lags)
        window, drawn = self._window_of(state["step"]), state["drawn"]
        owed = self._apportionment.owed(window.start, drawn)
        expected = {name: str(carry) for name, carry in owed.items()}
        if (
            window.start != state["step"]
            or drawn.keys() != owed.keys()
            or state["carry"] != expected
        ):
            raise ValueError(
                "the mixture's state does not belong to these datasets, batch_size, sampling and "
                f"steps: expected step {window.start} and carry {expected}, found {dict(state)}"
            )
        carry = [int(owed[name] * timeline.denominator) for name in self._lengths]
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
            here = standing.window
            counts, carry = self._apportionment.rows(standing.carry, here.start, here.stop)
            drawn = standing.drawn + counts.sum(axis=0)
            standing = _Standing(self._window_of(here.stop), drawn, carry)
        self._standing = standing
        return standing

    def _plan_window(self, standing: _Standing) -> list[StepPlan]:
        window, steps = standing.window, standing.window.stop - standing.window.start
        counts, _ = self._apportionment.rows(standing.carry, window.start, window.stop)
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
        size, ends = len(self._lengths[name]), first + np.cumsum(counts)
        drawn, dealt = [], []
        for number in range(first // size, -(-int(ends[-1]) // size)):
            begin, middle, end = (number * size + part for part in (0, size // 2, size))
            for low, high in ((begin, middle), (middle, end)):
                inside = np.clip(ends, low, high) - np.clip(ends - counts, low, high)
                if not inside.any():
                    continue
                start = max(first, low) - begin
                drawn.append(self._of_pass(name, number, start, start + int(inside.sum())))
                dealt.append(inside)
        lengths = self._lengths[name][np.concatenate(drawn)]
        ranks = np.split(lengths, np.cumsum([len(rows) for rows in drawn])[:-1])
        return np.concatenate(
            [
                # Stable: rows of equal length stay shuffled.
                _deal(rows[np.argsort(tokens, kind="stable")], inside, by_length)
                for rows, tokens, inside in zip(drawn, ranks, dealt, strict=True)
            ]
        )

    def _of_pass(self, name: str, number: int, start: int, stop: int) -> Ints:
        """The rows of a pass between two places in it."""
        size = self._passes[name].block
        return np.concatenate(
            [
                self._block(name, number, block)[max(start - block * size, 0) : stop - block * size]
                for block in range(start // size, -(-stop // size))
            ]
        )

    def _block(self, name: str, number: int, block: int) -> Ints:
        if self._blocks.get(name, ())[:2] != (number, block):
            self._blocks[name] = (number, block, self._passes[name].shuffled(number, block))
        return self._blocks[name][2]

    def _random(self, name: str, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, crc32(name.encode()), number])


def _deal(rows: Ints, counts: Ints, order: Ints) -> Ints:
    """Deals rows to steps in the given order of the steps, and lays them out step by step."""
    sources = np.empty_like(counts)
    sources[order] = np.cumsum(counts[order]) - counts[order]
    targets = np.cumsum(counts) - counts
    dealt: Ints = rows[np.repeat(sources - targets, counts) + np.arange(len(rows))]
    return dealt
