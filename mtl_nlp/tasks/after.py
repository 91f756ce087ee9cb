"""Tasks that read the predictions of tasks before them."""

from collections.abc import Iterable, Mapping

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks.base import Task


def check_after(task: Task, before: Mapping[str, Task]) -> None:
    """Refuse a task that reads what it cannot.

    A task reads tasks that stand before it, so none ever reads in a circle.

    Args:
        task: The task.
        before: Those that stand before it, by name.

    Raises:
        RecipeError: Naming the task that it cannot read, and why.
    """
    where = f"tasks.{task.name}.after"
    for name in task.after:
        if name not in before:
            there = ", ".join(before) or "none"
            raise RecipeError(
                f"{where}: no task {name!r} stands before it; before it stand {there}; a task reads"
                " only tasks above it, so that none reads in a circle"
            )
        other = before[name]
        if type(other).distribution is Task.distribution:
            raise RecipeError(
                f"{where}: {name!r} is a {other.type} task, which has no distribution over labels"
                " to read"
            )
        if other.view != task.view:
            raise RecipeError(
                f"{where}: {name!r} sees the rows in another way than a {task.type} task does"
            )
    if twice := sorted({name for name in task.after if task.after.count(name) > 1}):
        raise RecipeError(f"{where}: names {twice[0]!r} twice; keep one")


def check_all_after(tasks: Mapping[str, Task]) -> None:
    """Refuse tasks that read what they cannot, the first of them.

    Raises:
        RecipeError: As `check_after` does.
    """
    before: dict[str, Task] = {}
    for name, task in tasks.items():
        check_after(task, before)
        before[name] = task


def run_for(names: Iterable[str], tasks: Mapping[str, Task]) -> set[str]:
    """The tasks whose heads are run for these: themselves, and all that they read."""
    found = set(names)
    for name in reversed(list(tasks)):  # a task stands behind those it reads
        if name in found:
            found.update(tasks[name].after)
    return found


def read_by(names: Iterable[str], tasks: Mapping[str, Task]) -> set[str]:
    """The tasks whose heads learn from the losses of these: themselves, and those they read."""
    found = set(names)
    for name in reversed(list(tasks)):  # a task stands behind those it reads
        if name in found and tasks[name].after_gradient:
            found.update(tasks[name].after)
    return found
