"""Labels that a model lacks are told once per task, with how many rows have them."""

from dataclasses import replace

import pytest

from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.unknown_labels import unknown_labels
from tests.runs import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("labels")))


def test_a_model_of_the_same_data_lacks_none(prepared: Prepared) -> None:
    assert unknown_labels(prepared.tasks, prepared.labelled("test")) == []


def test_rows_of_each_label_are_counted_over_all_datasets(prepared: Prepared) -> None:
    tasks = {
        "topic": replace(prepared.tasks["topic"], labels=("up", "sideways")),
        "ner": replace(prepared.tasks["ner"], labels=("person",)),
    }
    rows = {name: splits["test"].to_list() for name, splits in prepared.splits.items()}
    down = sum(row["topic"] == "down" for row in rows["news"])
    spans = [set(row["tags"] or ()) for row in (*rows["chat"], *rows["news"])]
    org, place = (sum(f"B-{label}" in tags for tags in spans) for label in ("org", "place"))
    assert 0 < down < len(rows["news"])
    assert 0 < sum("B-org" in tags for tags in spans[len(rows["chat"]) :]) < org  # in both
    said = "labels that the model lacks, with the number of their rows:"
    assert unknown_labels(tasks, prepared.labelled("test")) == [
        f"task 'topic': {said} down ({down}); they count as errors in scoring",
        f"task 'ner': {said} org ({org}), place ({place}); they count as errors in scoring",
    ]


def test_a_task_without_labels_lacks_none(prepared: Prepared) -> None:
    tasks = {"topic": replace(prepared.tasks["topic"], labels=())}
    assert unknown_labels(tasks, prepared.labelled("test")) == []
