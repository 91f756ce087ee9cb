"""In which order a pass takes the rows of a dataset: shuffled in blocks, so that few are held.

What is drawn is a row of a table, or the how manieth of all the rows that are read from a stream,
pass after pass.
"""

import math
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_ROWS = 2**20
"""Rows of a table that are shuffled together, by numbers of 8 MiB: all of most tables."""
_GOLDEN = (math.sqrt(5) - 1) / 2  # steps of this share of a circle spread evenly, however many


class Numbers(Protocol):
    """A number for each row, such as its length: an array, or what is read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Ints, /) -> Ints: ...


@dataclass(frozen=True)
class Passes:
    """The passes of one dataset over its rows.

    A table of up to ``MOST_ROWS`` is shuffled whole. A larger one is dealt to blocks of so many
    rows, each of which has rows of all parts of it, and each block is shuffled. A stream is read in
    its own order, and every buffer of it is shuffled.

    Attributes:
        name: Of the dataset.
        size: Its rows.
        seed: Of the mixture.
        buffer: Rows of a buffer, where it is a stream.
    """

    name: str
    size: int
    seed: int
    buffer: int | None = None

    @property
    def block(self) -> int:
        """Rows that are shuffled together."""
        return min(self.size, self.buffer or MOST_ROWS)

    def shuffled(self, number: int, block: int) -> Ints:
        """A block of a pass, in the order that it is drawn; both are counted from 0."""
        if self.buffer is None and self.size <= MOST_ROWS:
            return self._random(number).permutation(self.size)
        start = block * self.block
        places = np.arange(start, min(start + self.block, self.size))
        if self.buffer is not None:
            rows = number * self.size + places
        else:  # no two places have the same row, for stride and size have no common factor
            stride = round(_GOLDEN * self.size)
            while math.gcd(stride, self.size) > 1:
                stride += 1
            first = int(self._random(number).integers(self.size))
            rows = (first + stride * places) % self.size
        return self._random(number, block + 1).permutation(rows)

    def _random(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(self.name.encode()), *numbers])
