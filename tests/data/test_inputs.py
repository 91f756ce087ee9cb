"""Records become rows, or it is told why not."""

from typing import Any

import pytest

from mtl_nlp.data.inputs import input_record, input_row
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.words import Row, split_words


def row_of(record: dict[str, Any], join: str = " ") -> Row:
    return input_row(record, split_words, join)


def test_columns_are_known_by_our_names() -> None:
    spec = DatasetSpec(path="org/d", text="premise", text_pair="hypothesis")
    record = {"premise": "a", "hypothesis": "b", "other": 3}
    assert input_record(record, spec) == {"text": "a", "text_pair": "b"}


def test_a_text_a_pair_and_words_become_rows() -> None:
    assert row_of({"text": "good day, city"}).words.strings() == ["good", "day", ",", "city"]
    pair = row_of({"text": "good", "text_pair": "bad day"})
    assert pair.pair is not None
    assert (len(pair), pair.pair.strings()) == (3, ["bad", "day"])
    assert row_of({"tokens": ["good day", ",", ""]}).words.text == "good day , "


def test_words_may_be_joined_by_nothing() -> None:
    row = row_of({"tokens": ["go", "od"]}, join="")
    assert row.words.text == "good"
    assert row.words.strings() == ["go", "od"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": None}, "column text: expected text, found None"),
        ({"text": 3}, "column text: expected text, found 3"),
        ({"text": ""}, "column text: expected text, found an empty one"),
        ({"text": " \t\n\u3000"}, "column text: expected text, found an empty one"),
        ({"text": "a", "text_pair": None}, "column text_pair: expected text, found None"),
        ({"text": "a", "text_pair": " "}, "column text_pair: expected text, found an empty one"),
        ({"tokens": None}, "column tokens: expected a list of words, found null"),
        ({"tokens": "a b"}, "column tokens: expected a list of words, found 'a b'"),
        ({"tokens": ["a", None]}, "column tokens: expected a list of words, found"),
        ({"tokens": []}, "column tokens: expected words, found none"),
        ({"tokens": ["", " "]}, "column tokens: expected words, found none"),
    ],
)
def test_what_is_no_input_is_told(record: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row_of(record)


def test_choices_are_texts_of_their_row() -> None:
    row = row_of({"text": "the day", "choices": ["good", "not bad"]})
    assert [choice.strings() for choice in row.choices] == [["good"], ["not", "bad"]]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ("good", "column choices: expected a list of texts, found 'good'"),
        (["good", None], "column choices: expected a list of texts, found"),
        (["good"], "column choices: expected at least two texts, found 1"),
        (["good", " "], "column choices: expected texts, found an empty one at 1"),
    ],
)
def test_what_are_no_choices_is_told(choices: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row_of({"text": "a", "choices": choices})


def test_spans_that_come_with_a_row_count_its_words_or_its_characters() -> None:
    span = {"start": 1, "end": 3, "label": "x"}
    assert row_of({"text": "a b c", "spans": [span]}).spans == ((1, 2, "x"),)
    assert row_of({"tokens": ["a", "b", "c"], "spans": [span]}).spans == ((1, 3, "x"),)
    assert row_of({"text": "a b c", "spans": []}).spans == ()
    assert row_of({"text": "a b c", "spans": None}).spans is None
    with pytest.raises(ValueError, match="'x' of words 1 to 3 is empty or lies outside the row"):
        row_of({"tokens": ["a"], "spans": [span]})
