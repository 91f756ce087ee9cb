"""A text, the words in it, and which sub-word belongs to which word, all by character offsets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WORD_PATTERN = r"[@#]?[^\W_]+(?:['’.\-][^\W_]+)*|\S"
"""A run of letters and digits with inner apostrophes, hyphens or periods and perhaps a leading
``@`` or ``#``, or any other single character that is not a space."""


@dataclass(frozen=True)
class Words:
    """One string and where its words stand in it.

    Attributes:
        text: The string that the encoder reads.
        starts: First character of each word, (num_words,).
        ends: One past the last character of each word, (num_words,).
    """

    text: str
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def slice(self, first: int, last: int) -> str:
        """The text from word ``first`` up to, but not with, word ``last``."""
        return self.text[self.starts[first] : self.ends[last - 1]]

    def strings(self) -> list[str]:
        """The words themselves."""
        return [self.text[a:b] for a, b in zip(self.starts, self.ends, strict=True)]

    def covering(self, start: int, end: int) -> tuple[int, int]:
        """The words (first, one past the last) that share a character with ``[start, end)``."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left"))
        return first, max(first, last)


@dataclass(frozen=True)
class Row:
    """What one row of a dataset gives the encoder: a text, perhaps paired with a second one.

    The words of the pair are numbered on from those of the text.
    """

    words: Words
    pair: Words | None = None

    def __len__(self) -> int:
        return len(self.words) + (len(self.pair) if self.pair else 0)


def split_words(text: str, pattern: str = WORD_PATTERN) -> Words:
    """The words of raw text, found by ``pattern``."""
    spans = [match.span() for match in re.finditer(pattern, text)]
    offsets = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return Words(text, offsets[:, 0], offsets[:, 1])


def join_words(tokens: Sequence[str], join: str = " ") -> Words:
    """Given words, joined into one string by ``join``."""
    lengths = np.array([len(token) for token in tokens], dtype=np.int64)
    ends = np.cumsum(lengths) + len(join) * np.arange(len(lengths))
    return Words(join.join(tokens), ends - lengths, ends)


def token_words(offsets: np.ndarray, segments: np.ndarray, row: Row) -> np.ndarray:
    """The word that each sub-word belongs to: the one its first visible character stands in.

    Args:
        offsets: Characters of each sub-word in its string, end exclusive, (seq_len, 2).
        segments: 0 where the sub-word comes from the text, 1 from the pair, -1 for special
            tokens, (seq_len,).
        row: The strings that were encoded.

    Returns:
        Word numbers (seq_len,), -1 for sub-words of no word.
    """
    found = np.full(len(offsets), -1, dtype=np.int32)
    number = 0
    for segment, words in enumerate((row.words, row.pair)):
        if words is None or not len(words):
            continue
        here = np.flatnonzero(segments == segment)
        start = _skip_spaces(words.text, offsets[here])
        # Words without a character would hide the word that starts where they stand.
        real = np.flatnonzero(words.ends > words.starts)
        nearest = np.searchsorted(words.starts[real], start, side="right") - 1
        inside = (nearest >= 0) & (offsets[here, 1] > start)
        word = real[np.maximum(nearest, 0)] if len(real) else nearest
        inside &= start < words.ends[word] if len(real) else False
        found[here[inside]] = word[inside] + number
        number += len(words)
    return found


def first_subwords(words: np.ndarray) -> np.ndarray:
    """True where a sub-word is the first of its word, (seq_len,)."""
    first = words >= 0
    first[1:] &= words[1:] != words[:-1]
    return first


def _skip_spaces(text: str, offsets: np.ndarray) -> np.ndarray:
    """Starts moved past white space, which some tokenizers count as part of the sub-word."""
    starts = offsets[:, 0].copy()
    for i, (start, end) in enumerate(offsets):
        while start < end and text[start].isspace():
            start += 1
        starts[i] = start
    return starts


def overlap(spans: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Indices of two spans ``(start, end)`` that share a place, or None."""
    order = sorted(range(len(spans)), key=lambda i: spans[i])
    for a, b in pairwise(order):
        if spans[b][0] < spans[a][1]:
            return a, b
    return None
