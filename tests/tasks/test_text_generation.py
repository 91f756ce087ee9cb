from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.decoder import GenerationHead, Writing
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.text_generation import Prefixed, TextGeneration
from mtl_nlp.tasks.views import PLAIN
from mtl_nlp.vocabulary import Vocabulary
from mtl_nlp.words import Row, split_words
from tests.tiny import VOCABULARY, WORDS, tiny_config, tiny_tokenizer

TASK = TextGeneration(name="german", prefix="to german: ")
ROW = Row(split_words("the good film"))
TOKENIZER = tiny_tokenizer(segments=False)
ENCODING = Encoding(ROW, np.array([-1, 0, 1, 2, -1]), Vocabulary(TOKENIZER))
CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")


def ids(*words: str) -> list[int]:
    return [VOCABULARY.index(word) for word in words]


def test_the_encoder_reads_the_prefix_before_the_text() -> None:
    (pair,) = TASK.view.texts(Row(ROW.words, split_words("a pair")))
    assert pair.pair is not None
    assert (pair.words.text, pair.pair.text) == ("to german: the good film", "a pair")
    (seen,) = TASK.view.texts(ROW)
    assert seen.words.text == "to german: the good film"
    assert seen.words.strings() == ["the", "good", "film"]
    encoded = RowEncoder(TOKENIZER).encode([ROW], TASK.view)
    plain = RowEncoder(TOKENIZER).encode([seen])
    assert encoded.rows == [ROW]
    columns = encoded.encoder_rows.columns
    assert (
        columns["input_ids"].lists()[0].tolist() == TOKENIZER("to german: the good film").input_ids
    )
    for name, column in plain.encoder_rows.columns.items():
        assert columns[name].values.tolist() == column.values.tolist()


def test_tasks_with_one_prefix_see_a_row_alike() -> None:
    assert TASK.view == replace(TASK, name="other").view == Prefixed("to german: ")
    assert hash(TASK.view) == hash(Prefixed("to german: "))
    assert TASK.view != replace(TASK, prefix="to english: ").view
    assert replace(TASK, prefix="").view == PLAIN


def test_a_target_is_its_sub_words_with_the_end() -> None:
    assert TASK.encode("a great movie", ENCODING) == [CLS, *ids("a", "great", "movie"), SEP]


def test_a_longer_target_is_cut_before_its_end() -> None:
    short = replace(TASK, max_new_tokens=4)
    assert short.encode("a great movie", ENCODING) == [CLS, *ids("a", "great"), SEP]


def test_a_target_in_a_language_begins_with_it() -> None:
    tokenizer = tiny_tokenizer(segments=False)
    tokenizer.add_special_tokens({"eos_token": "[SEP]", "extra_special_tokens": ["de_DE"]})
    encoding = replace(ENCODING, vocabulary=Vocabulary(tokenizer))
    german = replace(TASK, target_language="de_DE", max_new_tokens=4)
    language = tokenizer.convert_tokens_to_ids("de_DE")
    assert german.language_token(tokenizer) == language
    assert german.encode("a good", encoding) == [language, *ids("a", "good"), SEP]
    assert german.encode("a great movie", encoding) == [language, *ids("a", "great"), SEP]
    assert replace(german, first_token=language).writing == Writing(4, 1, language)
    unknown = replace(german, target_language="xx")
    with pytest.raises(RecipeError, match=r"german.target_language: .*'xx'; .*prefix"):
        unknown.encode("a", encoding)


def test_targets_are_padded_by_what_the_loss_ignores() -> None:
    labels = TASK.collate(Ragged.from_lists([[5, 6, 7], [8]]), seq_len=2)
    assert labels.tolist() == [[5, 6, 7], [8, -100, -100]]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 4),
    width=st.integers(1, 6),
    pad=st.integers(0, 3),
)
def test_the_loss_is_the_mean_over_sub_words_times_their_number(
    seed: int, rows: int, width: int, pad: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, width, 11, generator=generator)
    labels = torch.randint(0, 11, (rows, width), generator=generator)
    labels[:, 1:][torch.rand(rows, width - 1, generator=generator) < 0.3] = -100
    found = TASK.loss(logits, labels)
    wide = TASK.loss(F.pad(logits, (0, 0, 0, pad), value=9.0), F.pad(labels, (0, pad), value=-100))
    assert found.count == wide.count == TASK.count(labels) == (labels >= 0).sum()
    torch.testing.assert_close(found.total, wide.total)
    mean = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(found.total, mean * found.count)


def test_the_loss_is_taken_in_float32() -> None:
    logits, labels = torch.randn(2, 3, 11), torch.tensor([[1, 2, 3], [4, -100, -100]])
    found = TASK.loss(logits.bfloat16(), labels).total
    assert found.dtype == torch.float32
    assert found == TASK.loss(logits.bfloat16().float(), labels).total


@settings(deadline=None, max_examples=30)
@given(words=st.lists(st.sampled_from([w for w in WORDS if not w.startswith("##")]), min_size=1))
def test_what_is_encoded_is_decoded(words: list[str]) -> None:
    text = " ".join(words)
    labels = TASK.encode(text, ENCODING)
    logits = np.array([[*labels, -100, -100]], dtype=np.float32)
    (decoded,) = TASK.decode(logits, [ENCODING])
    assert decoded.value == text
    assert TASK.present(decoded, ROW) == {"generated_text": text}


def test_the_scores_are_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions = ["the good film is old", "a bad day", "they said it", ""]
    references = ["the good film was new", "a bad day", "he said that", "nothing"]
    scores = TASK.metrics(predictions, references)
    assert list(scores) == list(TASK.metric_names)
    chrf = sacrebleu.metrics.CHRF().corpus_score(predictions, [references]).score
    bleu = sacrebleu.metrics.BLEU().corpus_score(predictions, [references]).score
    assert scores == pytest.approx({"chrf": chrf / 100, "bleu": bleu / 100})
    perfect = TASK.metrics(references, references)
    assert perfect == pytest.approx({"chrf": 1.0, "bleu": 1.0})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "expected text, found 3; null marks"),
        ([], "expected text, found"),
        ("  ", "an empty one"),
    ],
)
def test_what_is_no_text_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.read({"target": value}, ROW)


def test_null_is_a_missing_target() -> None:
    assert TASK.read({"target": None}, ROW) is None
    assert TASK.read({"target": "ein Film"}, ROW) == "ein Film"
    assert list(TASK.occurrences("ein Film")) == []


def test_it_learns_nothing_and_refuses_labels() -> None:
    pytest.importorskip("sacrebleu")
    assert TASK.learn([{"target": "a"}], None) == TASK
    with pytest.raises(ValueError, match="a text has no label names"):
        replace(TASK, labels=("a",)).learn([], None)
    with pytest.raises(ValueError, match=r"found the classes up, down; .* text_classification"):
        TASK.learn([], ["up", "down"])


def test_only_an_encoder_with_a_decoder_will_do() -> None:
    assert isinstance(TASK.build_head(tiny_config("bart")), GenerationHead)
    with pytest.raises(ModelError, match=r"task 'german': .* found roberta, which has none"):
        TASK.build_head(tiny_config("roberta"))


def test_logits_are_not_of_labels() -> None:
    assert TASK.logit_names == ()
    assert TASK.count(torch.tensor([[1, -100], [2, 3]])) == Tensor([3])
