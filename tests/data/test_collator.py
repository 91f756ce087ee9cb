"""Rows of several datasets become one batch whose targets say which rows they speak of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_nlp.data.collator import Collator
from tests.rows import Made, json_dataset, make_data, make_recipe

CHAT = [
    {"tokens": ["good", "city"], "intent": "up", "tags": ["O", "B-place"]},
    {"tokens": ["bad"], "intent": None, "tags": ["O"]},
    {"tokens": ["the", "very", "old", "day"], "intent": "down", "tags": None},
]
NEWS = [
    {"text": "new", "label": "x", "entities": None},
    {"text": "a good city", "label": None,
     "entities": [{"start": 7, "end": 11, "label": "place"}]},
    {"text": "old", "label": "y", "entities": []},
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder: Path = tmp_path_factory.mktemp("rows")
    datasets = {
        "chat": {**json_dataset(folder, "chat", train=CHAT, validation=CHAT), "tokens": "tokens"},
        "news": {**json_dataset(folder, "news", train=NEWS, validation=NEWS), "text": "text"},
    }
    tasks = {
        "intent": {"type": "text_classification", "dataset": "chat", "label": "intent"},
        "places": {"type": "token_classification", "dataset": "chat", "tags": "tags"},
        "topic": {"type": "text_classification", "dataset": "news", "label": "label"},
        "spans": {"type": "token_classification", "dataset": "news", "entities": "entities"},
    }
    return make_data(make_recipe(datasets, tasks))


@pytest.fixture
def collator(made: Made) -> Collator:
    return Collator(made.tasks, pad_token_id=0)


def test_rows_are_padded_to_the_longest(made: Made, collator: Collator) -> None:
    batch = collator.batch([made.train["chat"].take(np.array([1, 2]))])
    assert batch.input_ids.shape == batch.words.shape == (2, 6)
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert batch.input_ids[0, 3:].tolist() == [0, 0, 0]
    assert batch.words.tolist() == [[-1, 0, -1, -1, -1, -1], [-1, 0, 1, 2, 3, -1]]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [[0] * 6] * 2
    assert batch.sources.tolist() == [0, 1]
    assert batch.num_tokens == 9


def test_targets_speak_of_the_labelled_rows_alone(made: Made, collator: Collator) -> None:
    targets = collator.batch([made.train["chat"].take(np.array([1, 2, 0]))]).targets
    assert targets.keys() == {"intent", "places"}
    assert targets["intent"].rows.tolist() == [1, 2]
    assert targets["intent"].labels.tolist() == [0, 1]
    assert targets["places"].rows.tolist() == [0, 2]
    assert targets["places"].labels.tolist() == [
        [-100, 0, -100, -100, -100, -100],
        [-100, 0, 1, -100, -100, -100],
    ]


def test_rows_of_several_datasets_are_numbered_through(made: Made, collator: Collator) -> None:
    chat, news = made.train["chat"].take(np.array([0, 1])), made.train["news"].take(np.arange(3))
    batch = collator.batch([chat, news])
    assert batch.input_ids.shape == (5, 5)
    assert {name: target.rows.tolist() for name, target in batch.targets.items()} == {
        "intent": [0],
        "places": [0, 1],
        "topic": [2, 4],
        "spans": [3, 4],
    }
    assert batch.targets["spans"].labels[0].tolist() == [-100, 0, 0, 1, -100]


def test_the_same_rows_give_the_same_targets_however_they_are_split(
    made: Made, collator: Collator
) -> None:
    train = made.train["chat"]
    whole = collator.batch([train.take(np.arange(3))])
    pieces = collator.batch([train.take(np.array([i])) for i in range(3)])
    torch.testing.assert_close(whole.input_ids, pieces.input_ids)
    for name, target in whole.targets.items():
        torch.testing.assert_close(target.rows, pieces.targets[name].rows)
        torch.testing.assert_close(target.labels, pieces.targets[name].labels)


def test_a_task_without_a_labelled_row_is_not_in_the_batch(made: Made, collator: Collator) -> None:
    assert collator.batch([made.train["chat"].take(np.array([1]))]).targets.keys() == {"places"}


def test_a_task_that_train_never_labels_is_not_in_the_batch(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": None}, {"text": "b", "label": None}]
    task = {"type": "text_classification", "dataset": "d", "label": "label", "labels": ["x", "y"]}
    dataset = {**json_dataset(tmp_path, "d", train=rows, validation=rows), "text": "text"}
    made = make_data(make_recipe({"d": dataset}, {"t": task}))
    batch = Collator(made.tasks, 0).batch([made.train["d"].take(np.arange(2))])
    assert not batch.targets


def test_rows_to_predict_are_the_same_rows_without_targets(made: Made, collator: Collator) -> None:
    encoded = made.encoder.encode(
        [made.encoder.row(r) for r in ({"tokens": r["tokens"]} for r in CHAT)]
    )
    batch = collator.rows(encoded.encoder_rows, {"intent": np.array([0, 2])})
    trained = collator.batch([made.train["chat"].take(np.arange(3))])
    assert batch.targets.keys() == {"intent"}
    assert batch.targets["intent"].rows.tolist() == [0, 2]
    assert batch.targets["intent"].labels is None
    torch.testing.assert_close(batch.input_ids, trained.input_ids)
    torch.testing.assert_close(batch.words, trained.words)
    torch.testing.assert_close(batch.attention_mask, trained.attention_mask)
