"""Lists of different lengths behave as the lists they are."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.ragged import Ragged

LISTS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=6)


def _as_lists(ragged: Ragged) -> list[list[int]]:
    return [row.tolist() for row in ragged.lists()]


@given(LISTS)
def test_lists_come_back(lists: list[list[int]]) -> None:
    ragged = Ragged.from_lists(lists)
    assert _as_lists(ragged) == lists
    assert len(ragged) == len(lists)
    assert ragged.lengths.tolist() == [len(row) for row in lists]


@given(LISTS, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)  # the first call loads pyarrow
def test_arrow_lists_come_back_from_any_slice(lists: list[list[int]], head: int, cut: int) -> None:
    column = pa.array(lists, pa.list_(pa.int64()))
    assert _as_lists(Ragged.from_arrow(column[head : head + cut])) == lists[head : head + cut]


@given(LISTS)
def test_arrow_gets_the_same_lists(lists: list[list[int]]) -> None:
    assert Ragged.from_lists(lists).to_arrow().to_pylist() == lists


@given(st.lists(LISTS, min_size=1, max_size=3))
def test_parts_are_put_one_after_the_other(parts: list[list[list[int]]]) -> None:
    whole = Ragged.concatenate([Ragged.from_lists(part) for part in parts])
    assert _as_lists(whole) == [row for part in parts for row in part]


@given(LISTS.filter(len), st.data())
def test_take_gives_the_lists_at_these_places(lists: list[list[int]], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    taken = Ragged.from_lists(lists).take(np.array(places, dtype=np.int64))
    assert _as_lists(taken) == [lists[i] for i in places]


@given(LISTS, st.integers(0, 2), st.integers(-5, 5))
def test_padding_fills_up_on_the_right(lists: list[list[int]], more: int, fill: int) -> None:
    width = max((len(row) for row in lists), default=0) + more
    padded = Ragged.from_lists(lists).pad(width, fill)
    assert padded.shape == (len(lists), width)
    assert padded.tolist() == [row + [fill] * (width - len(row)) for row in lists]


def test_a_list_longer_than_the_width_is_not_cut_silently() -> None:
    with pytest.raises(ValueError, match="cannot assign"):
        Ragged.from_lists([[1, 2, 3]]).pad(2, 0)
