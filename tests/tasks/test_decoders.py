"""The best tags of a row by the words' own scores, against going through all sequences."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.decoders import best_linear_tags
from mtl_nlp.tasks.schemes import LegalPaths, illegal_positions, tag_names

TAGS = tag_names(["a", "b"], "bio")
brief = settings(deadline=None, max_examples=40)


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Log-probabilities of the words seen, their numbers, and how many words there are."""
    length = draw(st.integers(1, 4))
    seen = np.array(sorted(draw(st.sets(st.integers(0, length - 1)))), dtype=int)
    logits = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(len(seen), len(TAGS)))
    return np.log(np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)), seen, length


@brief
@given(rows())
def test_they_are_the_best_of_all_legal_sequences(row: tuple[np.ndarray, np.ndarray, int]) -> None:
    scores, seen, length = row
    found, probabilities = best_linear_tags(
        scores, seen, length, 0, LegalPaths.of_tags(TAGS, "bio")
    )
    by_word = dict(zip(seen.tolist(), scores, strict=True))
    legal = [
        path
        for path in product(range(len(TAGS)), repeat=length)
        if not illegal_positions([TAGS[tag] for tag in path], "bio")
        and all(path[word] == 0 for word in range(length) if word not in by_word)
    ]
    best = max(legal, key=lambda path: sum(by_word[word][path[word]] for word in by_word))
    assert found.tolist() == list(best)
    expected = [np.exp(by_word[w][best[w]]) if w in by_word else 1.0 for w in range(length)]
    np.testing.assert_allclose(probabilities, expected)


@brief
@given(rows())
def test_where_all_is_legal_each_word_has_its_own_best(
    row: tuple[np.ndarray, np.ndarray, int],
) -> None:
    scores, seen, length = row
    found, _ = best_linear_tags(scores, seen, length, 2, None)
    expected = np.full(length, 2)
    expected[seen] = scores.argmax(axis=1)
    assert found.tolist() == expected.tolist()
