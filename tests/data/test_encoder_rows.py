"""Encoder rows of dataset rows: several texts to a row, several windows to a text."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.encoder_rows import ELSEWHERE, EncoderRows
from mtl_nlp.ragged import Ragged

ROWS = EncoderRows(
    {
        "input_ids": Ragged.from_lists([[1, 2], [3, 4, 5], [6], [7, 8], [9]]),
        "words": Ragged.from_lists(
            [[-1, 0], [-1, 0, ELSEWHERE], [1], [-1, 0], [-1]],
        ),
    },
    # A row of one text, one of a text in two windows, one of two texts.
    Ragged.from_lists([[1], [2], [1, 1]]),
)


@st.composite
def encoder_rows(draw: st.DrawFn) -> EncoderRows:
    texts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    windows = [draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)) for n in texts]
    total = sum(map(sum, windows))
    lengths = draw(st.lists(st.integers(1, 5), min_size=total, max_size=total))
    ids = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    return EncoderRows(
        {"input_ids": Ragged.from_lists(ids), "words": Ragged.from_lists(ids)},
        Ragged.from_lists(windows),
    )


def same(a: EncoderRows, b: EncoderRows) -> None:
    np.testing.assert_array_equal(a.windows.values, b.windows.values)
    np.testing.assert_array_equal(a.windows.lengths, b.windows.lengths)
    for name, column in a.columns.items():
        np.testing.assert_array_equal(column.values, b.columns[name].values)
        np.testing.assert_array_equal(column.lengths, b.columns[name].lengths)


def test_rows_know_their_encoder_rows() -> None:
    assert len(ROWS) == 3
    assert ROWS.lengths.tolist() == [2, 3, 1, 2, 1]
    assert ROWS.counts.tolist() == [1, 2, 2]
    assert ROWS.longest.tolist() == [2, 3, 2]
    assert ROWS.sources.tolist() == [0, 1, 1, 2, 3]
    assert ROWS.windowed
    assert not ROWS.take(np.array([2])).windowed


def test_a_text_in_windows_is_joined_to_one() -> None:
    places, numbers = ROWS.joined()
    assert numbers.tolist() == [2, 3, 2, 1]
    # The first window gives its special tokens and its own words, the second its words alone.
    assert ROWS.columns["input_ids"].values[places].tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert [row.tolist() for row in ROWS.token_words().lists()] == [
        [-1, 0],
        [-1, 0, 1],
        [-1, 0, -1],
    ]


def test_special_tokens_around_the_words_of_a_text_stay_around_them() -> None:
    words = [[-1, 0, 1, -1], [-1, -2, 2, 3, -1]]
    blank = [[-1, -1, -1], [-1, 0, -1]]  # its first window holds no word
    empty: list[list[int]] = [[]]  # where a tokenizer has no special tokens
    rows = EncoderRows(
        {"words": Ragged.from_lists(words + blank + empty)}, Ragged.from_lists([[2], [2], [1]])
    )
    places, numbers = rows.joined()
    assert numbers.tolist() == [6, 4, 0]
    assert places.tolist() == [0, 1, 2, 6, 7, 3, 9, 10, 11, 13]


@settings(deadline=None)
@given(encoder_rows(), st.data())
def test_rows_are_taken_with_all_that_is_theirs(rows: EncoderRows, data: st.DataObject) -> None:
    chosen = data.draw(st.permutations(range(len(rows))))
    taken = rows.take(np.array(chosen))
    same(taken, EncoderRows.concatenate([rows.take(np.array([i])) for i in chosen]))
    same(rows, taken.take(np.argsort(chosen)))


@settings(deadline=None)
@given(encoder_rows())
def test_arrow_gives_them_back(rows: EncoderRows) -> None:
    table = pa.table({**rows.to_arrow("a:"), "a:truncated": [False] * len(rows)})
    assert len(table) == len(rows)
    same(EncoderRows.from_arrow(table, "a:"), rows)
    order = np.arange(len(rows))[::-1]
    same(EncoderRows.from_arrow(table.take(order), "a:"), rows.take(order))


@pytest.mark.parametrize("rows", [ROWS, ROWS.take(np.array([0]))])
def test_the_longest_is_that_of_all_windows(rows: EncoderRows) -> None:
    by_row = Ragged(rows.lengths, rows.counts).lists()
    assert rows.longest.tolist() == [max(one) for one in by_row]
