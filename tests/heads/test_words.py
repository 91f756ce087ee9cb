"""Word vectors against a loop over words, for any cut into sub-words."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words

POOLINGS: tuple[Pooling, ...] = ("first", "last", "mean")
ROWS = st.lists(st.lists(st.integers(-1, 5), min_size=1, max_size=8), min_size=1, max_size=3)


def states_of(rows: list[list[int]], spare: int = 0) -> EncoderStates:
    width = max(map(len, rows)) + spare
    words = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(rows), 20, 4, generator=generator)[:, :width]
    return EncoderStates(hidden, torch.ones_like(words), words)


def one_word(hidden: Tensor, places: list[int], pooling: Pooling) -> Tensor:
    chosen = {"first": places[:1], "last": places[-1:], "mean": places}[pooling]
    return hidden[chosen].mean(dim=0) if places else torch.zeros(hidden.shape[1])


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None)
@given(ROWS)
def test_a_word_is_what_its_sub_words_make(pooling: Pooling, rows: list[list[int]]) -> None:
    states = states_of(rows)
    vectors, present = pool_words(states, pooling)
    assert states.words is not None
    for row, words in enumerate(states.words.tolist()):
        for word in range(len(words)):
            places = [place for place, number in enumerate(words) if number == word]
            expected = one_word(states.hidden_states[row], places, pooling)
            torch.testing.assert_close(vectors[row, word], expected)
            assert bool(present[row, word]) == bool(places)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_no_word(pooling: Pooling) -> None:
    rows = [[-1, 0, 0, 1, 3, -1], [-1, 0, -1]]
    plain, padded = (pool_words(states_of(rows, spare), pooling)[0] for spare in (0, 4))
    assert torch.equal(padded[:, :6], plain)
    assert not padded[:, 6:].any()


def test_states_without_words_are_refused() -> None:
    hidden = torch.zeros(1, 2, 4)
    with pytest.raises(ValueError, match="needs to know them: pass words="):
        pool_words(EncoderStates(hidden, torch.ones(1, 2)), "mean")
