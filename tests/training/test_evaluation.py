import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtl_nlp.errors import DataError
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.training.evaluation import LabelledRows, evaluate_rows, labelled_tasks
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("evaluation")))


@pytest.fixture(scope="module")
def predictor(prepared: Prepared) -> Predictor:
    return Predictor(tiny_model(prepared), prepared.encoder)


def without(rows: LabelledRows, task: str) -> LabelledRows:
    nothing = [None] * len(rows)
    return replace(rows, references={**rows.references, task: nothing})


def test_right_values_stand_beside_their_rows(prepared: Prepared) -> None:
    chat, news = prepared.labelled("validation")
    assert [*chat.references] == ["intent", "ner"]
    assert [*news.references] == ["ner", "topic"]
    records = prepared.splits["chat"]["validation"].to_list()
    assert chat.references["intent"] == [record["intent"] for record in records]
    assert chat.references["ner"] == [record["tags"] for record in records]


def test_scores_are_those_of_the_predictions_of_labelled_rows(
    prepared: Prepared, predictor: Predictor
) -> None:
    rows = prepared.labelled("validation")
    scores = evaluate_rows(predictor, rows)
    assert scores.keys() == {"intent", "ner", "topic", "mean"}
    chat = rows[0]
    every = predictor.decode(chat.encoded, {"intent": np.arange(len(chat))})["intent"]
    pairs = [
        (one.value, right)
        for one, right in zip(every, chat.references["intent"], strict=True)
        if right is not None
    ]
    assert 0 < len(pairs) < len(chat)
    expected = sum(predicted == right for predicted, right in pairs) / len(pairs)
    assert scores["intent"]["accuracy"] == pytest.approx(expected)
    primary = [scores["intent"]["accuracy"], scores["ner"]["f1"], scores["topic"]["accuracy"]]
    assert scores["mean"] == pytest.approx(sum(primary) / 3)


def test_a_task_over_two_datasets_is_scored_over_both(
    prepared: Prepared, predictor: Predictor
) -> None:
    chat, news = prepared.labelled("validation")
    spans = [
        sum(kind["support"] for kind in evaluate_rows(predictor, rows)["ner"]["per_type"].values())
        for rows in ([chat], [news], [chat, news])
    ]
    assert spans[0] + spans[1] == spans[2] > spans[0] > 0


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_how_rows_are_batched_changes_nothing(
    prepared: Prepared, predictor: Predictor, batch_size: int
) -> None:
    rows = prepared.labelled("validation")
    other = replace(predictor, batch_size=batch_size)
    assert evaluate_rows(other, rows) == evaluate_rows(predictor, rows)


def test_a_task_without_a_labelled_row_is_left_out(
    prepared: Prepared, predictor: Predictor
) -> None:
    chat = without(prepared.labelled("validation")[0], "intent")
    assert labelled_tasks([chat]) == {"ner"}
    scores = evaluate_rows(predictor, [chat])
    assert scores.keys() == {"ner", "mean"}
    assert scores["mean"] == scores["ner"]["f1"]
    assert evaluate_rows(predictor, []) == {"mean": 0.0}


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    file = tmp_path / "chat-test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[4] = {"tokens": ["good"], "intent": None, "tags": ["O", "O"]}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = r"dataset 'chat', split test, row 4, column tags: task 'ner': 1 words but 2 tags"
    with pytest.raises(DataError, match=message):
        prepare(recipe).labelled("test")
