"""A task is built from what a recipe or a saved model says, or the mistake is named."""

import json
from typing import Any

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks import TASK_TYPES, build_task, saved_form, task_type
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.token_classification import TokenClassification


@pytest.mark.parametrize("name", TASK_TYPES)
def test_types_are_found_by_the_name_they_bear(name: str) -> None:
    assert task_type(name, where="tasks.t.type").type == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("token_clasification", "did you mean 'token_classification'"),
        ("poetry", "the types are text_classification, multi_label_classification, "),
    ],
)
def test_an_unknown_type_is_named(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^tasks.t.type: '{name}' is no task type; .*{message}"):
        task_type(name, where="tasks.t.type")


def test_settings_become_fields() -> None:
    settings = {"labels": ["a", "b"], "weight": 2, "inputs": ["text", "text_pair"]}
    task = build_task("t", "text_classification", settings, where="tasks.t")
    assert task == TextClassification(
        name="t", labels=("a", "b"), weight=2.0, inputs=("text", "text_pair")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schem": "bio"}, r"tasks.t.schem: unknown key; did you mean 'scheme'\? a token_class"),
        ({"tag": "tags"}, r"tasks.t.tag: unknown key; did you mean 'tags'\?"),
        ({"colour": 3}, r"tasks.t.colour: unknown key; a token_classification task has tags, "),
        ({"scheme": "iob1"}, r"tasks.t.scheme: should be 'none', 'bio' or 'bioes', found"),
        ({"weight": "heavy"}, r"tasks.t.weight: .*valid number.*, found 'heavy'"),
        ({"scheme": 1, "weight": "x"}, r"tasks.t.weight: .*; tasks.t.scheme: "),
    ],
)
def test_every_mistake_names_its_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_task("t", "token_classification", settings, where="tasks.t")


TEXT, TAGS = "text_classification", "token_classification"


@pytest.mark.parametrize(
    ("name", "kind", "settings", "message"),
    [
        ("a.b", TEXT, {}, r"a name is made of English letters.*such as `a_b`"),
        ("mean", TEXT, {}, "`mean` and `worst` stand for scores over all tasks"),
        ("worst", "regression", {}, "`mean` and `worst` stand for scores over all tasks"),
        ("t", TEXT, {"labels": ["a", "b", "a"]}, 'should name each label once, found "a" twice'),
        ("t", TAGS, {"labels": ["x", "x"]}, 'should name each label once, found "x" twice'),
        ("t", TEXT, {"labels": ["a", ""]}, "should hold label names, found an empty one"),
        ("t", TAGS, {"labels": [" \t"]}, "should hold label names, found an empty one"),
        ("t", TEXT, {"labels": ["a"]}, "chooses among at least 2 labels, found a alone"),
        ("t", "soft_classification", {"labels": ["a"]}, "at least 2 labels, found a alone"),
        ("t", TAGS, {"labels": ["O", "B-x"]}, "are span types such as person, found the tag 'O'"),
        ("t", TAGS, {"labels": ["I-x", "B-x"], "scheme": "bioes"}, "scheme bioes .* tag 'B-x'"),
    ],
)
def test_a_name_or_labels_that_no_task_can_have_are_refused(
    name: str, kind: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=rf"^tasks\.{name}: .*{message}"):
        build_task(name, kind, settings, where=f"tasks.{name}")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (TAGS, {"labels": ["B-cell", "T-cell"]}),
        (TAGS, {"labels": ["B-cell"]}),
        (TAGS, {"labels": ["O", "B-x", "I-x"], "scheme": "none"}),
        ("multi_label_classification", {"labels": ["a"]}),
        (TEXT, {}),
    ],
)
def test_labels_that_only_look_odd_are_taken(kind: str, settings: dict[str, Any]) -> None:
    task = build_task("t", kind, settings, where="tasks.t")
    assert list(task.labels) == settings.get("labels", [])


@pytest.mark.parametrize(
    "task",
    [
        TextClassification(name="t", labels=("a", "b"), weight=0.5, inputs=("text", "text_pair")),
        TextClassification(name="t", labels=("a", "b"), stock=False),
        TokenClassification(name="t", labels=("x",), scheme="bioes", inputs=("tokens",)),
        TokenClassification(name="t", labels=("N", "V"), scheme="none", commonest="N"),
    ],
)
def test_saved_and_built_again_it_is_the_same_task(task: Any) -> None:
    saved = json.loads(json.dumps(saved_form(task)))
    kind = saved.pop("type")
    assert build_task(saved.pop("name"), kind, saved, where="config.json") == task
