"""One label per text: read, encoded, lost, decoded, shown and scored."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, log_loss
from torch import nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.tasks.base import Decoded, Encoding
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

LABELS = ("bad", "fair", "good")
TASK = TextClassification(name="mood", labels=LABELS)
ROW = Row(split_words("a good day"))
ENCODING = Encoding(ROW, np.array([-1, 0, 1, 2, -1]))
LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-8, 8, width=32)
)


def _labels(rows: list[Any], names: list[str] | None = None, **fields: Any) -> tuple[str, ...]:
    task = TextClassification(name="mood", **fields)
    return task.learn([{"label": value} for value in rows], names).labels


def test_labels_are_given_or_the_class_names_or_those_of_train() -> None:
    assert _labels(["x", "y", "x"], ["y", "x"], labels=("z", "a")) == ("z", "a")
    assert _labels(["x", "x"], ["y", "x"]) == ("y", "x")
    assert _labels(["y", None, "x", "y"]) == ("x", "y")


@pytest.mark.parametrize("rows", [[], [None], ["x", "x"]])
def test_fewer_than_two_labels_teach_nothing(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected at least two different labels in train, found"):
        _labels(rows)


@pytest.mark.parametrize(
    ("value", "read"),
    [("good", "good"), (0, "bad"), (2.0, "good"), (None, None), ("new", "new")],
)
def test_a_label_is_read_by_name_or_index(value: Any, read: str | None) -> None:
    assert TASK.read({"label": value}, ROW) == read


def test_a_label_is_encoded_as_its_id() -> None:
    assert [TASK.encode(label, ENCODING) for label in (*LABELS, "new")] == [0, 1, 2, -100]
    assert TASK.collate(np.array([2, 0]), 9).tolist() == [2, 0]


def test_what_is_encoded_is_decoded() -> None:
    logits = np.eye(3, dtype=np.float32)[[TASK.encode(label, ENCODING) for label in LABELS]]
    assert [one.value for one in TASK.decode(logits, [ENCODING] * 3)] == list(LABELS)


@given(LOGITS, st.data())
def test_the_loss_is_that_of_scikit_learn(logits: np.ndarray, data: st.DataObject) -> None:
    ids = [data.draw(st.integers(0, 2)) for _ in logits]
    loss = TASK.loss(torch.from_numpy(logits), torch.tensor(ids))
    probabilities = torch.from_numpy(logits).double().softmax(-1).numpy()
    expected = log_loss(ids, probabilities, labels=[0, 1, 2], normalize=False)
    assert loss.count.item() == len(ids)
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-4)


@given(LOGITS)
def test_unlabelled_texts_add_nothing_to_the_loss(logits: np.ndarray) -> None:
    ids = torch.zeros(len(logits), dtype=torch.long)
    ids[0] = -100
    loss, rest = (
        TASK.loss(torch.from_numpy(logits), ids),
        TASK.loss(torch.from_numpy(logits[1:]), ids[1:]),
    )
    torch.testing.assert_close(loss.total, rest.total)
    assert loss.count.item() == rest.count.item() == len(logits) - 1


def test_losses_add_up_over_any_cut() -> None:
    logits, ids = torch.randn(7, 3), torch.tensor([0, 1, -100, 2, 2, -100, 0])
    whole = TASK.loss(logits, ids)
    parts = [TASK.loss(logits[a:b], ids[a:b]) for a, b in ((0, 1), (1, 3), (3, 7))]
    torch.testing.assert_close(whole.total, torch.stack([part.total for part in parts]).sum())
    assert whole.count == sum(part.count for part in parts)


def test_half_precision_logits_lose_in_full_precision() -> None:
    logits = torch.randn(4, 3).bfloat16()
    ids = torch.tensor([0, 1, 2, 0])
    expected = nn.functional.cross_entropy(logits.float(), ids, reduction="sum")
    assert torch.equal(TASK.loss(logits, ids).total, expected)


@given(LOGITS)
def test_the_likeliest_label_is_decoded_with_its_probability(logits: np.ndarray) -> None:
    decoded = TASK.decode(logits, [ENCODING] * len(logits))
    for row, one in zip(logits, decoded, strict=True):
        assert row[LABELS.index(one.value)] == pytest.approx(row.max(), abs=1e-6)
        assert 1 / 3 - 1e-6 <= one.scores <= 1


def test_a_prediction_is_shown_as_pipelines_show_it() -> None:
    assert TASK.present(Decoded("good", 0.75), ROW) == {"label": "good", "score": 0.75}


def test_metrics_are_those_it_names_the_primary_first() -> None:
    scores = TASK.metrics(["good", "bad", "fair"], ["good", "bad", "new"])
    assert tuple(scores) == TASK.metric_names
    assert TASK.primary == "accuracy"
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx(0.5)  # `new` and `fair` count 0


def test_metrics_of_the_hub_get_ids_and_labels_that_train_lacks_ids_of_their_own() -> None:
    predictions, references = ["good", "bad", "fair", "bad"], ["good", "new", "newer", "new"]
    assert TASK.hub_values(predictions, references) == ([2, 0, 1, 0], [2, 3, 4, 3])
    own = TASK.metrics(predictions, references)
    assert f1_score([2, 3, 4, 3], [2, 0, 1, 0], average="macro") == pytest.approx(own["macro_f1"])


def test_its_label_is_what_occurs() -> None:
    assert list(TASK.occurrences("good")) == ["good"]


@pytest.mark.parametrize("stock", [True, False])
@settings(deadline=None)
@given(batch=st.integers(1, 3))
def test_the_head_gives_a_logit_per_label(stock: bool, batch: int) -> None:
    task = TextClassification(name="mood", labels=LABELS, stock=stock)
    config = tiny_config("bert")
    states = EncoderStates(torch.randn(batch, 5, config.hidden_size), torch.ones(batch, 5))
    assert task.build_head(config)(states).shape == (batch, 3)


def test_a_checkpoint_of_texts_is_taken_in() -> None:
    config = PreTrainedConfig(id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
    assert TextClassification.of_stock("t", config).labels == ("x", "y")


@pytest.mark.parametrize(
    "config",
    [
        PreTrainedConfig(num_labels=1),
        PreTrainedConfig(num_labels=3, problem_type="multi_label_classification"),
        PreTrainedConfig(num_labels=1, problem_type="regression"),
    ],
)
def test_a_checkpoint_that_chooses_no_label_is_refused(config: PreTrainedConfig) -> None:
    with pytest.raises(ValueError, match="chooses one of at least two labels, and this checkpoint"):
        TextClassification.of_stock("t", config)
