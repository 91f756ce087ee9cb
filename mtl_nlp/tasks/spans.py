"""Labelled spans of words that may nest: read, laid out as a table of all spans, and shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.entities import entity_words, read_entities
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.words import Row, overlap

WIDTH = 12  # words of the longest span where there are no training spans
_COVERED = 99  # percent of the training spans that a learned width has room for


def reading_order(span: Span) -> tuple[int, int, str]:
    """Where a span comes: by start, then the longer first, then by label."""
    return span.start, -span.end, span.label


def learned_width(spans: Iterable[Span]) -> int:
    """The words that 99 of 100 spans have room in; of fewer spans the words of the longest.

    The longest of all would let one odd span set what every row costs.
    """
    widths = [max(1, span.end - span.start) for span in spans]
    return int(np.percentile(widths, _COVERED, method="inverted_cdf")) if widths else WIDTH


def word_spans(value: Any, row: Row, *, in_words: bool) -> list[Span]:
    """The words that the spans of a row stand in, in the order in which they are given.

    Args:
        value: A list of records with ``start``, ``end`` and ``label``, a record of three lists, or
            None.
        row: Its words.
        in_words: Whether they count words, not characters.

    Raises:
        ValueError: If they are something else, or one is empty or lies outside the row.
    """
    spans = read_entities(value)
    if not in_words:
        return entity_words(spans, row)
    for start, end, label in spans:
        if not 0 <= start < end <= len(row.words):
            raise ValueError(
                f"span {label!r} of words {start} to {end} is empty or lies outside the row of"
                f" {len(row.words)} words; start and end count words from 0, end exclusive"
            )
    return spans


def seen_words(encoding: Encoding) -> np.ndarray:
    """The word of each sub-word, -1 for those in no span, (seq_len,).

    Words of the pair are numbered behind those of the text. The head has no place for words
    numbered past the sub-words.
    """
    words = encoding.token_words
    return np.where(words < min(len(words), len(encoding.row.words)), words, -1)


def blank_table(present: np.ndarray, max_width: int, num_labels: int) -> np.ndarray:
    """0 for the spans there can be, those whose first and last word is present, -100 elsewhere.

    Shape: from (rows, seq_len) to (rows, seq_len, max_width, num_labels), bytes; at ``[:, w, k]``
        stands the span that begins with word ``w`` and has ``k + 1`` words.
    """
    table = np.where(_candidates(present, max_width), 0, -100).astype(np.int8)
    return np.repeat(table[..., None], num_labels, axis=3)


def likely_spans(
    logits: np.ndarray, encodings: Sequence[Encoding], labels: Sequence[str]
) -> list[list[tuple[Span, float]]]:
    """The spans of each row that are likelier than not, in reading order, with their probability.

    Args:
        logits: Of every span and label, (rows, seq_len, max_width, num_labels).
        encodings: Each row as the encoder read it.
        labels: Their names.
    """
    present = np.zeros(logits.shape[:2], dtype=bool)  # (rows, seq_len)
    for row, encoding in enumerate(encodings):
        words = seen_words(encoding)
        present[row, words[words >= 0]] = True
    likely = (logits > 0) & _candidates(present, logits.shape[2])[..., None]
    rows, *places = np.nonzero(likely)
    scores = 1 / (1 + np.exp(-logits[likely].astype(np.float64)))
    found: list[list[tuple[Span, float]]] = [[] for _ in encodings]
    for row, start, more, label, score in zip(rows, *places, scores, strict=True):
        span = Span(int(start), int(start + more + 1), labels[label])
        found[row].append((span, float(score)))
    return [sorted(one, key=lambda pair: reading_order(pair[0])) for one in found]


def without_overlap(found: Sequence[tuple[Span, float]]) -> list[tuple[Span, float]]:
    """Those of a row's spans that share no word with a likelier one; of equals the first stays."""
    kept: list[tuple[Span, float]] = []
    taken: set[int] = set()
    for one in sorted(found, key=lambda one: -one[1]):
        words = range(one[0].start, one[0].end)
        if taken.isdisjoint(words):
            kept.append(one)
            taken.update(words)
    return sorted(kept)


def show_spans(spans: Sequence[Span], scores: Sequence[float], row: Row) -> list[dict[str, Any]]:
    """The spans of a row's words as pipelines show entities."""
    return [
        {
            "entity_group": span.label,
            "word": row.words.slice(span.start, span.end),
            "score": score,
            "start": int(row.words.starts[span.start]),
            "end": int(row.words.ends[span.end - 1]),
        }
        for span, score in zip(spans, scores, strict=True)
    ]


@dataclass
class SpanFaults:
    """What is odd about the spans of one split, gathered row by row.

    Attributes:
        in_words: Whether spans count words, not characters.
        max_width: Words of the longest span that is looked for.
    """

    in_words: bool
    max_width: int
    _total: int = 0
    _split: list[str] = field(default_factory=list)
    _long: list[tuple[int, int]] = field(default_factory=list)
    _shared: list[int] = field(default_factory=list)

    def add(self, number: int, value: Any, row: Row) -> None:
        """Look at a row's spans, as they are given."""
        spans = sorted(set(word_spans(value, row, in_words=self.in_words)))
        if not self.in_words:
            given = read_entities(value)
            self._split += [
                f"row {number}: {w}"
                for one in given
                if (w := row.words.widened(one.start, one.end))
            ]
        self._total += len(spans)
        widths = [span.end - span.start for span in spans]
        self._long += [(width, number) for width in widths if width > self.max_width]
        if overlap([(span.start, span.end) for span in spans]):
            self._shared.append(number)

    def told(self, *, train: bool, flat: bool) -> list[str]:
        """Spans that split a word; in train, those too long to learn or that flat cannot keep."""
        told = []
        if self._split:
            told.append(
                "spans that begin or end inside a word are widened to whole words:"
                f" {len(self._split)}, the first in {self._split[0]}"
            )
        if train and self._long:
            words, number = max(self._long, key=lambda one: one[0])
            told.append(
                f"{len(self._long)} of {self._total} spans have more words than max_width,"
                f" {self.max_width}, and are neither learned nor found; the longest has {words}, in"
                f" row {number}; time and memory grow with max_width"
            )
        if train and flat and self._shared:
            told.append(
                f"rows with spans that share a word: {len(self._shared)}, the first is row"
                f" {self._shared[0]}; overlap: flat finds one of such spans at most"
            )
        return told


def _candidates(present: np.ndarray, max_width: int) -> np.ndarray:
    """Which spans there can be, from (rows, seq_len) to (rows, seq_len, max_width)."""
    ends = np.pad(present, ((0, 0), (0, max_width - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(ends, max_width, axis=1)
    candidates: np.ndarray = present[..., None] & windows
    return candidates
