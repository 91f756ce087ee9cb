"""Lists of different lengths kept as one flat array, as Arrow keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Ragged:
    """A list of number lists.

    Attributes:
        values: All numbers, one list after the other, (sum of lengths,).
        lengths: How many numbers each list has, (n,).
    """

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_arrow(cls, column: pa.Array) -> "Ragged":
        """The lists of an Arrow list column without nulls."""
        return cls(
            column.flatten().to_numpy(zero_copy_only=False),
            column.value_lengths().to_numpy(zero_copy_only=False),
        )

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int] | np.ndarray]) -> "Ragged":
        """The lists of Python or NumPy numbers."""
        lengths = np.array([len(row) for row in lists], dtype=np.int64)
        flat = [np.asarray(row, dtype=np.int64) for row in lists]
        return cls(np.concatenate(flat) if flat else np.empty(0, dtype=np.int64), lengths)

    def to_arrow(self) -> pa.Array:
        """The lists as an Arrow list column."""
        ends = np.cumsum(self.lengths, dtype=np.int32)
        return pa.ListArray.from_arrays(np.concatenate([np.zeros(1, np.int32), ends]), self.values)

    @classmethod
    def concatenate(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The lists of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.lengths for part in parts]),
        )

    def take(self, indices: np.ndarray) -> "Ragged":
        """The lists at these places."""
        lengths = self.lengths[indices]
        # Position in values = start of the list + place within the list.
        ends = np.cumsum(lengths)
        shift = np.repeat(self.starts[indices] - (ends - lengths), lengths)
        return Ragged(self.values[shift + np.arange(len(shift))], lengths)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each list begins in the values, (n,)."""
        starts: np.ndarray = np.cumsum(self.lengths) - self.lengths
        return starts

    def lists(self) -> list[np.ndarray]:
        """The lists as views of the values."""
        return np.split(self.values, np.cumsum(self.lengths)[:-1]) if len(self) else []

    def __len__(self) -> int:
        return len(self.lengths)

    def pad(self, width: int, fill: int) -> np.ndarray:
        """The lists as rows of a matrix, filled up on the right: (n, width)."""
        matrix = np.full((len(self), width), fill, dtype=np.int64)
        matrix[np.arange(width) < self.lengths[:, None]] = self.values
        return matrix
