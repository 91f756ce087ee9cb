"""Records become rows, and rows sub-words that know their words."""

from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from mtl_nlp.data.encoding import RowEncoder, input_record
from mtl_nlp.errors import ModelError
from mtl_nlp.recipe import DatasetSpec
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> RowEncoder:
    return RowEncoder(tokenizer, max_length=8)


def test_columns_are_known_by_our_names() -> None:
    spec = DatasetSpec(path="org/d", text="premise", text_pair="hypothesis")
    record = {"premise": "a", "hypothesis": "b", "other": 3}
    assert input_record(record, spec) == {"text": "a", "text_pair": "b"}


def test_a_text_a_pair_and_words_become_rows(encoder: RowEncoder) -> None:
    assert encoder.row({"text": "good day, city"}).words.strings() == ["good", "day", ",", "city"]
    pair = encoder.row({"text": "good", "text_pair": "bad day"})
    assert pair.pair is not None
    assert (len(pair), pair.pair.strings()) == (3, ["bad", "day"])
    assert encoder.row({"tokens": ["good day", ",", ""]}).words.text == "good day , "


def test_words_may_be_joined_by_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    row = RowEncoder(tokenizer, join="").row({"tokens": ["go", "od"]})
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
def test_what_is_no_input_is_told(encoder: RowEncoder, record: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder.row(record)


def test_rows_encoded_together_are_encoded_as_alone(encoder: RowEncoder) -> None:
    rows = [encoder.row({"text": text}) for text in ("good", "the city works , he said", "a b")]
    together = encoder.encode(rows)
    for i, row in enumerate(rows):
        alone = encoder.encode([row])
        for name, column in together.columns.items():
            assert column.lists()[i].tolist() == alone.columns[name].lists()[0].tolist()
        assert together.truncated[i] == alone.truncated[0]
    assert together.columns.keys() == {"input_ids", "token_type_ids", "words"}


def test_every_sub_word_knows_its_word(encoder: RowEncoder) -> None:
    encoded = encoder.encode([encoder.row({"text": "loved, cats"})])
    ids = encoded.columns["input_ids"].values
    names = encoder.tokenizer.convert_ids_to_tokens(ids)
    assert names == ["[CLS]", "loved", ",", "c", "##a", "##t", "##s", "[SEP]"]
    assert encoded.encodings()[0].token_words.tolist() == [-1, 0, 1, 2, 2, 2, 2, -1]


def test_words_of_a_pair_are_numbered_on(encoder: RowEncoder) -> None:
    rows = [encoder.row({"text": "good day", "text_pair": pair}) for pair in ("bad", "the city")]
    words, segments = (encoder.encode(rows).columns[n] for n in ("words", "token_type_ids"))
    assert [row.tolist() for row in words.lists()] == [
        [-1, 0, 1, -1, 2, -1],
        [-1, 0, 1, -1, 2, 3, -1],
    ]
    assert segments.lists()[1].tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_long_rows_are_cut_and_marked(encoder: RowEncoder) -> None:
    rows = [encoder.row({"text": "the " * n}) for n in (6, 7, 30)]
    encoded = encoder.encode(rows)
    assert encoded.lengths.tolist() == [8, 8, 8]
    assert encoded.truncated.tolist() == [False, True, True]
    assert encoder.full_lengths(rows).tolist() == [8, 9, 32]


def test_full_lengths_count_both_texts_of_a_pair(encoder: RowEncoder) -> None:
    row = encoder.row({"text": "the " * 9, "text_pair": "a " * 4})
    assert encoder.full_lengths([row]).tolist() == [16]


def test_no_rows_are_no_columns_of_nothing(encoder: RowEncoder) -> None:
    encoded = encoder.encode([])
    assert [len(column) for column in encoded.columns.values()] == [0, 0, 0]
    assert encoded.encodings() == []
    assert encoded.lengths.tolist() == encoded.truncated.tolist() == []


def test_pairs_and_single_texts_keep_their_order(encoder: RowEncoder) -> None:
    records = [{"text": "a"}, {"text": "a", "text_pair": "b"}, {"text": "the city"}]
    encoded = encoder.encode([encoder.row(record) for record in records])
    assert encoded.lengths.tolist() == [3, 5, 4]
    assert [one.row.pair is None for one in encoded.encodings()] == [True, False, True]
    assert [one.token_words.tolist() for one in encoded.encodings()] == [
        [-1, 0, -1],
        [-1, 0, -1, 1, -1],
        [-1, 0, 1, -1],
    ]


def test_choices_are_texts_of_their_row(encoder: RowEncoder) -> None:
    row = encoder.row({"text": "the day", "choices": ["good", "not bad"]})
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
def test_what_are_no_choices_is_told(encoder: RowEncoder, choices: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder.row({"text": "a", "choices": choices})


def test_segments_come_only_where_the_encoder_has_them() -> None:
    encoder = RowEncoder(tiny_tokenizer(segments=False))
    assert encoder.encode([encoder.row({"text": "a"})]).columns.keys() == {"input_ids", "words"}


def test_the_fingerprint_is_of_what_decides_and_not_of_what_was_called_last() -> None:
    tokenizer = tiny_tokenizer()
    before = RowEncoder(tokenizer).fingerprint
    encoder = RowEncoder(tokenizer)
    encoder.encode([encoder.row({"text": "good"})])
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=5)
    assert RowEncoder(tokenizer).fingerprint == RowEncoder(tiny_tokenizer()).fingerprint == before
    others = [
        RowEncoder(tokenizer, max_length=9),
        RowEncoder(tokenizer, join=""),
        RowEncoder(tokenizer, word_pattern=r"\S+"),
        RowEncoder(tiny_tokenizer(segments=False)),
    ]
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens("citywide")
    assert len({before, *(one.fingerprint for one in [*others, RowEncoder(tokenizer)])}) == 6


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class SlowTokenizer(PreTrainedTokenizerFast):
        is_fast = False

    slow = SlowTokenizer(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    with pytest.raises(ModelError, match="SlowTokenizer gives no character offsets"):
        RowEncoder(slow)


def test_lengths_are_of_each_row(encoder: RowEncoder) -> None:
    encoded = encoder.encode([encoder.row({"text": text}) for text in ("a", "a b c")])
    np.testing.assert_array_equal(encoded.lengths, [3, 5])


def test_spans_that_come_with_a_row_count_its_words_or_its_characters(encoder: RowEncoder) -> None:
    span = {"start": 1, "end": 3, "label": "x"}
    assert encoder.row({"text": "a b c", "spans": [span]}).spans == ((1, 2, "x"),)
    assert encoder.row({"tokens": ["a", "b", "c"], "spans": [span]}).spans == ((1, 3, "x"),)
    assert encoder.row({"text": "a b c", "spans": []}).spans == ()
    assert encoder.row({"text": "a b c", "spans": None}).spans is None
    with pytest.raises(ValueError, match="'x' of words 1 to 3 is empty or lies outside the row"):
        encoder.row({"tokens": ["a"], "spans": [span]})
