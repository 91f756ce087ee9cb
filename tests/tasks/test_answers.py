"""Answers in a context: read, seen, and the best of them, against going through all."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.answers import (
    Answers,
    SeenWords,
    best_null_threshold,
    best_spans,
    read_answers,
)
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.words import Row, split_words

CONTEXT = "The film, of 1990, was good."
QUESTION = split_words("What was it?")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"text": None, "answer_start": None}, None),
        ({"text": [], "answer_start": []}, Answers()),
        ([], Answers()),
        ({"text": ["film"], "answer_start": [4]}, Answers(("film",), (4,))),
        ({"text": ["1990", "of"], "answer_start": [13, 10]}, Answers(("1990", "of"), (13, 10))),
        ([{"text": "film", "answer_start": 4}], Answers(("film",), (4,))),
    ],
)
def test_answers_are_read(value: Any, expected: Answers | None) -> None:
    assert read_answers(value, CONTEXT) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("film", r"expected answers as \{text: .*, empty lists where there is none, found 'film'"),
        ({"text": ["film"]}, "expected answers as"),
        ({"text": "film", "answer_start": 4}, "expected answers as"),
        ({"text": ["film"], "answer_start": [None]}, "expected answers as"),
        ({"text": [3], "answer_start": [4]}, "expected answers as"),
        ({"text": ["film"], "answer_start": [True]}, "expected answers as"),
        ([{"answer": "film"}], "expected answers as"),
        ({"text": ["film", "of"], "answer_start": [4]}, "found 2 text and 1 answer_start"),
        (
            {"text": [""], "answer_start": [0]},
            "expected words, found the answer ''; for a question",
        ),
        (
            {"text": ["film"], "answer_start": [5]},
            r"'film' at character 5 of text_pair, found 'ilm,",
        ),
        ({"text": ["film"], "answer_start": [-1]}, "at character -1 of text_pair, found nothing"),
        ({"text": ["good."], "answer_start": [99]}, "at character 99 of text_pair, found ''"),
        ({"text": ["Film"], "answer_start": [4]}, "expected the answer 'Film' at character 4"),
    ],
)
def test_other_answers_are_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_answers(value, CONTEXT)


def test_the_answer_given_most_often_comes_first_and_of_equals_the_first() -> None:
    answers = Answers(("of 1990", "1990", "of", "1990", "of"), (10, 13, 10, 13, 10))
    assert answers.by_votes() == [(13, 17), (10, 12), (10, 17)]


def encoding(token_words: list[int]) -> Encoding:
    return Encoding(Row(QUESTION, split_words(CONTEXT)), np.array(token_words))


def test_words_are_seen_where_their_sub_words_stand() -> None:
    # [CLS] what was it ? [SEP] The fi ##lm (no sub-word of the comma) of 19 ##90 …cut
    seen = SeenWords.of(encoding([-1, 0, 1, 2, 3, -1, 4, 5, 5, 7, 8, 8]))
    assert seen.words.tolist() == [0, 1, 3, 4]
    assert seen.firsts.tolist() == [6, 7, 9, 10]
    assert seen.lasts.tolist() == [6, 8, 9, 11]
    assert seen.places(1, 4) == (7, 11)
    assert seen.places(0, 0) == (6, 6)
    assert seen.places(2, 3) is None  # begins with a word that has no sub-word
    assert seen.places(4, 5) is None  # is cut off
    assert seen.places(6, 7) is None


def test_a_context_that_is_cut_off_is_not_seen() -> None:
    seen = SeenWords.of(encoding([-1, 0, 1, 2, 3, -1]))
    assert not len(seen.words)
    assert seen.places(0, 0) is None


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, list[SeenWords]]:
    """Logits of several rows with contexts of some words, some of them not seen."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    rows, seq_len = draw(st.integers(1, 4)), draw(st.integers(2, 16))
    logits = random.integers(-6, 7, (rows, seq_len, 2)).astype(np.float32) / 2  # with ties
    seen = []
    for _ in range(rows):
        words = [-1, 0]
        while len(words) < seq_len:
            step = random.choice([0, 1, 1, 2]) if words[-1] > 3 else 4
            words.append(words[-1] + step)
        cut = draw(st.integers(1, seq_len))
        seen.append(SeenWords.of(encoding(words[:cut])))
    return logits, seen


@settings(deadline=None, max_examples=60)
@given(batches(), st.integers(1, 6))
def test_the_best_span_is_that_of_going_through_all(
    batch: tuple[np.ndarray, list[SeenWords]], most: int
) -> None:
    logits, seen = batch
    best = best_spans(logits, seen, most)
    for row, one in enumerate(seen):
        starts = [logits[row, 0, 0], *logits[row, one.firsts, 0]]
        ends = [logits[row, 0, 1], *logits[row, one.lasts, 1]]
        whole = sum(math.exp(a + b) for a, b in itertools.product(starts, ends))
        assert best.null_scores[row] == pytest.approx(math.exp(starts[0] + ends[0]) / whole)
        spans = {
            (int(one.words[i]), int(one.words[j])): starts[i + 1] + ends[j + 1]
            for i, j in itertools.product(range(len(one.words)), repeat=2)
            if 0 <= one.words[j] - one.words[i] < most
        }
        if not spans:
            assert (best.scores[row], best.margins[row]) == (0.0, math.inf)
            continue
        highest = max(spans.values())
        assert spans[best.firsts[row], best.lasts[row]] == highest
        assert best.scores[row] == pytest.approx(math.exp(highest) / whole)
        assert best.margins[row] == pytest.approx(starts[0] + ends[0] - highest)


@settings(deadline=None, max_examples=30)
@given(batches(), st.integers(0, 9))
def test_neither_company_nor_padding_changes_the_best_span(
    batch: tuple[np.ndarray, list[SeenWords]], more: int
) -> None:
    logits, seen = batch
    padded = np.pad(logits, ((0, 0), (0, more), (0, 0)), constant_values=99.0)
    together = best_spans(padded, seen, 3)
    for row in range(len(seen)):
        alone = best_spans(logits[row : row + 1], seen[row : row + 1], 3)
        for name in ("firsts", "lasts", "margins"):
            assert getattr(alone, name)[0] == getattr(together, name)[row]
        assert alone.scores[0] == pytest.approx(together.scores[row], rel=1e-12)
        assert alone.null_scores[0] == pytest.approx(together.null_scores[row], rel=1e-12)


def test_the_best_of_long_contexts_is_found_in_little_time() -> None:
    random = np.random.default_rng(0)
    words = np.arange(20_000)
    seen = [SeenWords(words, words + 1, words + 1)] * 4
    logits = random.normal(size=(4, 20_001, 2)).astype(np.float32)
    best = best_spans(logits, seen, 30)
    assert ((best.lasts - best.firsts) < 30).all()


def test_not_a_number_still_gives_words_of_the_context() -> None:
    seen = [SeenWords.of(encoding([-1, 0, 1, 2, 3, -1, 4, 5, 5, 7, 8, 8]))] * 2
    logits = np.full((2, 12, 2), np.nan, dtype=np.float32)
    logits[1] = np.inf
    with np.errstate(invalid="ignore"):
        best = best_spans(logits, seen, 30)
    assert (best.firsts <= best.lasts).all()
    assert (best.lasts < 8).all()


SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
QUESTIONS = st.lists(
    st.tuples(st.integers(-5, 5).map(lambda n: n / 2), SCORES, SCORES), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=60)
@given(QUESTIONS, st.booleans())
def test_the_threshold_scores_best_and_is_the_nearest_to_nought(
    questions: list[tuple[float, float, float]], cut_off: bool
) -> None:
    margins, answered, unanswered = map(np.array, zip(*questions, strict=True))
    if cut_off:
        margins[0] = np.inf
    found = best_null_threshold(margins, answered, unanswered)

    def score(threshold: float) -> float:
        return float(np.where(margins > threshold, unanswered, answered).sum())

    known = sorted({margin for margin in margins if np.isfinite(margin)})
    if not known:
        assert found == 0.0
        return
    between = [(low + high) / 2 for low, high in itertools.pairwise(known)]
    every = [0.0, known[0] - 1, *between, known[-1] + 1]
    best = max(map(score, every))
    assert found == min((one for one in every if score(one) > best - 1e-9), key=abs)


def test_without_a_margin_the_threshold_is_nought() -> None:
    one = np.ones(1)
    assert best_null_threshold(np.array([np.inf]), one, one) == 0.0
