"""Rows become sub-words that know their words."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import ModelError
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> RowEncoder:
    return RowEncoder(tokenizer, max_length=8)


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
