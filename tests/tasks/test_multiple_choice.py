"""The right one of several texts: read, encoded, lost, decoded, shown and scored."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.choices import ChoiceHead
from mtl_nlp.heads.linear import PooledHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.multiple_choice import MultipleChoice
from mtl_nlp.words import Row, split_words
from tests.tiny import tiny_config

TASK = MultipleChoice(name="end")
SIZES = st.lists(st.integers(2, 5), min_size=1, max_size=6)


def row_of(choices: int) -> Row:
    texts = tuple(split_words(f"choice {number}") for number in range(choices))
    return Row(split_words("a good day"), choices=texts)


def encoding(choices: int) -> Encoding:
    return Encoding(row_of(choices), np.array([-1, 0, 1, 2, -1]))


def test_the_encoder_reads_the_text_with_each_choice() -> None:
    texts = TASK.view.texts(row_of(3))
    assert [(one.words.text, one.pair and one.pair.text) for one in texts] == [
        ("a good day", f"choice {number}") for number in range(3)
    ]
    assert TASK.view == MultipleChoice(name="other").view
    assert TASK.view.many


@pytest.mark.parametrize("value", [2, 2.0, np.int64(2), "2"])
def test_the_right_choice_is_read_by_its_number(value: Any) -> None:
    assert TASK.read({"label": value}, row_of(3)) == 2
    assert TASK.read({"label": None}, row_of(3)) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "expected the number of the right choice, from 0 to 2, found 3; null marks a missing"),
        (-1, "from 0 to 2, found -1"),
        ("B", r"from 0, found 'B'; names such as A are made numbers by map: \{A: 0\} in tasks.end"),
        (1.5, "from 0, found 1.5"),
        (float("nan"), "from 0, found nan"),
        (True, "from 0, found True"),
        ([1], r"from 0, found \[1\]"),
    ],
)
def test_what_numbers_no_choice_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.read({"label": value}, row_of(3))


def test_training_rows_are_looked_at() -> None:
    rows = [{"label": 1}, {"label": None}, {"label": "0"}]
    assert TASK.learn(rows, None) == TASK
    assert TASK.learn(rows, ["0", "1"]) == TASK
    with pytest.raises(ValueError, match="from 0, found 'yes'"):
        TASK.learn([{"label": "yes"}], None)
    with pytest.raises(ValueError, match="labels: a choice has no label name; leave them out"):
        MultipleChoice(name="t", labels=("a",)).learn(rows, None)


def test_it_is_saved_and_built_again() -> None:
    saved = json.loads(json.dumps(saved_form(TASK)))
    assert saved["inputs"] == ["text", "choices"]
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="config.json") == TASK


def collated(sizes: list[int], rights: list[int]) -> np.ndarray:
    pairs = zip(sizes, rights, strict=True)
    encoded = [TASK.encode(right, encoding(size)) for size, right in pairs]
    return TASK.collate(Ragged.from_lists(encoded), 9)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 10_000))
def test_the_loss_is_that_of_each_row_alone(sizes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    rights = [int(torch.randint(size, ())) for size in sizes]
    labels = torch.from_numpy(collated(sizes, rights))
    logits = (3 * torch.randn(*labels.shape, 1)).bfloat16().requires_grad_()
    loss = TASK.loss(logits, labels)
    alone = [
        F.cross_entropy(logits[i, :size, 0].float(), torch.tensor(right), reduction="sum")
        for i, (size, right) in enumerate(zip(sizes, rights, strict=True))
    ]
    torch.testing.assert_close(loss.total, torch.stack(alone).sum())
    assert loss.total.dtype == torch.float32
    assert loss.count == TASK.count(labels) == len(sizes)
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert (gradient[..., 0][labels == -100] == 0).all()


def test_rows_without_a_label_add_nothing() -> None:
    labels = torch.tensor([[0, 1, -100], [-100, -100, -100]])
    logits = torch.randn(2, 3, 1, requires_grad=True)
    both, one = TASK.loss(logits, labels), TASK.loss(logits[:1], labels[:1])
    assert both.count == one.count == 1
    torch.testing.assert_close(both.total, one.total)
    (gradient,) = torch.autograd.grad(both.total, logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[1] == 0).all()


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 10_000))
def test_choices_are_ranked_by_their_own_logits(sizes: list[int], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(len(sizes), 6, 1)).astype(np.float32)
    for i, size in enumerate(sizes):
        logits[i, size:] = 0.0
    found = TASK.decode(logits, [encoding(size) for size in sizes])
    for one, size, row in zip(found, sizes, logits[..., 0], strict=True):
        assert one.value == sorted(range(size), key=lambda number: -row[number])
        expected = torch.from_numpy(row[:size]).softmax(dim=0)
        assert one.scores == pytest.approx(expected[one.value].tolist())
        assert TASK.present(one, row_of(size)) == {"label": one.value[0], "score": one.scores[0]}


def test_scores_are_of_the_rank_of_the_right_choice() -> None:
    scores = TASK.metrics([[2, 0, 1], [0, 1], [1, 3, 0, 2]], [2, 1, 2])
    assert tuple(scores) == TASK.metric_names
    assert scores == {
        "accuracy": pytest.approx(1 / 3),
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4) / 3),
    }
    assert TASK.hub_values([[2, 0, 1], [0, 1]], [1, 0]) == ([2, 0], [1, 0])
    assert list(TASK.occurrences(2)) == []


def test_only_rows_with_choices_are_accepted() -> None:
    assert TASK.accepts(row_of(2))
    assert not TASK.accepts(Row(split_words("a")))
    assert not TASK.accepts(Row(split_words("a"), split_words("b")))


def test_the_head_is_the_architectures_own_or_a_plain_one() -> None:
    config = tiny_config()
    assert isinstance(TASK.build_head(config), ChoiceHead)
    plain = MultipleChoice(name="t", stock=False).build_head(config)
    assert isinstance(plain, PooledHead)
    assert plain.project.out_features == 1
    assert MultipleChoice.of_stock("t", PreTrainedConfig()) == MultipleChoice(name="t")
