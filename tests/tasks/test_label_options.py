"""Class weights, smoothing and focal loss of every type with labels, against plain formulas."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mtl_nlp.errors import RecipeError
from mtl_nlp.heads.relations import unpacked
from mtl_nlp.tasks import TASK_TYPES, build_task, saved_form
from mtl_nlp.tasks.class_loss import ClassTask, WeightedTask, soft_loss
from mtl_nlp.words import join_words

NAMES = ("a", "b", "c")
LAW = settings(deadline=None, max_examples=25)
OPTIONS = st.fixed_dictionaries(
    {
        "class_weights": st.sampled_from(["none", {"b": 3.0}, {"a": 0.5, "c": 2.0}]),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "focal": st.sampled_from([0.0, 1.5]),
    }
)
SEEDS = st.integers(0, 2**32 - 1)
WITHOUT_FOCAL = {"soft_classification"}
WITH_OPTIONS = {
    "text_classification",
    "multi_label_classification",
    "soft_classification",
    "token_classification",
    "multi_label_token_classification",
    "span_classification",
    "relation_classification",
    "lemmatization",
    "dependency_parsing",
}


def _task(kind: str, **fields: Any) -> Any:
    return build_task("t", kind, {"labels": NAMES, **fields}, where="tasks.t")


def _weights(options: dict[str, Any]) -> list[float]:
    given = options["class_weights"]
    return [1.0 if given == "none" else given.get(name, 1.0) for name in NAMES]


def one_of_many(scores: np.ndarray, label: int, options: dict[str, Any]) -> float:
    """Σ_c target_c · w_c · -log p_c, times (1 - p_label) ** focal."""
    p = np.exp(scores.astype(np.float64) - scores.max())
    p /= p.sum()
    part = options["label_smoothing"]
    loss = 0.0
    for c, weight in enumerate(_weights(options)):
        loss -= (part / len(p) + (1 - part) * (c == label)) * weight * np.log(p[c])
    return float(loss * (1 - p[label]) ** options["focal"])


def each_of_many(scores: np.ndarray, answers: np.ndarray, options: dict[str, Any]) -> float:
    """Σ_c of -w_c · t · log p - (1 - t) · log(1 - p), times the chance of the wrong ** focal."""
    part, total = options["label_smoothing"], 0.0
    for score, yes, weight in zip(
        scores.astype(np.float64), answers, _weights(options), strict=True
    ):
        p = 1 / (1 + np.exp(-score))
        target = yes * (1 - part) + part / 2
        loss = -weight * target * np.log(p) - (1 - target) * np.log(1 - p)
        total += loss * ((1 - p) if yes else p) ** options["focal"]
    return float(total)


def _normal(seed: int, *shape: int) -> np.ndarray:
    return 3 * np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@LAW
@given(SEEDS, OPTIONS)
def test_spans_are_weighed_by_their_label(seed: int, options: dict[str, Any]) -> None:
    task = _task("span_classification", max_width=2, **options)
    logits, source = _normal(seed, 2, 4, 2, 3), np.random.default_rng(seed)
    labels = source.integers(0, 2, logits.shape).astype(np.int8)
    labels[source.random((2, 4, 2)) < 0.3] = -100
    labels[0, 0, 0] = 1
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    known = labels[..., 0] != -100
    pairs = zip(logits[known], labels[known], strict=True)
    expected = sum(each_of_many(*pair, options) for pair in pairs)
    np.testing.assert_allclose(loss.total, expected, rtol=1e-4)
    assert loss.count == known[:, :, 0].sum()


@LAW
@given(SEEDS, OPTIONS)
def test_relations_are_weighed_and_spans_are_not(seed: int, options: dict[str, Any]) -> None:
    spans = {"span_labels": ["x", "y"], "max_width": 1, "inputs": ("tokens",)}
    task = _task("relation_classification", **spans, **options)
    words = torch.tensor([[2]])  # a row of two words, each a span
    table = torch.tensor([[[0, 1], [1, 0], [-100, -100]]])  # of three places, one without a word
    pairs = torch.tensor([[[0, 1, 0, 1, 1, 0, 0], [1, 0, 1, 0, 0, 0, 1]]])
    labels = torch.cat([words, table.flatten(1), pairs.flatten(1)], dim=1)
    logits = torch.from_numpy(_normal(seed, 1, 3, 1 * 2 + 3 * 2 * 3))
    of_spans, tables = unpacked(logits, span_labels=2, relations=3, max_width=1)
    known = of_spans[0, :2, 0]
    plain = F.binary_cross_entropy_with_logits(known, table[0, :2].float(), reduction="sum")
    related = sum(
        each_of_many((tables[0, h, t, 0] + tables[0, h, t, 1]).numpy(), answers.numpy(), options)
        for h, t, answers in ((0, 1, pairs[0, 0, 4:]), (1, 0, pairs[0, 1, 4:]))
    )
    loss = task.loss(logits, labels)
    np.testing.assert_allclose(loss.total, plain.item() + related, rtol=1e-4)
    assert loss.count == 2


@LAW
@given(SEEDS, OPTIONS)
def test_relations_to_heads_are_weighed_and_arcs_are_not(seed: int, options: Any) -> None:
    task = _task("dependency_parsing", **options)
    logits, source = _normal(seed, 2, 3, 1 + 3, 4), np.random.default_rng(seed)
    labels = np.stack([source.integers(0, 4, (2, 3)), source.integers(0, 3, (2, 3))], axis=-1)
    labels[0, 0], labels[1, 2, 1] = -100, -100
    arcs = torch.from_numpy(logits[:, :, 0]).flatten(0, 1)
    expected = F.cross_entropy(arcs, torch.from_numpy(labels[..., 0]).flatten(), reduction="sum")
    total = expected.item()
    for row, word in np.argwhere(labels[..., 1] != -100):
        head, label = labels[row, word]
        total += one_of_many(logits[row, word, 1:, head], label, options)
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    np.testing.assert_allclose(loss.total, total, rtol=1e-4)
    assert loss.count == 5


@LAW
@given(SEEDS, OPTIONS)
def test_edit_scripts_are_weighed(seed: int, options: dict[str, Any]) -> None:
    names = dict(zip(NAMES, ("keep;>;>", "lower;>;>", "=be"), strict=True))
    given_weights = options["class_weights"]
    if given_weights != "none":
        given_weights = {names[name]: weight for name, weight in given_weights.items()}
    own = {"labels": tuple(names.values()), "class_weights": given_weights}
    task = _task("lemmatization", **{**options, **own})
    logits, labels = _normal(seed, 2, 3, 3), np.array([[0, -100, 2], [1, 1, -100]])
    known = labels != -100
    pairs = zip(logits[known], labels[known], strict=True)
    expected = sum(one_of_many(scores, label, options) for scores, label in pairs)
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    np.testing.assert_allclose(loss.total, expected, rtol=1e-4)


@LAW
@given(SEEDS, OPTIONS)
def test_texts_with_soft_labels_count_as_their_labels_do(seed: int, options: Any) -> None:
    given_options = {name: value for name, value in options.items() if name != "focal"}
    task = _task("soft_classification", **given_options)
    logits = _normal(seed, 4, 3)
    right = np.random.default_rng(seed).dirichlet([0.5] * 3, size=4)
    right[1] = [0.0, 1.0, 0.0]
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    part, weights = options["label_smoothing"], np.array(_weights(options))
    total = 0.0
    for scores, q in zip(p, right, strict=True):
        smooth = (1 - part) * q + part / 3
        terms = [a * np.log(a / b) for a, b in zip(smooth, scores, strict=True) if a]
        total += (weights * q).sum() * sum(terms)
    targets = torch.from_numpy(right.astype(np.float32))
    loss = task.loss(torch.from_numpy(logits), targets)
    np.testing.assert_allclose(loss.total, total, rtol=1e-3, atol=1e-5)
    assert loss.count == 4


def test_certain_soft_labels_are_weighted_cross_entropy_and_unlabelled_ones_nothing() -> None:
    logits = torch.randn(3, 3, requires_grad=True)
    targets = torch.tensor([[0.0, 1, 0], [1, 0, 0], [float("nan")] * 3])
    found = soft_loss(logits, targets, weights=(2.0, 0.5, 1.0))
    weights, labels = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1, 0])
    expected = F.cross_entropy(logits[:2], labels, weight=weights, reduction="sum")
    torch.testing.assert_close(found, expected)
    (slope,) = torch.autograd.grad(found, logits)
    assert not slope[2].any()


# What train teaches

TOKENS = join_words(["is", "was", "ran", "as"])
SPANS = [{"start": 0, "end": 1, "label": "a"}, {"start": 0, "end": 2, "label": "a"}]
ROWS: dict[str, list[dict[str, Any]]] = {
    "soft_classification": [
        {"label": {"a": 0.75, "b": 0.25}},
        {"label": None},
        {"label": {"a": 0.75, "b": 0.25}},
    ],
    "span_classification": [
        {"spans": [*SPANS, SPANS[0]], "words": TOKENS},
        {"spans": None, "words": TOKENS},
        {"spans": [SPANS[0], {"start": 1, "end": 2, "label": "b"}], "words": TOKENS},
    ],
    "relation_classification": [
        {
            "spans": SPANS,
            "relations": [{"head": h, "tail": 1 - h, "label": "a"} for h in (0, 1)],
            "words": TOKENS,
        },
        {
            "spans": SPANS,
            "relations": [{"head": 0, "tail": 1, "label": label} for label in ("a", "b")],
            "words": TOKENS,
        },
    ],
    "dependency_parsing": [{"heads": [0, 1, 1, 1], "deprels": ["a", "b", "a", "a"]}],
    # All but the second word stay as they are.
    "lemmatization": [{"lemmas": ["is", "be", "ran", "as"], "words": TOKENS}],
}


@pytest.mark.parametrize("given_labels", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_balanced_weights_make_rare_labels_count_more(kind: str, given_labels: bool) -> None:
    words = {"inputs": ("tokens",), "class_weights": "balanced"}
    more = {"min_count": 1} if kind == "lemmatization" else {}
    labels = ["lower;>;>", "=be"] if kind == "lemmatization" else ["a", "b"]
    more |= {"labels": labels} if given_labels else {}
    task = build_task("t", kind, {**words, **more}, where="tasks.t").learn(ROWS[kind], None)
    assert isinstance(task, WeightedTask)
    assert list(task.labels) == labels
    # Three of four (or 1.5 of 2) against one: n / (2 · n_c).
    assert task.label_weights == pytest.approx((4 / (2 * 3), 4 / (2 * 1)))
    saved = json.loads(json.dumps(saved_form(task)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json") == task


@pytest.mark.parametrize("kind", ROWS)
def test_a_weight_of_no_label_is_refused(kind: str) -> None:
    task = build_task(
        "t", kind, {"inputs": ("tokens",), "class_weights": {"z": 2.0}}, where="tasks.t"
    )
    with pytest.raises(ValueError, match="class_weights: expected weights of labels, found 'z'"):
        task.learn(ROWS[kind], None)
    settings_of_model = {"labels": ["=be", "keep;>;>"], "class_weights": {"z": 2.0}}
    with pytest.raises(RecipeError, match=r"tasks\.t: class_weights: expected .* found 'z'; the l"):
        build_task("t", kind, settings_of_model, where="tasks.t")


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_options_that_mean_nothing_for_a_type_are_unknown(kind: str) -> None:
    cls = TASK_TYPES[kind]
    assert issubclass(cls, WeightedTask) == (kind in WITH_OPTIONS)
    assert issubclass(cls, ClassTask) == (kind in WITH_OPTIONS - WITHOUT_FOCAL)
    for name, value in (("class_weights", "balanced"), ("label_smoothing", 0.1), ("focal", 2.0)):
        if name not in cls.__dataclass_fields__:
            with pytest.raises(RecipeError, match=rf"tasks.t.{name}: unknown key; .*a {kind} task"):
                build_task("t", kind, {name: value}, where="tasks.t")
