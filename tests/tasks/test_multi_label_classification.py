"""Any number of labels per text: read, encoded, lost, tuned, decoded, shown and scored."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.multi_label_classification import LabelSet, MultiLabelClassification
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

LABELS = ("art", "law", "war")
TASK = MultiLabelClassification(name="about", labels=LABELS)
ROW = Row(split_words("a good day"))
ENCODING = Encoding(ROW, np.array([-1, 0, 1, 2, -1]))
LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-8, 8, width=32)
)


def learn(
    rows: list[Any], names: list[str] | None = None, **fields: Any
) -> MultiLabelClassification:
    task = MultiLabelClassification(name="about", **fields)
    return task.learn([{"labels": value} for value in rows], names)


def test_labels_are_given_or_the_class_names_or_those_of_train() -> None:
    assert learn([["x"]], ["y", "x"], labels=("z",)).labels == ("z",)
    assert learn([["x"]], ["y", "x"]).labels == ("y", "x")
    assert learn([["y", "x"], None, [], ["x"]]).labels == ("x", "y")
    assert learn([["x"]]).labels == ("x",)


@pytest.mark.parametrize("rows", [[], [None], [[]]])
def test_no_label_teaches_nothing(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected some labels in train, found none; check the"):
        learn(rows)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["war", "art"], ("art", "war")),
        ([2, 0.0], ("art", "war")),
        (["art", "art"], ("art",)),
        (["new", "law", "also"], ("law", "also", "new")),
        ([], ()),
    ],
)
def test_labels_are_read_by_name_or_index(value: list[Any], names: tuple[str, ...]) -> None:
    read = TASK.read({"labels": value}, ROW)
    assert read == LabelSet(names)
    assert list(TASK.occurrences(read)) == list(names)


def test_a_row_without_a_list_is_not_labelled() -> None:
    assert TASK.read({"labels": None}, ROW) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("art", "expected a list of labels, which may be empty, found 'art'; for one label a text"),
        (1, "expected a list of labels, which may be empty, found 1"),
        ({"art": 1}, "expected a list of labels"),
        ([None], "expected a label's name or index, found None"),
        ([3], "label index 3 is out of range: there are 3 labels, art, law, war"),
    ],
)
def test_a_row_that_is_no_list_of_labels_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.read({"labels": value}, ROW)


def test_labels_are_encoded_as_yes_or_no() -> None:
    rows = [TASK.encode(LabelSet(names), ENCODING) for names in (("art", "war"), (), ("new",))]
    assert rows == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert TASK.collate(Ragged.from_lists(rows), 9).tolist() == rows


@settings(deadline=None, max_examples=30)
@given(st.sets(st.sampled_from(LABELS)), st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3))
def test_what_is_encoded_is_decoded_whatever_the_thresholds(
    names: set[str], thresholds: list[float]
) -> None:
    task = MultiLabelClassification(name="about", labels=LABELS, thresholds=tuple(thresholds))
    value = task.read({"labels": sorted(names)}, ROW)
    logits = 8.0 * np.array([task.encode(value, ENCODING)], dtype=np.float32) - 4
    assert [one.value for one in task.decode(logits, [ENCODING])] == [value]


@settings(deadline=None, max_examples=30)
@given(LOGITS, st.integers(0, 100))
def test_the_loss_is_that_of_stock_models(logits: np.ndarray, seed: int) -> None:
    labels = torch.randint(0, 2, logits.shape, generator=torch.Generator().manual_seed(seed))
    loss = TASK.loss(torch.from_numpy(logits), labels)
    mean = F.binary_cross_entropy_with_logits(torch.from_numpy(logits), labels.float())
    torch.testing.assert_close(loss.total / loss.count, mean)
    assert loss.count == TASK.count(labels) == labels.numel()


def test_balanced_weights_are_rows_without_a_label_per_row_with_it() -> None:
    rows = [["art"], ["art", "law"], None, [], ["law", "art"]]
    task = learn(rows, labels=LABELS, class_weights="balanced")
    assert task.label_weights == pytest.approx((1 / 3, 1.0, 1.0))
    logits, labels = torch.randn(4, 3), torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
    weights = torch.tensor([1 / 3, 1.0, 1.0])
    expected = F.binary_cross_entropy_with_logits(
        logits, labels.float(), pos_weight=weights, reduction="sum"
    )
    torch.testing.assert_close(task.loss(logits, labels).total, expected)
    assert learn(rows, class_weights={"law": 2}).label_weights == (1.0, 2.0)


@settings(deadline=None, max_examples=30)
@given(LOGITS, st.integers(0, 100))
def test_tuned_thresholds_score_no_worse_and_are_saved(logits: np.ndarray, seed: int) -> None:
    right = np.random.default_rng(seed).random(logits.shape) < 0.4
    references = [LabelSet(tuple(LABELS[i] for i in np.flatnonzero(row))) for row in right.tolist()]
    encodings = [ENCODING] * len(logits)
    tuned = TASK.tune(logits, encodings, references)
    assert tuned.tune(logits, encodings, references) == tuned
    scores = [
        task.metrics([one.value for one in task.decode(logits, encodings)], references)["micro_f1"]
        for task in (TASK, tuned)
    ]
    assert scores[1] >= scores[0] - 1e-9
    saved = json.loads(json.dumps(saved_form(tuned)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="x") == tuned


def test_a_prediction_holds_what_is_above_its_threshold_the_likeliest_first() -> None:
    logits = np.log(np.array([[0.6, 0.9, 0.3]]) / np.array([[0.4, 0.1, 0.7]])).astype(np.float32)
    (decoded,) = TASK.decode(logits, [ENCODING])
    shown = TASK.present(decoded, ROW)
    assert [one["label"] for one in shown] == ["law", "art"]
    assert [one["score"] for one in shown] == pytest.approx([0.9, 0.6])
    other = MultiLabelClassification(name="a", labels=LABELS, thresholds=(0.7, 0.95, 0.2))
    (decoded,) = other.decode(logits, [ENCODING])
    assert [one["label"] for one in other.present(decoded, ROW)] == ["war"]
    assert json.loads(json.dumps(shown)) == shown


def test_metrics_are_those_it_names_the_primary_first() -> None:
    logits = np.array([[2, -1, 1], [-3, 4, -2]], dtype=np.float32)
    predictions = [one.value for one in TASK.decode(logits, [ENCODING] * 2)]
    scores = TASK.metrics(predictions, [LabelSet(("art",)), LabelSet(("law", "new"))])
    assert tuple(scores) == TASK.metric_names
    assert scores["micro_f1"] == pytest.approx(2 * 2 / 6)
    assert scores["macro_f1"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert scores["lrap"] == pytest.approx((1 + (1 + 2 / 4) / 2) / 2)


@pytest.mark.parametrize("stock", [True, False])
def test_the_head_gives_a_logit_per_label(stock: bool) -> None:
    task = MultiLabelClassification(name="about", labels=LABELS, stock=stock)
    config = tiny_config("bert")
    states = EncoderStates(torch.randn(2, 5, config.hidden_size), torch.ones(2, 5))
    assert task.build_head(config)(states).shape == (2, 3)


def test_a_checkpoint_is_taken_in_only_if_it_says_what_it_is() -> None:
    names = {0: "x", 1: "y"}
    config = PreTrainedConfig(id2label=names, problem_type="multi_label_classification")
    assert MultiLabelClassification.of_stock("t", config).labels == ("x", "y")
    with pytest.raises(ValueError, match="needs a checkpoint with problem_type 'multi_label_class"):
        MultiLabelClassification.of_stock("t", PreTrainedConfig(id2label=names))
