"""Probabilities of labels per text: read, encoded, lost, decoded, shown and scored."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding
from mtl_nlp.tasks.soft_classification import SoftClassification
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

LABELS = ("bad", "fair", "good")
TASK = SoftClassification(name="mood", labels=LABELS)
ROW = Row(split_words("a good day"))
ENCODING = Encoding(ROW, np.array([-1, 0, 1, 2, -1]))


def distributions(seed: int, rows: int = 5) -> np.ndarray:
    """Probabilities (rows, 3), some of them 0."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 3, (rows, 3)) + np.eye(3, dtype=int)[random.integers(0, 3, rows)]
    return counts / counts.sum(axis=1, keepdims=True)


def test_labels_are_given_or_the_keys_of_train() -> None:
    rows = [{"label": {"b": 0.4, "a": 0.6, "z": None}}, {"label": None}, {"label": {"c": 1}}]
    assert SoftClassification(name="m").learn(rows, None).labels == ("a", "b", "c")
    assert TASK.learn(rows, None).labels == LABELS


@pytest.mark.parametrize("rows", [[], [{"label": None}], [{"label": {"a": 1.0}}]])
def test_fewer_than_two_labels_teach_nothing(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected probabilities of at least two labels in train"):
        SoftClassification(name="m").learn(rows, None)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"good": 0.75, "bad": 0.25}, {"bad": 0.25, "good": 0.75}),
        ([0.25, 0.0, 0.75], {"bad": 0.25, "good": 0.75}),
        ({"good": 0.33, "bad": 0.33, "fair": 0.33}, dict.fromkeys(LABELS, 1 / 3)),
        ({"new": 0.5, "also": None, "bad": 0.5}, {"bad": 0.5, "new": 0.5}),
        (None, None),
        ({"bad": None, "good": None}, None),
    ],
)
def test_probabilities_are_read_by_name_or_in_order(value: Any, read: Any) -> None:
    found = TASK.read({"label": value}, ROW)
    assert found == (read and pytest.approx(read))
    if read:
        assert list(found) == list(read)
        assert list(TASK.occurrences(found)) == list(read)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("good", "expected probabilities, {label: p} or a list, found 'good'; for one right label"),
        (1, "expected probabilities, {label: p} or a list, found 1"),
        ([0.5, 0.5], "expected 3 probabilities, one for each of bad, fair, good, found 2"),
        ([0.5, None, 0.5], "expected a probability in .* for each label, found .0.5, None, 0.5"),
        ({"bad": 1.5}, r"expected a probability in \[0, 1\] for bad, found 1.5"),
        ({"bad": "1"}, r"expected a probability in \[0, 1\] for bad, found '1'"),
        ({"bad": float("nan")}, r"expected a probability in \[0, 1\] for bad, found nan"),
        ({"bad": 0.5, "good": 0.25}, "sum to 1, found the sum 0.75; divide votes by their number"),
        ({"bad": 0.5, " ": 0.5}, "expected a label, found ' ', an empty one"),
        ({}, "sum to 1, found the sum 0"),
    ],
)
def test_a_row_that_holds_no_probabilities_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.read({"label": value}, ROW)


def test_a_list_without_label_names_is_told() -> None:
    with pytest.raises(ValueError, match=r"does not say whose they are; write labels: \[...\] in"):
        SoftClassification(name="m").learn([{"label": [0.5, 0.5]}], None)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_what_is_encoded_is_decoded(seed: int) -> None:
    given_rows = distributions(seed)
    values = [TASK.read({"label": row.tolist()}, ROW) for row in given_rows]
    flat = np.concatenate([TASK.encode(value, ENCODING) for value in values])
    labels = TASK.collate(Ragged(flat, np.full(len(values), 3)), 9)
    np.testing.assert_allclose(labels, given_rows, atol=1e-7)
    logits = np.log(np.maximum(labels, 1e-30))
    for one, value in zip(TASK.decode(logits, [ENCODING] * 5), values, strict=True):
        assert {name: p for name, p in one.value.items() if p > 1e-9} == pytest.approx(value)
        assert one.scores == pytest.approx(max(value.values()))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_the_loss_is_the_divergence_over_labelled_texts_however_cut(seed: int) -> None:
    right = torch.from_numpy(distributions(seed)).float()
    right[seed % 5] = float("nan")
    logits = 3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    known = [i for i in range(5) if i != seed % 5]
    p = logits.double().softmax(-1).numpy()
    expected = sum(entropy(right[i].double().numpy(), p[i]) for i in known)
    loss = TASK.loss(logits.requires_grad_(), right)
    assert loss.total.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert loss.count == TASK.count(right) == 4
    parts = [TASK.loss(logits[a:b], right[a:b]) for a, b in ((0, 1), (1, 3), (3, 5))]
    torch.testing.assert_close(torch.stack([part.total for part in parts]).sum(), loss.total)
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert gradient[seed % 5].tolist() == [0, 0, 0]
    scores = TASK.metrics(
        [TASK.decode(logits.detach().numpy(), [ENCODING] * 5)[i].value for i in known],
        [TASK.read({"label": right[i].tolist()}, ROW) for i in known],
    )
    assert scores["kl_divergence"] == pytest.approx(expected / 4, rel=1e-4, abs=1e-5)


def test_of_certain_labels_it_is_cross_entropy() -> None:
    logits, ids = torch.randn(4, 3), torch.tensor([0, 2, 1, 2])
    hard = TextClassification(name="mood", labels=LABELS).loss(logits, ids).total
    torch.testing.assert_close(TASK.loss(logits, torch.eye(3)[ids]).total, hard)


def test_half_precision_logits_lose_in_full_precision() -> None:
    logits, right = torch.randn(4, 3).bfloat16(), torch.from_numpy(distributions(0, 4)).float()
    assert torch.equal(TASK.loss(logits, right).total, TASK.loss(logits.float(), right).total)


def test_a_prediction_is_shown_as_pipelines_show_it() -> None:
    decoded = Decoded({"bad": 0.25, "fair": 0.0, "good": 0.75}, 0.75)
    assert TASK.present(decoded, ROW) == {"label": "good", "score": 0.75}


def test_metrics_are_those_it_names_the_primary_first() -> None:
    found = [{"bad": 0.5, "fair": 0.3, "good": 0.2}, {"bad": 0.1, "fair": 0.8, "good": 0.1}]
    scores = TASK.metrics(found, [{"bad": 0.5, "good": 0.5}, {"new": 1.0}])
    assert tuple(scores) == TASK.metric_names
    assert scores["accuracy"] == 0.5  # bad is one of the two likeliest
    expected = (0.5 * np.log(0.5 / 0.5) + 0.5 * np.log(0.5 / 0.2) + np.log(1 / 1e-10)) / 2
    assert scores["kl_divergence"] == pytest.approx(expected)


@pytest.mark.parametrize("stock", [True, False])
def test_the_head_gives_a_logit_per_label(stock: bool) -> None:
    task = SoftClassification(name="mood", labels=LABELS, stock=stock)
    config = tiny_config("bert")
    states = EncoderStates(torch.randn(2, 5, config.hidden_size), torch.ones(2, 5))
    assert task.build_head(config)(states).shape == (2, 3)
