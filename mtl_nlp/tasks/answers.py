"""Answers as spans of a context: how they are given, where the encoder sees them, which is best."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.labels import whole_number


@dataclass(frozen=True)
class Answers:
    """The answers to a question: those that are right, or the one that is predicted.

    Attributes:
        texts: Each as it stands in the context; none: the context does not answer the question.
        starts: First character of each in the context.
    """

    texts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()

    def by_votes(self) -> list[tuple[int, int]]:
        """First character and the one past the last, the answers given most often first."""
        counts = Counter(zip(self.starts, self.texts, strict=True))
        return [(start, start + len(text)) for (start, text), _ in counts.most_common()]


def read_answers(value: Any, context: str) -> Answers | None:
    """The answers in a column, ``{text, answer_start}`` of lists or a list of such; None for null.

    Raises:
        ValueError: If it is neither, or an answer does not stand where it says.
    """
    answers = listed_answers(value)
    if answers is None:
        return None
    for text, start in answers:
        if not text.strip():
            raise ValueError(
                f"expected words, found the answer {text!r}; for a question that the context does"
                " not answer give empty lists"
            )
        if start < 0 or context[start : start + len(text)] != text:
            there = repr(context[start : start + len(text)]) if start >= 0 else "nothing"
            raise ValueError(
                f"expected the answer {text!r:.80} at character {start} of text_pair, found"
                f" {there:.80}; answer_start counts characters of text_pair from 0"
            )
    return Answers(tuple(text for text, _ in answers), tuple(start for _, start in answers))


def listed_answers(value: Any) -> list[tuple[str, int]] | None:
    """Text and start of each answer in a column, whether or not they fit the context.

    Raises:
        ValueError: If it is no list of answers.
    """
    if value is None:
        return None
    pairs: list[tuple[Any, Any]] | None = None
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        pairs = [(one.get("text"), one.get("answer_start")) for one in value]
    elif isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if texts is None and starts is None and {"text", "answer_start"} <= value.keys():
            return None  # how tables write a record that is null
        if isinstance(texts, list) and isinstance(starts, list):
            if len(texts) != len(starts):
                raise ValueError(
                    f"expected an answer_start for each text, found {len(texts)} text and"
                    f" {len(starts)} answer_start"
                )
            pairs = list(zip(texts, starts, strict=True))
    if pairs is None or not all(
        isinstance(text, str) and whole_number(start) is not None for text, start in pairs
    ):
        raise ValueError(
            "expected answers as {text: [words of text_pair], answer_start: [characters]}, empty"
            f" lists where there is none, found {value!r:.80}"
        )
    return [(text, int(start)) for text, start in pairs]


@dataclass(frozen=True)
class SeenWords:
    """The words of a context that the encoder sees, and where.

    Attributes:
        words: Their numbers within the context, in rising order, (seen,).
        firsts: Place of the first sub-word of each, (seen,).
        lasts: Place of the last, (seen,).
    """

    words: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray

    @classmethod
    def of(cls, encoding: Encoding) -> "SeenWords":
        """Those of the pair in an encoded row."""
        places, before = encoding.token_words, len(encoding.row.words)
        numbers, firsts = np.unique(places, return_index=True)
        _, from_end = np.unique(places[::-1], return_index=True)
        context = numbers >= before
        lasts = len(places) - 1 - from_end
        return cls(numbers[context] - before, firsts[context], lasts[context])

    def places(self, first: int, last: int) -> tuple[int, int] | None:
        """Where the span from word ``first`` to word ``last`` begins and ends; None if unseen."""
        at = np.searchsorted(self.words, [first, last])
        if at[1] == len(self.words) or (self.words[at] != [first, last]).any():
            return None
        return int(self.firsts[at[0]]), int(self.lasts[at[1]])


@dataclass(frozen=True)
class BestSpans:
    """The best span of words of each row, and no span beside it.

    Attributes:
        firsts: Number of its first word in the context, (rows,).
        lasts: Number of its last word, (rows,).
        scores: Its probability, 0 where the encoder sees no word of the context, (rows,).
        null_scores: The probability that there is no answer, (rows,).
        margins: By how much the logits of no answer are above those of the span, (rows,).
    """

    firsts: np.ndarray
    lasts: np.ndarray
    scores: np.ndarray
    null_scores: np.ndarray
    margins: np.ndarray


def best_spans(logits: np.ndarray, seen: Sequence[SeenWords], max_words: int) -> BestSpans:
    """The span with the greatest sum of its start's and its end's logit.

    A span begins with the first sub-word of a word and ends with the last of one; no answer is both
    at place 0. The probability of either is the product of two softmaxes, over the places where it
    may begin and end.

    Args:
        logits: Of a start and an end at each place, (rows, seq_len, 2).
        seen: The words of each row's context.
        max_words: Words of the longest span.
    """
    width = 1 + max((int(one.words[-1]) for one in seen if len(one.words)), default=0)
    # Column 0 is no answer, column 1 + w word w; what is not seen is out of the question.
    table = np.full((2, len(seen), 1 + width), -np.inf)
    table[:, :, 0] = logits[:, 0].T
    for row, one in enumerate(seen):
        table[0, row, 1 + one.words] = logits[row, one.firsts, 0]
        table[1, row, 1 + one.words] = logits[row, one.lasts, 1]
    highest = table.max(axis=2, keepdims=True)
    log_sums = highest[..., 0] + np.log(np.exp(table - highest).sum(axis=2))  # (2, rows)
    null, (starts, ends) = table[:, :, 0].sum(axis=0), table[:, :, 1:]
    reach = min(max_words, width)
    within = np.pad(ends, ((0, 0), (0, reach - 1)), constant_values=-np.inf)
    within = np.lib.stride_tricks.sliding_window_view(within, reach, axis=1)  # (rows, width, reach)
    more = within.argmax(axis=2)  # words after the first, of the best span from each word
    totals = starts + np.take_along_axis(within, more[..., None], axis=2)[..., 0]  # (rows, width)
    rows, firsts = np.arange(len(seen)), totals.argmax(axis=1)
    best = totals[rows, firsts]
    return BestSpans(
        firsts,
        firsts + more[rows, firsts],
        np.exp(np.minimum(best - log_sums.sum(axis=0), 0.0)),  # rounding may lift it above
        np.exp(np.minimum(null - log_sums.sum(axis=0), 0.0)),
        null - best,
    )


def best_null_threshold(margins: np.ndarray, answered: np.ndarray, unanswered: np.ndarray) -> float:
    """Above which margin no answer is given, so that the sum of scores is greatest.

    Of thresholds that are equally good it is the one that comes nearest to 0 and stands halfway
    between two margins, or 1 beyond the outermost.

    Args:
        margins: Of each question, as `best_spans` gives them; infinite ones are never answered.
        answered: The score of each question if it is answered, (questions,).
        unanswered: Its score if it is not, (questions,).
    """
    finite = np.isfinite(margins)
    if not finite.any():
        return 0.0
    order = np.argsort(margins[finite], kind="stable")
    rising = margins[finite][order]
    gains = (answered - unanswered)[finite][order]
    # Cut k answers the k questions of least margin: a threshold from `low` to just below `high`.
    totals = np.concatenate([[0.0], gains.cumsum()])
    low, high = np.concatenate([[-np.inf], rising]), np.concatenate([rising, [np.inf]])
    halfway = (
        np.where(low == -np.inf, high - 2, low) + np.where(high == np.inf, low + 2, high)
    ) / 2
    thresholds = np.where((low <= 0) & (high > 0), 0.0, halfway)
    best = (low < high) & (totals >= totals[low < high].max() - 1e-9)
    return float(thresholds[np.where(best, np.abs(thresholds), np.inf).argmin()])
