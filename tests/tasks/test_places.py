"""Which words are seen, and where."""

import numpy as np
from hypothesis import given, settings

from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.places import at_first_sub_words, at_their_numbers
from mtl_nlp.words import Row, join_words
from tests.tasks.test_token_classification import encodings


@settings(deadline=None, max_examples=60)
@given(encodings())
def test_seen_words_are_those_with_a_sub_word(encoding: Encoding) -> None:
    words = encoding.token_words.tolist()
    seen, places = at_first_sub_words(encoding)
    assert seen.tolist() == sorted(set(words) - {-1})
    assert places.tolist() == [words.index(word) for word in seen]
    assert at_their_numbers(encoding).tolist() == [word for word in seen if word < len(words)]


def test_the_second_text_of_a_pair_is_left_out() -> None:
    row = Row(join_words(["a", "b"]), join_words(["c", "d"]))
    encoding = Encoding(row, np.array([-1, 0, 1, 1, -1, 2, 3, -1]))
    seen, places = at_first_sub_words(encoding)
    assert (seen.tolist(), places.tolist()) == ([0, 1], [1, 2])
    assert at_their_numbers(encoding).tolist() == [0, 1]


def test_words_numbered_beyond_the_sub_words_are_as_if_cut_off() -> None:
    encoding = Encoding(Row(join_words("abcdef")), np.array([-1, 0, 5, -1]))
    assert at_first_sub_words(encoding)[0].tolist() == [0, 5]
    assert at_their_numbers(encoding).tolist() == [0]
