"""How many rows of each dataset a step holds, by largest remainder with carry-over."""

import math
from collections.abc import Mapping
from fractions import Fraction
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mtl_nlp.data.strategies import STRATEGIES
from mtl_nlp.data.timeline import timeline
from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_sampling import SamplingSpec

Ints = NDArray[np.int64]

_TURNS = 64  # steps whose random turns are drawn at once


class Apportionment:
    """What each dataset is due and what it gets, step by step.

    With ``mix: batch`` a step holds rows of all datasets: the whole part of each share, the
    remaining rows to the largest remainders, which are carried over. With ``mix: step`` it holds
    rows of the one dataset that is owed most. Of datasets that are owed alike the first in the
    recipe gets the row, or where the strategy shuffles a random one. At every prefix the rows stray
    from what is due by less than one row (with ``step``, one step) for up to three datasets; more
    of them may queue for the same row, and 1.3 was seen.

    Args:
        sizes: Dataset name -> its training rows, in the recipe's order.
        batch_size: Rows of a step.
        sampling: The strategy with its options, and the mix.
        seed: Not negative.
        steps: Of the whole training, on which shares that change depend.

    Attributes:
        steps_per_pass: Steps in which as many rows are drawn as all datasets hold together.
        timeline: The shares at each step.

    Raises:
        RecipeError: If a dataset has so small a share that nothing would be drawn from it.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        batch_size: int,
        sampling: SamplingSpec,
        seed: int,
        steps: int,
    ) -> None:
        self.steps_per_pass = math.ceil(sum(sizes.values()) / batch_size)
        self.timeline = timeline(sizes, sampling, steps=steps, steps_per_pass=self.steps_per_pass)
        self._datasets, self._seed = len(sizes), seed
        self._shuffles = STRATEGIES[sampling.strategy].shuffles
        # What is apportioned: a step's rows one by one, or the step as a whole.
        mixed = sampling.mix == "batch"
        self._units, self._unit_rows = (batch_size, 1) if mixed else (1, batch_size)
        for name, share in (one for shares in self.timeline.extremes for one in shares.items()):
            if not share:
                raise RecipeError(
                    f"sampling.strategy: {sampling.strategy} gives dataset {name!r} of"
                    f" {sizes[name]:,} rows less than a billionth of the draws; change its options"
                    " or take the dataset out"
                )

    def owed(self, steps: int, drawn: Mapping[str, int]) -> dict[str, Fraction]:
        """What each dataset is owed after some steps, in rows (in steps of one dataset)."""
        due = self.timeline.mean(max(steps, 1))
        return {
            name: steps * self._units * share - Fraction(drawn.get(name, 0), self._unit_rows)
            for name, share in due.items()
        }

    def rows(self, carry: Ints, start: int, stop: int) -> tuple[Ints, Ints]:
        """Rows of each dataset in the steps from ``start``, and the carry after them.

        Args:
            carry: What each dataset is owed before, (datasets,), in units / the timeline's
                denominator.
            start: The first step, from 0.
            stop: The step behind the last; before the next one at which shares change.

        Returns:
            Rows, (steps, datasets), and the carry, (datasets,).
        """
        denominator = self.timeline.denominator
        shares = self.timeline.at(start).values()
        due = [int(share * denominator) * self._units for share in shares]
        whole, remainder = np.divmod(np.array(due), denominator)
        rest, steps = self._units - int(whole.sum()), stop - start
        turns = self._turns(start, stop)
        most_owed = np.empty((steps, rest), np.int64)
        ahead = -carry
        for step in range(steps):
            ahead -= remainder
            most_owed[step] = np.lexsort((turns[step], ahead))[:rest]
            ahead[most_owed[step]] += denominator
        counts = np.tile(whole, (steps, 1))
        counts[np.arange(steps)[:, None], most_owed] += 1
        return counts * self._unit_rows, -ahead

    def stretch_end(self, start: int, most: int) -> int:
        """The step behind those from ``start`` on, at most so many, that have the same shares."""
        change = self.timeline.until(start)
        return start + most if change is None else min(start + most, change)

    def _turns(self, start: int, stop: int) -> NDArray[np.float64]:
        """In which order datasets that are owed alike are served, (steps, datasets)."""
        if not self._shuffles:
            return np.zeros((stop - start, self._datasets))  # lexsort is stable
        first, last = start // _TURNS, (stop - 1) // _TURNS
        # A blank keeps this apart from every dataset's name.
        seeds = ([self._seed, crc32(b"turns of datasets"), n] for n in range(first, last + 1))
        shape = (_TURNS, self._datasets)
        turns = np.concatenate([np.random.default_rng(seed).random(shape) for seed in seeds])
        return turns[start - first * _TURNS : stop - first * _TURNS]
