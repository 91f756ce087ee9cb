"""Which tasks are regularized, and what is refused or told at the door."""

from typing import Any

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.r_drop import RDropLosses
from mtl_nlp.training.regularizing import build_losses, check_regularization
from mtl_nlp.training.smart import SmartLosses
from mtl_nlp.training.task_losses import PLAIN

TYPES = {"mood": "text_classification", "like": "sentence_similarity", "age": "regression"}


def tasks_of(*names: str) -> dict[str, Task]:
    labels = {"mood": {"labels": ("a", "b")}}
    return {n: build_task(n, TYPES[n], labels.get(n, {}), where=n) for n in names}


def recipe_of(precision: str = "fp32", dropout: float | None = None, **given: Any) -> Recipe:
    return Recipe(
        encoder="org/encoder",
        dropout=dropout,
        datasets={"d": {"path": "org/d", "text": "text"}},
        tasks={n: {"type": kind, "dataset": "d", "label": "label"} for n, kind in TYPES.items()},
        training={"precision": precision, "regularization": given or None},
    )


def test_without_a_method_losses_are_plain() -> None:
    assert check_regularization(recipe_of(), tasks_of("like")) == []
    assert build_losses(None, tasks_of("like")) is PLAIN


@pytest.mark.parametrize(("method", "kind"), [("r_drop", RDropLosses), ("smart", SmartLosses)])
def test_one_weight_is_that_of_every_task_that_can_and_the_others_are_told(
    method: str, kind: type
) -> None:
    recipe, tasks = recipe_of(method=method, weight=0.5), tasks_of("mood", "like", "age")
    (note,) = check_regularization(recipe, tasks)
    assert note.startswith("training.regularization: task 'like' is left out: ")
    assert "a sentence_similarity task has none" in note
    losses = build_losses(recipe.training.regularization, tasks)
    assert isinstance(losses, kind)
    assert losses.weights == {"mood": 0.5, "age": 0.5}  # type: ignore[attr-defined]


def test_weights_by_task_leave_the_others_as_they_are() -> None:
    recipe, tasks = recipe_of(method="r_drop", weight={"age": 2}), tasks_of(*TYPES)
    assert check_regularization(recipe, tasks) == []
    losses = build_losses(recipe.training.regularization, tasks)
    assert losses.weights == {"age": 2.0}  # type: ignore[attr-defined]


def test_r_drop_without_dropout_is_told() -> None:
    (note,) = check_regularization(recipe_of(dropout=0.0, method="r_drop"), tasks_of("mood"))
    assert "with dropout: 0 there is no difference; it doubles the work and changes nothing" in note
    assert check_regularization(recipe_of(dropout=0.0, method="smart"), tasks_of("mood")) == []


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        ({"method": "r_drop"}, ["like"], r"no task here has such \(sentence_similarity\); leave"),
        ({"method": "smart", "weight": {"like": 1}}, [*TYPES], "weight: 'like' is a sentence_simi"),
        ({"method": "smart", "weight": {"mod": 1}}, [*TYPES], "no task `mod`; did you mean `mood`"),
        ({"method": "smart", "precision": "fp16"}, ["mood"], "training.precision: the slopes that"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], names: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_regularization(recipe_of(**given), tasks_of(*names))
