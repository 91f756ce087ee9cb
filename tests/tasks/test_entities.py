"""Entities given by characters become the tags of words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.tasks.entities import entity_tags, entity_words, read_entities
from mtl_nlp.tasks.schemes import Span, read_spans
from mtl_nlp.words import Row, join_words, split_words

ROW = Row(join_words(["two", "ord"]))


def _entity(start: Any, end: Any, label: Any = "x") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


@pytest.mark.parametrize(
    "value",
    [
        [_entity(0, 3), {**_entity(4, 9, "y"), "note": "more"}],
        {"start": [0, 4], "end": [3, 9], "label": ["x", "y"]},
    ],
)
def test_records_and_lists_of_columns_are_read_alike(value: Any) -> None:
    assert read_entities(value) == [Span(0, 3, "x"), Span(4, 9, "y")]


@pytest.mark.parametrize("value", [None, [], {"start": [], "end": [], "label": []}])
def test_there_may_be_none(value: Any) -> None:
    assert read_entities(value) == []


@given(st.text("ab .'-é😀", min_size=1, max_size=20), st.data())
def test_an_entity_of_whole_words_comes_back(text: str, data: st.DataObject) -> None:
    row = Row(split_words(text))
    if not len(row):
        return
    first = data.draw(st.integers(0, len(row) - 1))
    last = data.draw(st.integers(first, len(row) - 1))
    start, end = int(row.words.starts[first]), int(row.words.ends[last])
    tags = entity_tags([_entity(start, end)], row)
    assert len(tags) == len(row)
    assert read_spans(tags) == [Span(first, last + 1, "x")]
    assert row.words.widened(start, end) == ""


def test_words_of_entities_may_overlap_and_keep_their_order() -> None:
    found = [Span(4, 7, "x"), Span(0, 6, "y"), Span(1, 2, "x")]
    assert entity_words(found, ROW) == [Span(1, 2, "x"), Span(0, 2, "y"), Span(0, 1, "x")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([_entity(0, 0)], "'x' of characters 0 to 0 lies outside the text of 7 characters"),
        ([_entity(-1, 2)], "'x' of characters -1 to 2 lies outside the text"),
        ([_entity(4, 8)], "outside the text of 7 characters; start and end count characters from"),
        ([_entity(3, 4)], "'x' of characters 3 to 4 is only blanks"),
        ([_entity(0, None)], "expected an entity with start, end and label, found"),
        ([_entity(0, 1, None)], "expected an entity with start, end and label, found"),
        ([_entity(0, 1, " ")], "expected a label, found ' ', an empty one"),
        ([_entity(False, True)], "expected an entity with start, end and label, found"),
        ([_entity(0.5, 1)], "expected an entity with start, end and label, found"),
        ([_entity("0", "1")], "expected an entity with start, end and label, found"),
        (["x"], "expected an entity with start, end and label, found 'x'"),
        ("x", "expected a list of entities, found 'x'"),
        ({"start": [0], "end": [1, 2], "label": ["x"]}, "expected lists of starts, ends and"),
        (_entity(0, 1), "expected lists of starts, ends and labels of one length, found {'start'"),
        ([_entity(0, 2), _entity(1, 3, "y")],
         r"entities 'x' \(0 to 2\) and 'y' \(1 to 3\) share a word; a word can be in one entity"),
        ([_entity(0, 1), _entity(2, 3, "y")], r"'x' \(0 to 1\) and 'y' \(2 to 3\) share a word"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_entities_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entity_tags(value, ROW)
