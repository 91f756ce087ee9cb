"""The words of a text, and the word each sub-word belongs to."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.words import (
    Row,
    Words,
    first_subwords,
    join_words,
    overlap,
    split_words,
    token_words,
)


@given(st.text())
def test_every_visible_character_stands_in_exactly_one_word(text: str) -> None:
    words = split_words(text)
    assert "".join(words.strings()) == "".join(text.split())
    assert (words.ends > words.starts).all()
    assert (words.starts[1:] >= words.ends[:-1]).all()


@given(st.lists(st.text()), st.sampled_from([" ", "", "\u3000", " | "]))
def test_joined_words_are_found_again(tokens: list[str], join: str) -> None:
    words = join_words(tokens, join)
    assert words.text == join.join(tokens)
    assert words.strings() == tokens


@given(st.text())
def test_the_characters_of_a_word_are_covered_by_that_word_alone(text: str) -> None:
    words = split_words(text)
    for i, (start, end) in enumerate(zip(words.starts, words.ends, strict=True)):
        assert words.covering(start, end) == (i, i + 1)
        assert words.slice(i, i + 1) == text[start:end]


@given(st.text(), st.integers(0, 20), st.integers(1, 20))
def test_covering_words_are_those_that_share_a_character(text: str, start: int, size: int) -> None:
    words = split_words(text)
    sharing = [
        i for i in range(len(words)) if words.starts[i] < start + size and words.ends[i] > start
    ]
    assert list(range(*words.covering(start, start + size))) == sharing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't @anna.lee #NLP!", ["Don't", "@anna.lee", "#NLP", "!"]),
        ("state-of-the-art, 3.14 U.S.", ["state-of-the-art", ",", "3.14", "U.S", "."]),
        ("a_b", ["a", "_", "b"]),
        ("東京 2020", ["東京", "2020"]),
        ("😀👍", ["😀", "👍"]),
        ("e\u0301", ["e", "\u0301"]),
        ("\u00a0\u2003", []),
        ("", []),
    ],
)
def test_words_of_raw_text(text: str, words: list[str]) -> None:
    assert split_words(text).strings() == words


def test_the_pattern_can_be_another() -> None:
    assert split_words("a-b c", r"\w").strings() == ["a", "b", "c"]


def _words(offsets: list[tuple[int, int]], segments: list[int], row: Row) -> list[int]:
    lengths = np.array([len(offsets)])
    return token_words(np.array(offsets), np.array(segments), lengths, [row]).tolist()


def test_subwords_belong_to_the_word_their_first_visible_character_is_in() -> None:
    row = Row(join_words(["New", "", "York", "!"]))  # "New  York !"
    offsets = [(0, 0), (0, 3), (3, 5), (4, 7), (7, 9), (9, 11), (0, 0)]
    assert _words(offsets, [-1, 0, 0, 0, 0, 0, -1], row) == [-1, 0, -1, 2, 2, 3, -1]


def test_words_of_the_pair_are_numbered_on() -> None:
    row = Row(split_words("a b"), split_words("c d"))
    assert _words([(0, 1), (2, 3), (0, 1), (2, 3)], [0, 0, 1, 1], row) == [0, 1, 2, 3]
    assert len(row) == 4


@pytest.mark.parametrize("tokens", [[], [""], ["", ""], [" ", "\u00a0"]])
def test_without_a_visible_word_no_subword_has_one(tokens: list[str]) -> None:
    row = Row(join_words(tokens))
    assert _words([(0, 0), (0, len(row.words.text))], [-1, 0], row) == [-1, -1]


def test_each_row_has_its_own_numbers() -> None:
    rows = [Row(split_words("a b")), Row(split_words("")), Row(split_words("c"))]
    offsets, segments = np.array([[0, 1], [2, 3], [0, 0], [0, 1]]), np.array([0, 0, -1, 0])
    found = token_words(offsets, segments, np.array([2, 1, 1]), rows)
    assert found.tolist() == [0, 1, -1, 0]


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 12)))
def test_a_subword_is_first_where_its_word_was_not_yet(words: list[int], places: list[int]) -> None:
    words = sorted(words)
    for place in places:
        words.insert(place, -1)
    expected = [word >= 0 and word not in words[:i] for i, word in enumerate(words)]
    assert first_subwords(np.array(words, dtype=np.int64)).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=6))
def test_overlap_finds_two_spans_that_share_a_place_or_none(spans: list[tuple[int, int]]) -> None:
    spans = [(start, start + size) for start, size in spans]
    places = [place for start, end in spans for place in range(start, end)]
    clash = overlap(spans)
    assert (clash is None) == (len(places) == len(set(places)))
    if clash is not None:
        a, b = (set(range(*spans[i])) for i in clash)
        assert clash[0] != clash[1]
        assert a & b


def test_strings_are_slices_of_the_text() -> None:
    words = Words("ab cd", np.array([0, 3]), np.array([2, 5]))
    assert words.slice(0, 2) == "ab cd"
    assert re.sub(" ", "", words.text) == "".join(words.strings())


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (3, 10, ""),
        (11, 15, ""),  # with the blank behind it
        (2, 10, ""),  # with the one before it
        (3, 8, "'Nadia' becomes \"Nadia's\""),
        (5, 14, '"dia\'s New" becomes "Nadia\'s New"'),
        (20, 24, "'1990' becomes '1990s'"),
    ],
)
def test_what_is_widened_to_whole_words_is_told(start: int, end: int, told: str) -> None:
    assert split_words("In Nadia's New York 1990s").widened(start, end) == told
