"""Encoder rows in drawn views keep what stood there before, in the order of the texts."""

import numpy as np
import pytest

from mtl_nlp.data.drawing import asked_for, drawn, drawn_for_evaluation, shown, without_originals
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.tasks.masked_language_modeling import MaskedView
from mtl_nlp.tasks.views import NOT_ASKED, PLAIN
from tests.runs import FILLERS
from tests.tiny import tiny_tokenizer

VIEW = MaskedView(0.3)
TEXTS = [" ".join(FILLERS), "the film", "unbelievable music and companies", " ".join(FILLERS[9:])]


def encoded(long_text: str) -> EncodedRows:
    encoder = RowEncoder(tiny_tokenizer(), 24, long_text=long_text, stride=6)  # type: ignore[arg-type]
    return encoder.encode([encoder.row({"text": text}) for text in TEXTS], VIEW)


@pytest.mark.parametrize("long_text", ["cut", "windows"])
def test_labels_are_what_is_hidden_text_by_text(long_text: str) -> None:
    plain = encoded(long_text)
    rows = drawn(plain.encoder_rows, VIEW, 5, np.arange(len(TEXTS)), plain.vocabulary)
    asked, words, originals = asked_for(rows), rows.token_words(), rows.lined_up("originals")
    assert len(asked) == len(TEXTS)
    for labels, numbers, ids in zip(asked.lists(), words.lists(), originals.lists(), strict=True):
        assert labels.tolist() == ids[numbers >= 0].tolist()
        assert len(labels)
    before = plain.encoder_rows.lined_up("input_ids")
    assert before.values.tolist() == originals.values.tolist()
    some = rows.take(np.array([3, 1]))
    assert asked_for(some).values.tolist() == asked.take(np.array([3, 1])).values.tolist()
    assert without_originals(rows).columns.keys() == plain.encoder_rows.columns.keys()


def test_a_plain_view_is_left_as_it_is() -> None:
    plain = encoded("cut")
    assert drawn_for_evaluation(plain, PLAIN) is plain
    assert shown(plain, PLAIN) is plain


def test_a_user_is_shown_the_text_as_it_is_and_asked_for_its_masks() -> None:
    encoder = RowEncoder(tiny_tokenizer())
    plain = encoder.encode([encoder.row({"text": "the [MASK] was good"})], VIEW)
    rows = shown(plain, VIEW).encoder_rows
    ids = plain.encoder_rows.columns["input_ids"]
    assert rows.columns["input_ids"].values.tolist() == ids.values.tolist()
    expected = [-1, NOT_ASKED, 1, NOT_ASKED, NOT_ASKED, -1]
    assert rows.columns["words"].values.tolist() == expected
    assert asked_for(rows).values.tolist() == [4]
