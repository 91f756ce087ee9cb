"""Words are hidden at random, but the same ones whenever seed, step and row are the same."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.masking import draw_key, hide_words
from mtl_nlp.tasks.views import NOT_ASKED, Read

MASK, FIRST, SIZE = 4, 5, 205
ORDINARY = np.arange(FIRST, SIZE)


def hidden(
    rows: list[list[int]],
    words: list[list[int]],
    key: int = 7,
    share: float = 0.15,
    places: list[int] | None = None,
) -> Read:
    return hide_words(
        Ragged.from_lists(rows),
        Ragged.from_lists(words),
        key=key,
        places=np.array(places or [0] * len(rows)),
        probability=share,
        mask_id=MASK,
        ordinary=ORDINARY,
    )


@st.composite
def encoded(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of one to three words, each of some sub-words, perhaps special ones between them."""
    rows, words = [], []
    for _ in range(draw(st.integers(1, 4))):
        ids, numbers = [2], [-1]
        for word in range(draw(st.integers(0, 5))):
            for _ in range(draw(st.integers(1, 3))):
                ids.append(draw(st.integers(0, SIZE - 1)))
                numbers.append(word)
            if draw(st.booleans()):
                ids.append(draw(st.integers(0, SIZE - 1)))
                numbers.append(draw(st.sampled_from([-1, -2])))
        rows.append([*ids, 3])
        words.append([*numbers, -1])
    return rows, words


@given(encoded(), st.integers(0, 2**64 - 1), st.floats(0.01, 0.99))
def test_whole_words_are_hidden_at_least_one_a_row_and_nothing_special(
    texts: tuple[list[list[int]], list[list[int]]], key: int, share: float
) -> None:
    rows, words = texts
    result = hidden(rows, words, key, share)
    assert result.input_ids.lengths.tolist() == [len(row) for row in rows]
    for ids, numbers, read, left in zip(
        rows, words, result.input_ids.lists(), result.words.lists(), strict=True
    ):
        able = [n for i, n in zip(ids, numbers, strict=True) if n >= 0 and i >= FIRST]
        chosen = {n for n in left.tolist() if n >= 0}
        assert chosen <= set(able)
        assert bool(chosen) == bool(able)
        for before, number, after, now in zip(ids, numbers, read, left, strict=True):
            if number in chosen and before >= FIRST:
                assert now == number
                assert after == MASK or after >= FIRST
            else:
                assert now == (NOT_ASKED if number >= 0 else number)
                assert after == before


@settings(max_examples=30)
@given(encoded(), encoded(), st.integers(0, 2**64 - 1))
def test_the_rows_beside_it_change_nothing(
    one: tuple[list[list[int]], list[list[int]]],
    other: tuple[list[list[int]], list[list[int]]],
    key: int,
) -> None:
    alone = hidden(*one, key)
    together = hidden(other[0] + one[0], other[1] + one[1], key)
    count = sum(map(len, one[0]))
    assert together.input_ids.values[-count:].tolist() == alone.input_ids.values.tolist()
    assert together.words.values[-count:].tolist() == alone.words.values.tolist()


def many(rows: int = 400, words: int = 50) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of words of two sub-words each."""
    ids = np.random.default_rng(0).integers(FIRST, SIZE, (rows, 2 * words))
    return ids.tolist(), np.repeat(np.arange(words), 2)[None].repeat(rows, 0).tolist()


def test_shares_are_those_of_the_paper() -> None:
    rows, words = many()
    result = hidden(rows, words)
    ids = np.concatenate(rows)
    chosen = result.words.values >= 0
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    read, right = result.input_ids.values[chosen], ids[chosen]
    assert (read == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (read == right).mean() == pytest.approx(0.1 + 0.1 / len(ORDINARY), abs=0.02)
    drawn = Counter(read[(read != MASK) & (read != right)].tolist())
    assert len(drawn) > 0.9 * len(ORDINARY)
    assert max(drawn.values()) < 12 * drawn.total() / len(ORDINARY)


def test_places_are_hidden_alike_and_rows_apart() -> None:
    rows, words = many()
    chosen = (hidden(rows, words).words.values >= 0).reshape(400, 100)
    assert np.abs(chosen.mean(0) - 0.15).max() < 0.08
    assert len({row.tobytes() for row in chosen}) > 395


def test_steps_and_seeds_draw_anew() -> None:
    rows, words = many(40)
    keys = {draw_key(seed, step) for seed in range(30) for step in range(30)}
    assert len(keys) == 900
    drawn = [hidden(rows, words, key).words.values >= 0 for key in sorted(keys)[:40]]
    assert len({one.tobytes() for one in drawn}) == 40
    shared = np.mean([(a & b).mean() for a, b in pairwise(drawn)])
    assert shared == pytest.approx(0.15**2, abs=0.004)


def test_equal_rows_in_other_places_are_drawn_apart_and_nothing_else_tells_them() -> None:
    rows, words = many(1)
    places = [0, 1, 2, 3, 2**32, 2**32 + 1, 2**63]
    read = hidden(rows * 7, words * 7, places=places)
    drawn = [row[::2] >= 0 for row in read.words.lists()]
    shared = [(a & b).mean() for i, a in enumerate(drawn) for b in drawn[:i]]
    assert len({one.tobytes() for one in drawn}) == 7
    assert np.mean(shared) == pytest.approx(0.15**2, abs=0.02)
    for number, place in enumerate(places):
        alone = hidden(rows, words, places=[place])
        assert alone.words.values.tolist() == read.words.lists()[number].tolist()


def test_what_is_hidden_more_rarely_is_hidden_more_often_too() -> None:
    rows, words = many(40)
    few, more = (hidden(rows, words, share=share).words.values >= 0 for share in (0.1, 0.4))
    assert not (few & ~more).any()
    assert more.mean() == pytest.approx(0.4, abs=0.03)


def test_the_draw_is_the_same_everywhere() -> None:
    assert [draw_key(13, 0), draw_key(13, 1), draw_key(0, 13)] == [
        13604808898340030615,
        13592992832856903821,
        897299018667680839,
    ]
    read = hidden(
        [[2, 10, 11, 12, 13, 14, 15, 3]], [[-1, 0, 0, 1, 2, 3, 4, -1]], draw_key(13, 5), 0.5
    )
    assert read.input_ids.values.tolist() == [2, 10, 11, 4, 13, 4, 15, 3]
    assert read.words.values.tolist() == [-1, -3, -3, 1, -3, 3, -3, -1]


def test_the_mixing_is_that_of_splitmix64() -> None:
    # The first numbers of the generator from state 0, as its authors' C code gives them.
    assert draw_key(0) == 0xE220A8397B1DCDAF
