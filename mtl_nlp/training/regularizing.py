"""What a recipe adds to the tasks' losses, so that predictions do not hang on what means nothing.

It is added to a task's loss before balancing, so every balancing method sees it.
"""

from collections.abc import Mapping

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe
from mtl_nlp.recipe_regularization import RegularizationSpec
from mtl_nlp.suggest import did_you_mean
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.r_drop import RDropLosses
from mtl_nlp.training.smart import SmartLosses
from mtl_nlp.training.task_losses import PLAIN, TaskLosses

_PLACE = "training.regularization"


def build_losses(spec: RegularizationSpec | None, tasks: Mapping[str, Task]) -> TaskLosses:
    """What a recipe names.

    Args:
        spec: Method, weights and options; None: nothing is added.
        tasks: By name.
    """
    if spec is None:
        return PLAIN
    weights = _weights(spec, tasks)
    return RDropLosses(weights) if spec.method == "r_drop" else SmartLosses(weights, **spec.options)


def check_regularization(recipe: Recipe, tasks: Mapping[str, Task]) -> list[str]:
    """Refuse a method that cannot do what is asked of it.

    Args:
        recipe: What to do.
        tasks: By name.

    Returns:
        What a user should know.

    Raises:
        RecipeError: If it names tasks that are not there or predict nothing that can be compared,
            if there is no other, or if the precision is not fit for it.
    """
    spec = recipe.training.regularization
    if spec is None:
        return []
    if isinstance(spec.weight, dict):
        _check_named(spec.weight, tasks)
    if not _weights(spec, tasks):
        types = ", ".join(dict.fromkeys(task.type for task in tasks.values()))
        raise RecipeError(
            f"{_PLACE}: {spec.method} compares two predictions of an item, and no task here has"
            f" such ({types}); leave it out"
        )
    if spec.method == "smart" and recipe.training.precision == "fp16":
        raise RecipeError(
            "training.precision: the slopes that smart follows vanish in fp16; use bf16 or fp32,"
            f" or another {_PLACE}.method"
        )
    notes = []
    if not isinstance(spec.weight, dict):
        for name, task in tasks.items():
            if not _comparable(task):
                notes.append(
                    f"{_PLACE}: task {name!r} is left out: {spec.method} compares two predictions"
                    f" of an item, and a {task.type} task has none that can be"
                )
    if spec.method == "r_drop" and recipe.dropout == 0:
        notes.append(
            f"{_PLACE}: r_drop compares two dropouts, and with dropout: 0 there is no difference;"
            " it doubles the work and changes nothing"
        )
    return notes


def _weights(spec: RegularizationSpec, tasks: Mapping[str, Task]) -> dict[str, float]:
    if isinstance(spec.weight, dict):
        return dict(spec.weight)
    return {name: spec.weight for name, task in tasks.items() if _comparable(task)}


def _comparable(task: Task) -> bool:
    return type(task).divergence is not Task.divergence


def _check_named(names: Mapping[str, float], tasks: Mapping[str, Task]) -> None:
    for name in names:
        if name not in tasks:
            hint = did_you_mean(name, tasks)
            raise RecipeError(f"{_PLACE}.weight: there is no task `{name}`; {hint}")
        if not _comparable(tasks[name]):
            raise RecipeError(
                f"{_PLACE}.weight: {name!r} is a {tasks[name].type} task, of whose items no two"
                " predictions can be compared; leave it out"
            )
