"""Spans as the task types that find them share them: read, laid out, found, kept apart."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.tasks.spans import (
    SpanFaults,
    blank_table,
    learned_width,
    likely_spans,
    reading_order,
    seen_words,
    show_spans,
    without_overlap,
    word_spans,
)
from mtl_nlp.words import Row, join_words, split_words

LAW = settings(deadline=None, max_examples=60)


def test_spans_keep_the_order_in_which_they_are_given() -> None:
    given = [{"start": s, "end": e, "label": "x"} for s, e in [(3, 5), (0, 2), (3, 5)]]
    row = Row(join_words(list("abcde")))
    assert word_spans(given, row, in_words=True) == [(3, 5, "x"), (0, 2, "x"), (3, 5, "x")]
    text = Row(split_words("ab cd"))
    assert word_spans(given, text, in_words=False) == [(1, 2, "x"), (0, 1, "x"), (1, 2, "x")]


def test_a_span_outside_its_row_is_told() -> None:
    given = [{"start": 0, "end": 3, "label": "x"}]
    with pytest.raises(ValueError, match=r"'x' of words 0 to 3 .* outside the row of 2 words"):
        word_spans(given, Row(join_words(["a", "b"])), in_words=True)


@pytest.mark.parametrize(("ends", "width"), [([], 12), ([1], 1), ([4, 2], 4), ([9, *[2] * 99], 2)])
def test_a_width_has_room_for_99_of_100(ends: list[int], width: int) -> None:
    assert learned_width([Span(0, end, "x") for end in ends]) == width


@LAW
@given(
    st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 4), st.integers(0, 2**32 - 1)
)
def test_spans_are_laid_out_and_found_between_words_that_are_seen(
    present: list[bool], max_width: int, seed: int
) -> None:
    table = blank_table(np.array([present]), max_width, 2)
    there = {
        (start, end)
        for start, one in enumerate(present)
        for end, other in enumerate(present)
        if one and other and start <= end < start + max_width
    }
    assert {(s, s + more) for s, more in np.argwhere(table[0, :, :, 0] == 0)} == there
    assert set(np.unique(table)) <= {0, -100}
    logits = np.random.default_rng(seed).normal(size=table.shape).astype(np.float32)
    words = np.where(present, np.arange(len(present)), -1)
    encoding = Encoding(Row(join_words(["w"] * len(present))), words)
    assert seen_words(encoding).tolist() == words.tolist()
    (found,) = likely_spans(logits, [encoding], ("x", "y"))
    expected = {
        Span(start, end + 1, label): 1 / (1 + np.exp(-logits[0, start, end - start, i]))
        for start, end in there
        for i, label in enumerate(("x", "y"))
        if logits[0, start, end - start, i] > 0
    }
    assert [span for span, _ in found] == sorted(expected, key=reading_order)
    assert dict(found) == pytest.approx(expected)


@LAW
@given(
    st.dictionaries(
        st.builds(
            lambda start, width: Span(start, start + width, "x"), st.integers(0, 6), st.just(2)
        ),
        st.floats(0.5, 1.0),
    )
)
def test_of_spans_that_share_words_the_likelier_stays(scores: dict[Span, float]) -> None:
    found = sorted(scores.items(), key=lambda one: reading_order(one[0]))
    kept = dict(without_overlap(found))
    assert all(a.end <= b.start or b.end <= a.start for a, b in combinations(kept, 2))
    for span in set(scores) - set(kept):
        rivals = [one for one in kept if one.start < span.end and span.start < one.end]
        assert max(scores[one] for one in rivals) >= scores[span]


def test_a_span_is_shown_as_an_entity() -> None:
    row = Row(split_words("In New York"))
    assert show_spans([Span(1, 3, "place")], [0.5], row) == [
        {"entity_group": "place", "word": "New York", "score": 0.5, "start": 3, "end": 11}
    ]


def test_what_is_odd_about_spans_is_told_of_train_and_of_other_splits() -> None:
    faults = SpanFaults(in_words=True, max_width=2)
    given = [{"start": s, "end": e, "label": "x"} for s, e in [(0, 3), (1, 2), (1, 2)]]
    faults.add(0, None, Row(join_words(["a"])))
    faults.add(1, given, Row(join_words(["a", "b", "c"])))
    long, shared = faults.told(train=True, flat=True)
    assert long.startswith("1 of 2 spans have more words than max_width, 2, and are neither")
    assert shared.startswith("rows with spans that share a word: 1, the first is row 1; overlap:")
    assert faults.told(train=True, flat=False) == [long]
    assert faults.told(train=False, flat=True) == []
