"""A long text in windows: nothing is lost, every word is in one window, and heads see one text."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.encoder_rows import ELSEWHERE
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.errors import RecipeError
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.reading import Texts
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.words import first_subwords
from tests.tiny import WORDS, tiny_encoder, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
TEXTS = st.lists(
    st.sampled_from(["good", "loveds", "cat", ",", "day", "ß", "newest"]), min_size=1, max_size=30
).map(" ".join)
LENGTHS = st.integers(8, 14)
STRIDES = st.integers(0, 4)


def windows(max_length: int, stride: int) -> RowEncoder:
    return RowEncoder(TOKENIZER, max_length, long_text="windows", stride=stride)


def encoded(encoder: RowEncoder, *records: dict[str, Any]) -> EncodedRows:
    return encoder.encode([encoder.row(record) for record in records])


@settings(deadline=None, max_examples=60)
@given(TEXTS, TEXTS | st.none(), LENGTHS, STRIDES)
def test_joined_windows_are_the_whole_text(
    text: str, pair: str | None, max_length: int, stride: int
) -> None:
    record = {"text": text} if pair is None else {"text": text, "text_pair": pair}
    rows = encoded(windows(max_length, stride), record)
    whole = encoded(RowEncoder(TOKENIZER, 10_000), record)
    assert rows.encoder_rows.lengths.max() <= max_length
    if rows.truncated[0]:  # a pair that leaves a window no room
        assert pair is not None
        return
    (ours,), (theirs,) = rows.encodings(), whole.encodings()
    # Of a word at the edge of two windows only the sub-words of one of them are kept.
    first = [one.token_words[first_subwords(one.token_words)] for one in (ours, theirs)]
    np.testing.assert_array_equal(*first)
    assert ELSEWHERE not in ours.token_words


@settings(deadline=None, max_examples=60)
@given(TEXTS, LENGTHS, STRIDES)
def test_a_word_is_where_it_has_most_context(text: str, max_length: int, stride: int) -> None:
    rows = encoded(windows(max_length, stride), {"text": text}).encoder_rows
    owner: dict[int, tuple[int, int, int]] = {}
    begin = 0
    parts = []
    for ids, words in zip(
        rows.columns["input_ids"].lists(), rows.columns["words"].lists(), strict=True
    ):
        inner = len(ids) - 2  # without [CLS] and [SEP]
        parts.append((begin, inner, words[1:-1]))
        begin += inner - stride
    full = encoded(RowEncoder(TOKENIZER, 10_000), {"text": text}).encodings()[0].token_words[1:-1]
    for window, (start, inner, _) in enumerate(parts):
        inside = full[start : start + inner]
        for word in np.unique(inside):
            at = np.flatnonzero(inside == word)
            key = (len(at), min(int(at[0]), inner - 1 - int(at[-1])), -window)
            owner[int(word)] = max(owner.get(int(word), key), key)
    for window, (_, _, words) in enumerate(parts):
        for word in np.unique(words[words >= 0]):
            assert -owner[int(word)][2] == window


@settings(deadline=None, max_examples=40)
@given(TEXTS, st.integers(0, 4))
def test_a_text_that_fits_is_encoded_as_when_long_ones_are_cut(text: str, stride: int) -> None:
    rows = encoded(windows(400, stride), {"text": text})
    cut = encoded(RowEncoder(TOKENIZER, 400), {"text": text})
    for name, column in cut.columns.items():
        np.testing.assert_array_equal(rows.columns[name].values, column.values)


def test_a_stride_without_room_for_new_tokens_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"stride: 5 sub-words .* max_length 8; use at most 4"):
        windows(8, 5)


def test_the_longer_text_of_a_pair_slides_past_the_other() -> None:
    rows = encoded(windows(10, 1), {"text": "good day", "text_pair": "the city works " * 4})
    names = [TOKENIZER.convert_ids_to_tokens(row) for row in rows.columns["input_ids"].lists()]
    assert len(names) > 1
    assert all(row[:4] == ["[CLS]", "good", "day", "[SEP]"] for row in names)


def states_of(lengths: list[int], seed: int) -> EncoderStates:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    hidden = torch.randn(len(lengths), max(lengths), 3, generator=generator)
    words = torch.where(mask, torch.arange(max(lengths)).expand_as(mask), -1)
    return EncoderStates(hidden, mask.long(), words)


def test_logits_of_texts_are_the_mean_of_their_windows() -> None:
    task = TextClassification(name="mood", labels=("a", "b"))
    states = states_of([3, 2, 4, 1], 0)
    sources = torch.tensor([0, 1, 1, 2])
    texts = Texts(states, sources, torch.full((3, 1), 0))

    def head(some: EncoderStates) -> torch.Tensor:
        return some.hidden_states[:, 0]

    every = states.hidden_states[:, 0]
    expected = torch.stack([every[0], every[1:3].mean(0), every[3]])
    torch.testing.assert_close(texts.logits(task, head, None), expected)
    torch.testing.assert_close(texts.logits(task, head, torch.tensor([1])), expected[[1]])
    many = texts.logits(task, head, torch.tensor([[0, 2], [1, -1]]))
    second = torch.stack([expected[1], torch.zeros(3)])
    torch.testing.assert_close(many, torch.stack([expected[[0, 2]], second]))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tiny_encoder(tmp_path_factory.mktemp("encoder"))
    torch.manual_seed(3)
    model = MultiTaskModel.from_encoder(
        folder,
        {
            "mood": {"type": "text_classification", "labels": ["bad", "good"]},
            "pos": {"type": "token_classification", "labels": ["N", "V"], "scheme": "none"},
        },
    )
    return Predictor(model.eval(), windows(12, 3), batch_size=4)


def test_every_word_of_a_long_text_is_tagged(predictor: Predictor) -> None:
    words = [word for word in WORDS if not word.startswith("##")][:40]
    (found,) = predictor.predict([{"text": " ".join(words)}])
    assert found["pos"]["words"] == words
    assert len(found["pos"]["tags"]) == len(words)


def test_company_changes_no_long_text(predictor: Predictor) -> None:
    texts = ["good day", "the city works and we love it " * 3, "bad", "old new " * 9]
    together = predictor.predict([{"text": text} for text in texts])
    for text, found in zip(texts, together, strict=True):
        (alone,) = predictor.predict([{"text": text}])
        assert alone["pos"] == found["pos"]
        assert alone["mood"]["score"] == pytest.approx(found["mood"]["score"], abs=1e-5)


def test_tokens_of_a_window_are_those_of_the_encoder(predictor: Predictor) -> None:
    """A word's logits are those that its own window, run by itself, gives it."""
    model, encoder = predictor.model, predictor.encoder
    rows = encoded(encoder, {"text": "the city works and we love it very never " * 3})
    batch = Collator(model.tasks, 0).rows(
        rows.encoder_rows, {"pos": np.array([0]), "mood": np.array([0])}
    )
    assert batch.joined is not None
    with torch.no_grad():
        logits = model(**batch).logits
        per_window = model(
            batch.input_ids, batch.attention_mask, batch.token_type_ids, words=batch.words
        ).logits
    words = rows.encodings()[0].token_words
    for place, word in enumerate(words):
        if word >= 0:
            window, inside = (batch.words == word).nonzero()[0].tolist()
            torch.testing.assert_close(logits["pos"][0, place], per_window["pos"][window, inside])
            break
    torch.testing.assert_close(logits["mood"][0], per_window["mood"].mean(0))


def test_joined_sub_words_are_those_of_the_whole_text_with_its_end_at_the_end() -> None:
    records = [{"text": "good cat , day " * n} for n in (1, 9, 4)]
    joined = encoded(windows(9, 2), *records).encoder_rows
    whole = encoded(RowEncoder(TOKENIZER, 10_000), *records).encoder_rows
    assert joined.windowed
    assert not whole.windowed
    for column in ("input_ids", "words"):
        ours, theirs = (rows.lined_up(column) for rows in (joined, whole))
        np.testing.assert_array_equal(ours.lengths, theirs.lengths)
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_a_window_without_room_is_told() -> None:
    with pytest.raises(RecipeError, match="max_length: a window of 3 sub-words has no room for"):
        windows(3, 0)
    with pytest.raises(RecipeError, match=r"stride: 9 .* use at most 8"):
        windows(12, 9)


def test_a_pair_beyond_what_the_encoder_takes_is_no_cause_for_warnings(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING, "transformers")  # which other tests quieten
    encoder = windows(32, 4)
    encoder.tokenizer.deprecation_warnings.clear()  # which it gives once only
    encoded(encoder, {"text": "good", "text_pair": "day " * 600})
    assert not caplog.records
    encoder.tokenizer("day " * 600)
    assert caplog.records  # a tokenizer called as it is does warn
