"""What the encoder reads of dataset rows: encoder rows, one or several to a text.

A dataset row is one text, or several in views that read it so; a text is one encoder row, or
several overlapping windows where it is long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.views import NOT_ASKED

NO_WORD = -1
"""Stands for the word of a special token or of white space."""
ELSEWHERE = -2
"""Stands for a word that another window of the text has with more context."""
ORIGINALS = "originals"
"""Column of the sub-words as they stood there before some were replaced."""
SIZES, _WINDOWS = "sizes", "windows"
"""Arrow columns beside those of the sub-words."""


@dataclass(frozen=True)
class EncoderRows:
    """The encoder rows of dataset rows, in their order.

    Attributes:
        columns: ``input_ids``, ``words`` and, where the encoder has them, ``token_type_ids`` of
            each encoder row; where some sub-words were replaced, the ``originals`` of all.
        windows: Of each dataset row, the number of encoder rows of each of its texts.
    """

    columns: Mapping[str, Ragged]
    windows: Ragged

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> np.ndarray:
        """Sub-words of each encoder row, (encoder rows,)."""
        return self.columns["input_ids"].lengths

    @cached_property
    def counts(self) -> np.ndarray:
        """Encoder rows of each dataset row, (n,)."""
        return _sums(self.windows.values, self.windows.lengths)

    @cached_property
    def longest(self) -> np.ndarray:
        """Sub-words of the longest encoder row of each dataset row, (n,)."""
        if (self.counts == 1).all():
            return self.lengths
        starts = np.cumsum(self.counts) - self.counts
        return np.asarray(np.maximum.reduceat(self.lengths, starts))

    def take(self, rows: np.ndarray) -> "EncoderRows":
        """Those of these dataset rows."""
        ours = Ragged(np.arange(len(self.lengths)), self.counts).take(rows).values
        columns = {name: column.take(ours) for name, column in self.columns.items()}
        return EncoderRows(columns, self.windows.take(rows))

    @classmethod
    def concatenate(cls, parts: Sequence["EncoderRows"]) -> "EncoderRows":
        """Those of all parts, one part after the other."""
        columns = {
            name: Ragged.concatenate([part.columns[name] for part in parts])
            for name in parts[0].columns
        }
        return cls(columns, Ragged.concatenate([part.windows for part in parts]))

    def to_arrow(self, prefix: str) -> dict[str, pa.Array]:
        """Arrow columns with one value for each dataset row, named with a prefix."""
        tokens = _sums(self.lengths, self.counts)
        flat = {name: Ragged(column.values, tokens) for name, column in self.columns.items()}
        flat[SIZES] = Ragged(self.lengths, self.counts)
        flat[_WINDOWS] = self.windows
        return {f"{prefix}{name}": ragged.to_arrow() for name, ragged in flat.items()}

    @classmethod
    def from_arrow(cls, table: pa.Table, prefix: str) -> "EncoderRows":
        """What `to_arrow` made of them."""
        columns = {
            name.removeprefix(prefix): table.column(name).combine_chunks()
            for name in table.column_names
            if name.startswith(prefix)
        }
        flat = {
            name: Ragged.from_arrow(column)
            for name, column in columns.items()
            if pa.types.is_list(column.type)
        }
        sizes, windows = flat.pop(SIZES).values, flat.pop(_WINDOWS)
        return cls({name: Ragged(one.values, sizes) for name, one in flat.items()}, windows)

    @property
    def sources(self) -> np.ndarray:
        """The text that each encoder row is a window of, rising, (encoder rows,)."""
        return np.repeat(np.arange(len(self.windows.values)), self.windows.values)

    @property
    def windowed(self) -> bool:
        """Whether any text has more than one window."""
        return len(self.lengths) > len(self.windows.values)

    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """The sub-words of each text as one sequence, where they stand in all encoder rows.

        A text's first window gives all but the words that another window has, a later one its own
        words alone; all stand in the order of the words, special tokens at the end behind them.

        Returns:
            Places among the sub-words of all encoder rows laid end to end, text after text, and how
            many each text has, (texts,).
        """
        words, sources = self.columns["words"], self.sources
        first = np.ones(len(sources), dtype=bool)
        first[1:] = sources[1:] != sources[:-1]
        row = np.repeat(np.arange(len(sources)), words.lengths)
        own = (words.values >= 0) | (words.values == NOT_ASKED)
        kept = np.flatnonzero(own | (first[row] & (words.values == NO_WORD)))
        text, word = sources[row[kept]], words.values[kept].astype(np.int64)
        last = word.max(initial=0) + 2
        place = text * (last + 1) + word + 1
        place = np.where(word >= 0, place, np.maximum.accumulate(place))  # behind the word before
        at = np.append(np.where(words.values == NO_WORD, len(row), np.arange(len(row))), len(row))
        next_word = np.minimum.accumulate(at[::-1])[::-1]
        ends = np.cumsum(words.lengths)
        worded = next_word[ends - words.lengths] < ends  # (encoder rows,)
        behind = worded[row[kept]] & (next_word[kept] >= ends[row[kept]])
        place = np.where(behind, text * (last + 1) + last, place)
        numbers = np.bincount(text, minlength=len(self.windows.values))
        return kept[np.argsort(place, kind="stable")], numbers

    def token_words(self) -> Ragged:
        """The word of each sub-word of each dataset row, (n, …); all its texts end to end."""
        return self.lined_up("words")

    def lined_up(self, column: str) -> Ragged:
        """A column's number of each sub-word of each dataset row, (n, …), texts end to end."""
        values = self.columns[column].values
        if not self.windowed:
            return Ragged(values, _sums(self.lengths, self.counts))
        places, numbers = self.joined()
        return Ragged(values[places], _sums(numbers, self.windows.lengths))


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The sums of consecutive stretches of these lengths, (n,)."""
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(lengths)
    return np.asarray(total[ends] - total[ends - lengths])
