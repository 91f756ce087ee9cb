"""A task finds its labels in the columns of its datasets, whatever they are called."""

from typing import Any

import pytest

from mtl_nlp.data.bind_tasks import bind_tasks, metric_name
from mtl_nlp.errors import RecipeError
from tests.rows import make_recipe

TEXT = {"path": "org/texts", "text": "text"}
WORDS = {"path": "org/words", "tokens": "tokens"}
MOOD = {"type": "text_classification", "dataset": "d", "label": "label"}
SUBJECTS = {"type": "multi_label_classification", "dataset": "d", "labels": "subjects"}
NER = {"type": "token_classification", "dataset": "d", "tags": "tags"}


def test_columns_are_bound_per_dataset() -> None:
    task = {**MOOD, "dataset": ["d", "e"], "label": {"d": "stars", "e": "mood"}}
    tasks, bindings = bind_tasks(make_recipe({"d": TEXT, "e": TEXT}, {"t": task}))
    assert [(b.dataset, b.columns) for b in bindings] == [
        ("d", {"label": "stars"}),
        ("e", {"label": "mood"}),
    ]
    assert tasks["t"].inputs == ("text",)


def test_settings_reach_the_task() -> None:
    task = {**NER, "scheme": "bioes", "labels": ["person"], "weight": 2}
    (built,) = bind_tasks(make_recipe({"d": WORDS}, {"t": task}))[0].values()
    assert (built.type, built.weight, built.labels) == ("token_classification", 2.0, ("person",))
    assert built.logit_names == ("O", "B-person", "I-person", "E-person", "S-person")


@pytest.mark.parametrize(
    ("labels", "column", "names"),
    [
        ("subjects", "subjects", ()),
        ({"d": "about"}, "about", ()),
        (["a", "b"], "labels", ("a", "b")),
    ],
)
def test_a_type_with_a_column_of_labels_is_told_column_or_names(
    labels: Any, column: str, names: tuple[str, ...]
) -> None:
    task = {**SUBJECTS, "labels": labels}
    tasks, (binding,) = bind_tasks(make_recipe({"d": TEXT}, {"t": task}))
    assert (binding.columns, tasks["t"].labels) == ({"labels": column}, names)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**MOOD, "type": "text_clasification"}, r"tasks.t.type: .*did you mean 'text_classif"),
        ({**MOOD, "scheme": "bio"}, r"tasks.t.scheme: unknown key"),
        ({**NER, "schema": "bio"}, r"tasks.t.schema: unknown key; did you mean 'scheme'\?"),
        ({**NER, "scheme": "bilou"}, r"tasks.t.scheme: .*found 'bilou'"),
        ({**MOOD, "inputs": ["text"]}, r"tasks.t.inputs: is not for a recipe to set"),
        ({**MOOD, "stock": False}, r"tasks.t.stock: is not for a recipe to set"),
        ({**NER, "entities": "e"}, r"tasks.t: expected the label columns tags: COLUMN or entities"
         r": COLUMN, found .*tags: tags.*entities: e|tasks.t: expected the label columns"),
        ({k: v for k, v in MOOD.items() if k != "label"}, r"tasks.t: expected .*label: COLUMN,"
         " found none"),
        ({**MOOD, "labels": "mood"}, r"tasks.t.labels: should be a list of label names, found"),
        ({"type": SUBJECTS["type"], "dataset": "d"}, r"tasks.t: expected .* labels: COLUMN, found"),
        ({**MOOD, "label": 3}, r"tasks.t.label: expected a column's name, found 3"),
        ({**MOOD, "label": {"e": "label"}}, r"tasks.t.label: names no column for the dataset 'd';"
         " it has one for e"),
    ],
)  # fmt: skip
def test_mistakes_in_a_task_name_its_key(task: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        bind_tasks(make_recipe({"d": WORDS if "tags" in task else TEXT}, {"t": task}))


def test_pairs_and_single_texts_do_not_mix_in_one_task() -> None:
    datasets = {"d": TEXT, "e": {**TEXT, "text_pair": "second"}}
    with pytest.raises(RecipeError, match=r"tasks.t.dataset: e holds pairs of texts"):
        bind_tasks(make_recipe(datasets, {"t": {**MOOD, "dataset": ["d", "e"]}}))


def test_places_in_words_and_in_characters_do_not_mix_in_one_task() -> None:
    task = {"type": "span_classification", "dataset": ["d", "e"], "spans": "spans"}
    with pytest.raises(
        RecipeError, match=r"tasks.t.dataset: places in e count words of tokens, in"
    ):
        bind_tasks(make_recipe({"d": TEXT, "e": WORDS}, {"t": task}))
    for both in (TEXT, WORDS):
        bind_tasks(make_recipe({"d": both, "e": both}, {"t": task}))
    bind_tasks(make_recipe({"d": TEXT, "e": WORDS}, {"t": {**MOOD, "dataset": ["d", "e"]}}))


def test_one_dataset_carries_several_tasks() -> None:
    tasks = {"intent": MOOD, "slots": NER}
    _, bindings = bind_tasks(make_recipe({"d": WORDS}, tasks))
    assert [(b.task, b.dataset) for b in bindings] == [("intent", "d"), ("slots", "d")]


def test_further_metrics_may_be_named() -> None:
    names = ["f1", "org/wer", "/home/me/wrongness/wrongness.py"]
    tasks, _ = bind_tasks(make_recipe({"d": TEXT}, {"t": {**MOOD, "metrics": names}}))
    assert tasks["t"].metric_names == ("accuracy", "macro_f1", "weighted_f1", "mcc")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**MOOD, "metrics": ["f1", "accuracy"]}, r"'accuracy' is computed anyway, like all of "
         r"accuracy, macro_f1, weighted_f1, mcc; leave it out"),
        ({**NER, "metrics": ["f1"]}, r"'f1' is computed anyway, like all of f1, precision"),
        ({**NER, "scheme": "none", "metrics": ["./accuracy"]}, r"'./accuracy' is computed anyway"),
        ({**MOOD, "metrics": ["a/wer", "b/wer"]}, r"two metrics are called 'wer'; keep one"),
    ],
)  # fmt: skip
def test_metrics_whose_scores_would_be_others_are_refused(
    task: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=rf"^tasks\.t\.metrics: {message}"):
        bind_tasks(make_recipe({"d": WORDS if "tags" in task else TEXT}, {"t": task}))


@pytest.mark.parametrize(
    ("source", "name"),
    [("rouge", "rouge"), ("org/wer", "wer"), ("/a/b.c/", "b.c"), ("a/wer.py", "wer")],
)
def test_a_metric_is_called_by_its_last_name(source: str, name: str) -> None:
    assert metric_name(source) == name
