"""A task learns its labels from the training rows of all its datasets."""

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features
from datasets import List as ListFeature

from mtl_nlp.data.bind_tasks import bind_tasks
from mtl_nlp.data.learn_tasks import learn_tasks
from mtl_nlp.errors import DataError
from mtl_nlp.tasks.base import Task
from tests.rows import make_recipe

TEXT = {"path": "org/texts", "text": "text"}
WORDS = {"path": "org/words", "tokens": "tokens"}
MOOD = {"type": "text_classification", "dataset": "d", "label": "label"}
NER = {"type": "token_classification", "dataset": "d", "tags": "tags"}


def _learn(task: dict[str, Any], *tables: Dataset) -> Task:
    """The task learned from datasets d, e, … of these training rows."""
    names = "de"[: len(tables)]
    inputs = WORDS if task["type"] == "token_classification" and "tags" in task else TEXT
    recipe = make_recipe(dict.fromkeys(names, inputs), {"t": {**task, "dataset": list(names)}})
    splits = {name: {"train": table} for name, table in zip(names, tables, strict=True)}
    return learn_tasks(*bind_tasks(recipe), splits)["t"]


def _labels(*values: Any, feature: Any = None) -> Dataset:
    features = Features({"label": feature}) if feature else None
    return Dataset.from_dict({"label": list(values)}, features=features)


def test_labels_of_all_datasets_are_learned_sorted() -> None:
    assert _learn(MOOD, _labels("b", "c"), _labels("a", None)).labels == ("a", "b", "c")


def test_numbers_are_sorted_as_numbers() -> None:
    assert _learn(MOOD, _labels(10, 9, 2)).labels == ("2", "9", "10")


def test_whole_numbers_read_as_floats_are_whole() -> None:
    assert _learn(MOOD, _labels(1.0, 0.0, None)).labels == ("0", "1")


def test_a_class_label_keeps_its_order() -> None:
    feature = ClassLabel(names=["worse", "better"])
    assert _learn(MOOD, _labels(1, 1, feature=feature)).labels == ("worse", "better")


def test_class_labels_of_several_datasets_are_joined_in_order() -> None:
    one, other = ClassLabel(names=["z", "b"]), ClassLabel(names=["b", "a"])
    tables = _labels(0, feature=one), _labels(1, feature=other)
    assert _learn(MOOD, *tables).labels == ("z", "b", "a")


def test_renaming_reaches_labels_and_tags_behind_their_prefix() -> None:
    assert _learn({**MOOD, "map": {"pos": "good"}}, _labels("pos", "bad")).labels == ("bad", "good")
    feature = ListFeature(ClassLabel(names=["O", "B-PER", "I-PER"]))
    tags = Dataset.from_dict({"tags": [[1, 2]]}, features=Features({"tags": feature}))
    assert _learn({**NER, "map": {"PER": "person"}}, tags).labels == ("person",)


@pytest.mark.parametrize(
    ("values", "rename"),
    [
        ([True, False, None], {"true": "pos", "false": "neg"}),
        ([1.0, 0.0, None], {"1": "pos", "0": "neg"}),
        ([1, 0, None], {"1": "pos", "0": "neg"}),
        ([1.5, 0.0, 1.0], {"1": "pos", "0": "neg", "1.5": "pos"}),
    ],
)
def test_truth_values_and_numbers_are_renamed_by_their_names(
    values: list[Any], rename: dict[str, str]
) -> None:
    task = {**MOOD, "map": rename}
    assert _learn(task, _labels(*values)).labels == ("neg", "pos")
    (binding,) = bind_tasks(make_recipe({"d": TEXT}, {"t": task}))[1]
    assert binding.renamed(_labels(*values)) == set(rename)
    assert binding.renamed(_labels("pos", None)) == set()


def test_given_labels_need_no_rows() -> None:
    assert _learn({**MOOD, "labels": ["x", "y"]}, _labels(None)).labels == ("x", "y")


def test_a_missing_label_column_is_told_with_the_ones_there_are() -> None:
    table = Dataset.from_dict({"text": ["x"], "mood": ["good"]})
    expected = r"dataset 'd', split train: no column 'label' \(tasks.t.label\); it has text, mood"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, table)


def test_a_label_that_cannot_be_learned_is_told_with_its_row() -> None:
    expected = r"dataset 'e', split train, row 1, column label: task 't': .*found 0\.5"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, _labels("a", "b", "c"), _labels(0.0, 0.5))


def test_rows_that_teach_nothing_are_told_with_their_datasets() -> None:
    expected = r"dataset 'd', 'e', split train: task 't': expected at least two different labels"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, _labels("a"), _labels("a", None))


@pytest.mark.parametrize(
    ("names", "message"),
    [(["only"], "at least 2 labels, found only alone"), (["a", ""], "found an empty one")],
)
def test_classes_that_no_task_can_have_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"dataset 'd', split train: task 't': .*{message}"):
        _learn(MOOD, _labels(0, 0, feature=ClassLabel(names=names)))
