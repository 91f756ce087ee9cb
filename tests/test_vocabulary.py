"""What task types may ask of a tokenizer."""

import pytest

from mtl_nlp.errors import ModelError
from mtl_nlp.vocabulary import Vocabulary
from tests.tiny import SPECIAL, VOCABULARY, tiny_tokenizer


def test_special_sub_words_are_told_from_ordinary_ones() -> None:
    vocabulary = Vocabulary(tiny_tokenizer())
    assert [VOCABULARY[i] for i in vocabulary.ordinary] == VOCABULARY[len(SPECIAL) :]
    assert (vocabulary.mask, vocabulary.mask_id) == ("[MASK]", 4)


def test_special_sub_words_are_written_where_they_are_wanted() -> None:
    vocabulary = Vocabulary(tiny_tokenizer())
    ids = [2, *vocabulary.ids("the film"), 4, 3]
    assert vocabulary.text(ids) == "the film"
    assert vocabulary.text(ids, special=True) == "[CLS] the film [MASK] [SEP]"


def test_without_a_mask_token_nothing_can_be_hidden() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ModelError, match=r"has no mask token, .* use an encoder that was"):
        _ = Vocabulary(tokenizer).mask_id
