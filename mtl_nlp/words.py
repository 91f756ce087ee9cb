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

    def widened(self, start: int, end: int) -> str:
        """What becomes of characters that begin or end inside a word, or nothing."""
        first, last = self.covering(start, end)
        whole, given = self.slice(first, last) if first < last else "", self.text[start:end]
        return "" if whole == given.strip() else f"{given!r} becomes {whole!r}"

    def covering(self, start: int, end: int) -> tuple[int, int]:
        """The words (first, one past the last) that share a character with ``[start, end)``."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left"))
        return first, max(first, last)


@dataclass(frozen=True)
class Row:
    """What one row of a dataset gives the encoder: a text, perhaps paired with a second one.

    The words of the pair are numbered on from those of the text.

    Attributes:
        words: The text.
        pair: The second text.
        choices: Texts that the row lets one choose from.
        spans: Start, end and label of the spans of words that a row to be predicted brings along;
            None where it brings none.
    """

    words: Words
    pair: Words | None = None
    choices: tuple[Words, ...] = ()
    spans: tuple[tuple[int, int, str], ...] | None = None

    def __len__(self) -> int:
        return len(self.words) + (len(self.pair) if self.pair else 0)


_NO_WORDS = Words("", np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # no white space lies beyond


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


def token_words(
    offsets: np.ndarray, segments: np.ndarray, lengths: np.ndarray, rows: Sequence[Row]
) -> np.ndarray:
    """The word that each sub-word belongs to: the one its first visible character stands in.

    Args:
        offsets: Characters of each sub-word in its string, end exclusive, row after row,
            (num_subwords, 2).
        segments: 0 where the sub-word comes from the text, 1 from the pair, -1 for special
            tokens, (num_subwords,).
        lengths: How many sub-words each row has, (rows,).
        rows: The strings that were encoded.

    Returns:
        Number of the word within its row, (num_subwords,); -1 for sub-words of no word.
    """
    found = np.full(len(offsets), -1, dtype=np.int32)
    row_of = np.repeat(np.arange(len(rows)), lengths)
    texts = [row.words for row in rows]
    pairs = [_NO_WORDS if row.pair is None else row.pair for row in rows]
    before_pair = np.array([len(words) for words in texts], dtype=np.int64)
    for segment, strings, before in ((0, texts, 0 * before_pair), (1, pairs, before_pair)):
        here = np.flatnonzero(segments == segment)
        if not len(here):
            continue
        # All strings are laid end to end, a space after each, so that one search does for them all.
        visible, first = _visible_characters([words.text for words in strings])
        base = first[row_of[here]]
        end = base + offsets[here, 1]
        start = np.minimum(visible[base + offsets[here, 0]], end)
        counts = np.array([len(words) for words in strings], dtype=np.int64)
        shift = np.repeat(first, counts)
        starts = np.concatenate([words.starts for words in strings]) + shift
        ends = np.concatenate([words.ends for words in strings]) + shift
        # Words without a character would hide the word that starts where they stand.
        real = np.flatnonzero(ends > starts)
        if not len(real):
            continue
        nearest = np.searchsorted(starts[real], start, side="right") - 1
        word = real[np.maximum(nearest, 0)]
        inside = (nearest >= 0) & (start < end) & (start < ends[word])
        number = before - (np.cumsum(counts) - counts)  # of word 0 of the row, in all the words
        found[here[inside]] = (word + number[row_of[here]])[inside]
    return found


def first_subwords(words: np.ndarray) -> np.ndarray:
    """True where a sub-word is the first of its word, (seq_len,).

    Within one row the numbers rise; a given word that holds white space may have a -1 inside.
    """
    first = words >= 0
    first[1:] &= words[1:] > np.maximum.accumulate(words)[:-1]
    return first


def _visible_characters(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where to go from each character to meet one that is no white space, and where texts begin.

    Some tokenizers count the white space before a word as part of its first sub-word. Places are
    characters of the texts laid end to end with a space after each, (num_characters,), (texts,).
    """
    laid = " ".join([*texts, ""])
    codes = np.frombuffer(laid.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    space = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    places = np.where(space, len(codes), np.arange(len(codes)))
    visible: np.ndarray = np.minimum.accumulate(places[::-1])[::-1]
    lengths = np.array([len(text) + 1 for text in texts], dtype=np.int64)
    return visible, np.cumsum(lengths) - lengths


def overlap(spans: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Indices of two spans ``(start, end)`` that share a place, or None."""
    order = sorted(range(len(spans)), key=lambda i: spans[i])
    for a, b in pairwise(order):
        if spans[b][0] < spans[a][1]:
            return a, b
    return None
