"""Token classification with a CRF, or with another pooling of sub-words than a word's first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp import train
from mtl_nlp.data.collator import Collator
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.crf import ANY
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.schemes import illegal_positions
from mtl_nlp.tasks.token_classification import TokenClassification
from mtl_nlp.words import Row, join_words
from tests.runs import steps_of, tiny_recipe
from tests.tasks.test_token_classification import encodings, tagged
from tests.tiny import tiny_config, tiny_tokenizer

OWN: list[dict[str, str]] = [
    {"decoder": "crf"},
    {"decoder": "crf", "pooling": "mean"},
    {"pooling": "last"},
    {"pooling": "mean"},
]
brief = settings(deadline=None, max_examples=60)
own = pytest.mark.parametrize("options", OWN, ids=lambda o: "-".join(o.values()))
schemes = pytest.mark.parametrize("scheme", ["bio", "bioes"])


def _task(**fields: Any) -> TokenClassification:
    return TokenClassification(**{"name": "ner", "labels": ("person", "place"), **fields})


def _logits(task: TokenClassification, ids: list[int]) -> np.ndarray:
    """Logits (1, …) that favour these tags and, with a CRF, any neighbours alike."""
    tags = len(task.logit_names)
    logits = 9 * np.eye(tags, dtype=np.float32)[np.maximum(ids, 0)]
    logits[np.array(ids) < 0] = 0.0
    moves = np.zeros((tags + 2 if task.decoder == "crf" else 0, tags), dtype=np.float32)
    return np.concatenate([logits, moves])[None]


def _random(task: TokenClassification, encoding: Encoding, seed: int) -> np.ndarray:
    shape = _logits(task, [0] * len(encoding.token_words)).shape
    return np.random.default_rng(seed).normal(scale=9, size=shape).astype(np.float32)


# Encoding, loss and decoding


@own
@schemes
@brief
@given(case=tagged())
def test_what_is_encoded_is_decoded(
    options: dict[str, str], scheme: str, case: tuple[Encoding, list[str]]
) -> None:
    encoding, tags = case
    if not set(encoding.token_words) >= set(range(len(tags))):
        return  # a word without a sub-word is O, whatever it was
    task = _task(scheme=scheme, **options)
    (decoded,) = task.decode(_logits(task, task.encode(tags, encoding)), [encoding])
    assert decoded.value == tags


@own
@schemes
@brief
@given(encoding=encodings(), seed=st.integers(0, 2**32 - 1))
def test_decoded_spans_are_legal_and_unseen_words_outside(
    options: dict[str, str], scheme: str, encoding: Encoding, seed: int
) -> None:
    task = _task(scheme=scheme, **options)
    (decoded,) = task.decode(_random(task, encoding, seed), [encoding])
    assert len(decoded.value) == len(decoded.scores) == len(encoding.row.words)
    assert illegal_positions(decoded.value, "bio") == []
    assert ((decoded.scores >= 0) & (decoded.scores <= 1)).all()
    unseen = set(range(len(encoding.row.words))) - set(encoding.token_words.tolist())
    assert all(decoded.value[word] == "O" for word in unseen)


@schemes
@brief
@given(case=tagged(), seed=st.integers(0, 2**32 - 1))
def test_what_is_encoded_for_a_crf_is_always_possible(
    scheme: str, case: tuple[Encoding, list[str]], seed: int
) -> None:
    encoding, tags = case
    for labels in (("person", "place"), ("place",)):  # a type that training lacks is unknown
        task = _task(scheme=scheme, labels=labels, decoder="crf")
        ids = torch.tensor([task.encode(tags, encoding)])
        loss = task.loss(torch.from_numpy(_random(task, encoding, seed)), ids)
        assert -1e-3 <= loss.total.item() < 1e4


@own
@schemes
@brief
@given(case=tagged())
def test_every_decoder_counts_the_same_words(
    options: dict[str, str], scheme: str, case: tuple[Encoding, list[str]]
) -> None:
    encoding, tags = case
    counts = [
        task.count(torch.tensor(task.encode(tags, encoding))).item()
        for task in (_task(scheme=scheme), _task(scheme=scheme, **options))
    ]
    within = [word for word in set(encoding.token_words.tolist()) if word >= 0]
    beyond = [word for word in within if word >= len(encoding.token_words)]
    assert counts == [len(within), len(within) - len(beyond)]


def test_labels_stand_at_the_words_numbers() -> None:
    encoding = Encoding(Row(join_words("abcde")), np.array([-1, 0, 0, 1, 3, -1]))
    tags = ["B-person", "O", "B-place", "I-place", "I-place"]
    linear, crf = _task(pooling="mean"), _task(decoder="crf")
    assert linear.encode(tags, encoding) == [1, 0, -100, 4, -100, -100]
    assert crf.encode(tags, encoding) == [1, 0, ANY, 4, -100, -100]
    assert crf.collate(Ragged.from_lists([[1, ANY], [0]]), 3).tolist() == [
        [1, ANY, -100],
        [0, -100, -100],
    ]


def test_a_span_that_is_cut_ends_with_the_row_for_a_crf() -> None:
    encoding = Encoding(Row(join_words("abcd")), np.array([-1, 0, 1, 2, -1]))
    task = _task(scheme="bioes", decoder="crf")
    ids = task.encode(["O", "B-place", "I-place", "I-place"], encoding)
    assert [task.logit_names[i] for i in ids if i >= 0] == ["O", "B-place", "E-place"]
    ids = task.encode(["O", "O", "B-place", "I-place"], encoding)
    assert [task.logit_names[i] for i in ids if i >= 0] == ["O", "O", "S-place"]


def test_neighbours_sway_a_crf_where_a_linear_head_errs() -> None:
    task = _task(labels=("N", "V"), scheme="none", decoder="crf", commonest="N")
    encoding = Encoding(Row(join_words("abc")), np.array([0, 1, 1]))
    logits = np.zeros((1, 3 + 4, 2), dtype=np.float32)
    logits[0, 0], logits[0, 1] = (2.0, 0.0), (0.5, 0.0)
    logits[0, 3] = (0.0, 3.0)  # V after N
    (decoded,) = task.decode(logits, [encoding])
    assert decoded.value == ["N", "V", "N"]
    scores = {  # of N and V on the first two words
        (0, 0): 2.5, (0, 1): 2.0 + 3.0, (1, 0): 0.5, (1, 1): 0.0,
    }  # fmt: skip
    whole = sum(np.exp(score) for score in scores.values())
    expected = [(np.exp(5.0) + np.exp(2.5)) / whole, (np.exp(5.0) + np.exp(0.0)) / whole, 1.0]
    np.testing.assert_allclose(decoded.scores, expected, rtol=1e-6)


# The model


def _model(*options: dict[str, str]) -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config("bert")))
    for number, one in enumerate(options):
        settings = {"type": "token_classification", "labels": ["x", "y"], **one}
        model.add_task(f"t{number}", settings)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value), alpha=0.3)
    return model.eval()


def _batch(*texts: str) -> dict[str, Any]:
    encoder = RowEncoder(tiny_tokenizer())
    encoded = encoder.encode([encoder.row({"text": text}) for text in texts])
    return dict(Collator({}, 0).rows(encoded.encoder_rows, {}))


def test_every_head_comes_back_from_a_folder(tmp_path: Path) -> None:
    saved = _model(*OWN, {})
    saved.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert list(loaded.tasks.items()) == list(saved.tasks.items())
    batch = _batch("the movies loved", "a company")
    for name, logits in saved(**batch).logits.items():
        assert torch.equal(loaded(**batch).logits[name], logits), name


def test_a_row_alone_has_what_it_has_in_company() -> None:
    model, texts = _model(*OWN), ["the loved movies in x-ray", "a", "he visited the city by it"]
    predictor = Predictor(model, RowEncoder(tiny_tokenizer()))
    records = [{"text": text} for text in texts]
    together = predictor.predict(records)
    for record, expected in zip(records, together, strict=True):
        (alone,) = predictor.predict([record])
        for name, entities in expected.items():
            assert [{**one, "score": 0} for one in alone[name]] == [
                {**one, "score": 0} for one in entities
            ]
            for one, other in zip(alone[name], entities, strict=True):
                assert one["score"] == pytest.approx(other["score"], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"decoder": "crf"}, "has decoder: crf, so it is not exported"),
        ({"pooling": "mean"}, "has pooling: mean, so it is not exported"),
        ({"decoder": "crf", "pooling": "last"}, "has decoder: crf and pooling: last, so it is"),
    ],
)
def test_export_as_a_stock_model_is_refused_with_the_reason(
    options: dict[str, str], reason: str, tmp_path: Path
) -> None:
    model = _model(options)
    assert model.tasks["t0"].stock is False
    with pytest.raises(ModelError, match=f"task 't0': no head of stock transformers {reason}"):
        export_transformers(model, "t0", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_by_default_the_head_is_the_architectures_own(tmp_path: Path) -> None:
    model = _model({"decoder": "linear", "pooling": "first"})
    assert model.tasks["t0"].stock is True
    assert export_transformers(model, "t0", tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "cfr"}, r"tasks.t.decoder: should be 'linear' or 'crf', found 'cfr'"),
        ({"pooling": "max"}, r"tasks.t.pooling: should be 'first', 'last' or 'mean', found 'max'"),
        ({"decode": "crf"}, r"tasks.t.decode: unknown key; did you mean 'decoder'\?"),
    ],
)
def test_a_mistaken_option_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_task("t", "token_classification", settings, where="tasks.t")


def test_a_crf_is_trained_from_end_to_end(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        tasks__ner__decoder="crf",
        tasks__ner__pooling="mean",
        training__max_steps=30,
        training__learning_rate=1e-2,
        evaluation__every=30,
    )
    run = train(recipe)
    losses = [step["losses"]["ner"] for step in steps_of(run.path)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert run.metrics["test"]["ner"]["f1"] > 0.5
