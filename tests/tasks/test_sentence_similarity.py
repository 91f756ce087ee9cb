"""How alike two texts are: read, embedded, lost, decoded, shown and scored."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.sentence_similarity import SentenceSimilarity, cosent_loss, in_batch_loss
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

PAIR = Row(split_words("a good day"), split_words("a great day"))
SINGLE = Row(split_words("a good day"))
WORDS = np.array([-1, 0, 1, 2, -1])
IN_BATCH = SentenceSimilarity(name="near", criterion="in_batch")
SEEDS = st.integers(0, 10_000)


def learn(*values: Any, **fields: Any) -> SentenceSimilarity:
    task = SentenceSimilarity(name="alike", **fields)
    return task.learn([{"label": value} for value in values], None)


def encodings(rows: list[Row]) -> list[Encoding]:
    return [Encoding(row, WORDS) for row in rows]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_the_encoder_reads_each_text_by_itself() -> None:
    view = IN_BATCH.view
    assert [(one.words.text, one.pair) for one in view.texts(PAIR)] == [
        ("a good day", None),
        ("a great day", None),
    ]
    assert [one.words.text for one in view.texts(SINGLE)] == ["a good day"]
    assert view.many
    assert view == SentenceSimilarity(name="other").view
    assert IN_BATCH.accepts(PAIR)
    assert IN_BATCH.accepts(SINGLE)


def test_the_range_of_scores_is_learned_and_saved() -> None:
    task = learn(1, None, 2.5, 5)
    assert (task.low, task.high, task.criterion) == (1.0, 5.0, "cosent")
    saved = json.loads(json.dumps(saved_form(task)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json") == task


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1, 3, 5), (0.0, 0.5, 1.0)), ((-1, 0, 1), (-1.0, 0.0, 1.0)), ((-2, 0, 6), (-1, -0.5, 1))],
)
def test_scores_are_laid_on_the_range_of_cosines(
    values: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    task = learn(*values)
    found = [task.encode(value, Encoding(PAIR, WORDS)) for value in values]
    assert task.collate(np.array(found), 9).tolist() == pytest.approx(expected)


def test_without_a_label_column_rows_are_compared() -> None:
    task = SentenceSimilarity(name="near").learn([], None)
    assert task == IN_BATCH == SentenceSimilarity(name="near").learn([{}, {}], None)
    assert task.read({}, PAIR) == "a great day"
    assert task.encode("a great day", Encoding(PAIR, WORDS)) == 1.0
    assert task.metric_names == ("accuracy", "mrr")
    assert SentenceSimilarity(name="t").metric_names == ("spearman", "pearson")


@pytest.mark.parametrize(
    ("criterion", "whole"), [("cosent", True), ("in_batch", True), ("mse", False)]
)
def test_losses_over_pairs_of_rows_need_the_whole_step(criterion: Any, whole: bool) -> None:
    assert SentenceSimilarity(name="t", criterion=criterion).whole_step is whole


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3.5", "expected a number, found '3.5'"),
        (True, "expected a number, found True"),
        (float("nan"), "expected a finite number, found nan; null marks a missing one"),
    ],
)
def test_a_row_that_is_no_score_is_told(value: Any, message: str) -> None:
    for ask in (learn, lambda value: learn(1, 2).read({"label": value}, PAIR)):
        with pytest.raises(ValueError, match=message):
            ask(value)


@pytest.mark.parametrize(
    ("fields", "rows", "classes", "message"),
    [
        ({}, [{"label": 3}, {"label": 3.0}], None, r"two different scores in train, found \[3.0\]"),
        ({}, [{"label": None}], None, r"two different scores in train, found \[\]"),
        ({}, [{"label": "a"}], ["a", "b"], "expected numbers, found the classes a, b"),
        ({"labels": ("a",)}, [], None, "labels: a score has no label names; leave them out"),
        ({"criterion": "mse"}, [], None, "criterion: mse needs scores; name their column, label"),
        ({"criterion": "in_batch"}, [{"label": 1}], None, "reads no scores; leave out label, or"),
    ],
)
def test_what_teaches_nothing_is_told(
    fields: dict[str, Any], rows: list[Any], classes: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SentenceSimilarity(name="t", **fields).learn(rows, classes)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 7), SEEDS)
def test_cosent_is_its_formula(pairs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cosines, scores = random.uniform(-1, 1, pairs), random.integers(0, 3, pairs) / 2  # with ties
    total = 1.0
    for i in range(pairs):
        for j in range(pairs):
            if scores[i] < scores[j]:
                total += math.exp(20 * (cosines[i] - cosines[j]))
    found = cosent_loss(torch.from_numpy(cosines), torch.from_numpy(scores))
    assert float(found) == pytest.approx(math.log(total), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), SEEDS)
def test_in_batch_negatives_are_its_formula(pairs: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, pairs, 4))
    total = 0.0
    for i in range(pairs):
        scores = [20 * cosine(first[i], other) for other in second]
        total += math.log(sum(math.exp(score - scores[i]) for score in scores))
    found = in_batch_loss(torch.from_numpy(first), torch.from_numpy(second))
    assert float(found) == pytest.approx(total, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["cosent", "mse", "in_batch"]), st.integers(1, 6), SEEDS)
def test_the_mean_of_a_step_is_the_loss_of_its_labelled_pairs(
    criterion: Any, pairs: int, seed: int
) -> None:
    torch.manual_seed(seed)
    task = SentenceSimilarity(name="t", criterion=criterion)
    logits = torch.randn(pairs + 2, 2, 4).bfloat16().requires_grad_()
    labels = torch.rand(pairs + 2)
    labels[[0, pairs]] = float("nan")
    known = ~labels.isnan()
    first, second = logits[known].detach().double().unbind(1)
    cosines, scores = torch.cosine_similarity(first, second), labels[known].double()
    expected = {
        "cosent": lambda: cosent_loss(cosines, scores),
        "mse": lambda: (cosines - scores).square().mean(),
        "in_batch": lambda: in_batch_loss(first, second) / pairs,
    }[criterion]()
    loss = task.loss(logits, labels)
    assert loss.count == task.count(labels) == pairs
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close((loss.total / loss.count).double(), expected, rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[~known] == 0).all()


@pytest.mark.parametrize("criterion", ["cosent", "mse", "in_batch"])
def test_autocast_leaves_the_loss_in_float32(criterion: Any) -> None:
    task = SentenceSimilarity(name="t", criterion=criterion)
    logits, labels = torch.randn(8, 2, 16), torch.rand(8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = task.loss(logits, labels).total
    torch.testing.assert_close(inside, task.loss(logits, labels).total)


def test_an_order_that_is_right_costs_little_and_a_wrong_one_much() -> None:
    scores = torch.tensor([0.0, 0.5, 1.0])
    right, wrong = cosent_loss(scores, scores), cosent_loss(-scores, scores)
    assert right < 1e-3
    assert wrong == pytest.approx(20.0, abs=1e-3)


def test_a_pair_has_a_cosine_and_a_single_text_an_embedding() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)
    logits[1, 1] = 0.0
    rows = [PAIR, SINGLE, PAIR]
    for criterion in ("cosent", "in_batch"):
        task = SentenceSimilarity(name="t", criterion=criterion)
        shown = [
            task.present(one, row)
            for one, row in zip(task.decode(logits, encodings(rows)), rows, strict=True)
        ]
        assert shown[0] == {"score": pytest.approx(cosine(*logits[0]), abs=1e-6)}
        assert shown[2] == {"score": pytest.approx(cosine(*logits[2]), abs=1e-6)}
        unit = logits[1, 0] / np.linalg.norm(logits[1, 0])
        assert shown[1] == {"embedding": pytest.approx(unit.tolist(), abs=1e-6)}
        json.dumps(shown)
    as_it_is = SentenceSimilarity(name="t", normalize=False)
    alone = as_it_is.decode(logits[1:2, :1], encodings([SINGLE]))[0]
    assert as_it_is.present(alone, SINGLE) == {"embedding": logits[1, 0].tolist()}


def test_scores_are_correlated_with_cosines() -> None:
    cosines, right = [0.1, 0.7, 0.4, 0.9], [0.0, 3.0, 4.0, 5.0]
    scores = SentenceSimilarity(name="t").metrics(cosines, right)
    assert tuple(scores) == ("spearman", "pearson")
    assert scores["spearman"] == pytest.approx(spearmanr(cosines, right).statistic)
    assert scores["pearson"] == pytest.approx(pearsonr(cosines, right).statistic)


def test_without_scores_each_text_looks_for_its_pair_among_the_different_ones() -> None:
    second = np.eye(3)[[0, 1, 2, 0]]
    first = np.array([[3, 1, 0], [1, 0, 2], [0, 1, 2], [2, 3, 1]])  # ranks 1, 3, 1, 2
    values = list(np.stack([first, second], axis=1).astype(np.float32))
    scores = IN_BATCH.metrics(values, ["x", "y", "z", "x"])
    assert tuple(scores) == IN_BATCH.metric_names
    assert scores == {
        "accuracy": pytest.approx(2 / 4),
        "mrr": pytest.approx((1 + 1 / 3 + 1 + 1 / 2) / 4),
    }


def test_the_head_has_nothing_to_learn_and_no_stock_class() -> None:
    task = SentenceSimilarity(name="t", pooling="cls")
    head = task.build_head(tiny_config())
    assert head.pooling == "cls"
    assert task.logit_names == ()
    assert "model.encoder.save_pretrained" in task.own_head
    assert list(task.occurrences(0.5)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "triplet"}, r"tasks.t.criterion: should be 'cosent', 'mse' or 'in_b"),
        ({"pooling": "max"}, r"tasks.t.pooling: should be 'mean' or 'cls', found 'max'"),
    ],
)
def test_options_that_cannot_be_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_task("t", "sentence_similarity", settings, where="tasks.t")
