"""Token classification under class weights, smoothing and focal loss."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from mtl_nlp import train
from mtl_nlp.errors import RecipeError
from mtl_nlp.model.loading import load_model
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.token_classification import TokenClassification
from tests.runs import steps_of, tiny_recipe

TYPES = ("person", "place")
ROWS = [
    {"tags": ["B-person", "I-person", "I-person", "O"]},
    {"tags": None},
    {"tags": ["O", "S-place", "O", "O"]},
]


def _task(**fields: Any) -> TokenClassification:
    task = build_task("ner", "token_classification", {"labels": TYPES, **fields}, where="tasks.ner")
    assert isinstance(task, TokenClassification)
    return task


def slow_loss(
    logits: np.ndarray, ids: np.ndarray, weights: dict[int, float], smoothing: float, focal: float
) -> float:
    """Word by word: Σ_c target_c · w_c · -log p_c, times (1 - p_label) ** focal."""
    total = 0.0
    for row, row_ids in zip(logits, ids, strict=True):
        for scores, label in zip(row.astype(np.float64), row_ids, strict=True):
            if label == -100:
                continue
            p = np.exp(scores - scores.max())
            p /= p.sum()
            loss = 0.0
            for c in range(len(p)):
                target = smoothing / len(p) + (1 - smoothing) * (c == label)
                loss -= target * weights.get(c, 1.0) * np.log(p[c])
            total += loss * (1 - p[label]) ** focal
    return total


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([{}, {"person": 2.5}, {"O": 0.25, "place": 3.0}]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from(["bio", "bioes", "none"]),
    st.sampled_from(["first", "mean"]),
)
def test_the_loss_is_the_slow_formula(
    seed: int,
    weights: dict[str, float],
    smoothing: float,
    focal: float,
    scheme: str,
    pooling: str,
) -> None:
    labels = (*TYPES, "O") if scheme == "none" else TYPES
    options = {"class_weights": weights, "label_smoothing": smoothing, "focal": focal}
    task = _task(labels=labels, scheme=scheme, pooling=pooling, **options)
    task = task.learn([{"tags": ["O"]}], None)
    source, size = np.random.default_rng(seed), len(task.logit_names)
    logits = source.normal(size=(2, 4, size)).astype(np.float32) * 3
    ids = source.choice([-100, *range(size)], size=(2, 4))
    by_id = {
        i: weight
        for i, tag in enumerate(task.logit_names)
        for name, weight in weights.items()
        if tag == name or tag[2:] == name
    }
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(ids))
    expected = slow_loss(logits, ids, by_id, smoothing, focal)
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-4)
    assert loss.count.item() == (ids != -100).sum()


@pytest.mark.parametrize("given_labels", [(), TYPES])
@pytest.mark.parametrize(
    ("scheme", "rows"),
    [
        ("bio", [["B-person", "I-person", "I-person", "O"], ["O", "B-place", "O", "O"]]),
        ("bioes", [["B-person", "I-person", "E-person", "O"], ["O", "S-place", "O", "O"]]),
    ],
)
def test_balanced_weights_are_those_of_the_words_tags(
    scheme: str, rows: list[list[str]], given_labels: tuple[str, ...]
) -> None:
    task = _task(labels=given_labels, scheme=scheme, class_weights="balanced").learn(ROWS, None)
    assert task.labels == TYPES
    words = [tag for row in rows for tag in row]
    present = np.unique(words)
    expected = dict(
        zip(present, compute_class_weight("balanced", classes=present, y=words), strict=True)
    )
    assert dict(zip(task.logit_names, task.label_weights, strict=True)) == pytest.approx(
        {tag: expected.get(tag, 1.0) for tag in task.logit_names}
    )


def test_balanced_weights_without_a_scheme_are_of_labelled_words() -> None:
    rows = [{"tags": ["N", "V", None, "N"]}, {"tags": ["N"]}]
    task = _task(labels=(), scheme="none", class_weights="balanced").learn(rows, None)
    assert task.label_weights == pytest.approx((4 / (2 * 3), 4 / (2 * 1)))
    assert task.commonest == "N"


def test_learned_weights_are_saved() -> None:
    task = _task(class_weights="balanced").learn(ROWS, None)
    saved = json.loads(json.dumps(saved_form(task)))
    loaded: Task = build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json")
    assert loaded == task


def test_all_tags_of_a_type_weigh_what_the_type_weighs() -> None:
    task = _task(scheme="bioes", class_weights={"place": 2.0, "O": 0.5}).learn([], None)
    weights = dict(zip(task.logit_names, task.label_weights, strict=True))
    assert {tag: weight for tag, weight in weights.items() if weight != 1} == {
        "O": 0.5,
        **{f"{prefix}-place": 2.0 for prefix in "BIES"},
    }


@pytest.mark.parametrize(
    ("class_weights", "row", "message"),
    [
        ({"B-place": 2.0}, ROWS[0], r"found 'B-place'; the labels are O, person, place"),
        ("balanced", {"entities": []}, r"balanced counts the words .*give the weights as \{type"),
        ("balanced", {"tags": "O"}, "expected a list of tags, one per word, found 'O'"),
    ],
)
def test_weights_that_cannot_be_are_told(class_weights: Any, row: Any, message: str) -> None:
    with pytest.raises((ValueError, RecipeError), match=message):
        _task(class_weights=class_weights).learn([row], None)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"class_weights": "balanced"}, "class_weights"),
        ({"class_weights": {"place": 2.0}, "focal": 1.0}, "class_weights and focal"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
    ],
)
def test_a_crf_has_no_loss_of_single_words(options: dict[str, Any], named: str) -> None:
    message = f"tasks.ner.decoder: should be linear with {named}: a CRF has one loss .* 'crf'"
    with pytest.raises(RecipeError, match=message):
        _task(decoder="crf", **options)
    assert _task(decoder="crf", class_weights="none", focal=0).decoder == "crf"


def test_a_tagger_is_trained_under_all_of_them(tmp_path: Any) -> None:
    recipe = tiny_recipe(
        tmp_path,
        tasks__ner__class_weights="balanced",
        tasks__ner__label_smoothing=0.1,
        tasks__ner__focal=1.0,
        training__max_steps=30,
        training__learning_rate=1e-2,
        evaluation__every=30,
    )
    run = train(recipe)
    losses = [step["losses"]["ner"] for step in steps_of(run.path)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    ner = load_model(run.path).tasks["ner"]
    assert isinstance(ner, TokenClassification)
    weights = dict(zip(ner.logit_names, ner.label_weights, strict=True))
    assert weights["O"] < 1 < weights["B-place"]
    assert weights["I-place"] == 1  # the data has places of one word only
