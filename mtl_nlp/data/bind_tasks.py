"""A recipe's tasks, and which columns of which datasets their labels come from."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mtl_nlp.data.binding import Binding
from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe, TaskSpec
from mtl_nlp.tasks import build_task, options_of, task_type
from mtl_nlp.tasks.after import check_all_after
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.own import is_own, load_own_type


def bind_tasks(recipe: Recipe) -> tuple[dict[str, Task], list[Binding]]:
    """The recipe's tasks, not yet learned, and where each finds its labels.

    Raises:
        RecipeError: If a task's type, columns or options are wrong.
    """
    tasks: dict[str, Task] = {}
    bindings: list[Binding] = []
    for name, spec in recipe.tasks.items():
        tasks[name], own = _bind(recipe, name, spec)
        bindings += own
    check_all_after(tasks)
    return tasks, bindings


def metric_name(source: str) -> str:
    """What the scores of a further metric are called: the last part of its id or path.

    >>> metric_name("seqeval"), metric_name("org/wer"), metric_name("/home/me/wer/wer.py")
    ('seqeval', 'wer', 'wer')
    """
    return PurePath(source).name.removesuffix(".py")


def _bind(recipe: Recipe, name: str, spec: TaskSpec) -> tuple[Task, list[Binding]]:
    """One task, and where it finds its labels in each of its datasets."""
    where = f"tasks.{name}"
    load = load_own_type if is_own(spec.type) else task_type
    cls = load(spec.type, where=f"{where}.type")
    settings = dict(spec.model_extra or {})
    known = {column for way in cls.columns for column in way}
    columns = {key: settings.pop(key) for key in list(settings) if key in known}
    labels, more = _labels(spec, known, where)
    columns.update(more)
    inputs = _inputs(recipe, spec, cls, where)
    options = {**settings, "weight": spec.weight, "labels": labels, "inputs": inputs}
    task = build_task(name, cls.type, options, where=where, own={cls.type: cls})
    _check_metrics(spec.metrics, task, f"{where}.metrics")
    if hidden := settings.keys() - options_of(cls).keys():
        raise RecipeError(f"{where}.{sorted(hidden)[0]}: is not for a recipe to set")
    _check_columns(columns, cls, where)
    bindings = []
    for dataset in spec.datasets:
        bound = {
            field: _column(column, dataset, f"{where}.{field}") for field, column in columns.items()
        }
        given = recipe.datasets[dataset]
        words = (given.tokens or given.text) if cls.learns_from_words else None
        bindings.append(Binding(name, dataset, bound, spec.map, words))
    return task, bindings


def _check_columns(columns: Mapping[str, Any], cls: type[Task], where: str) -> None:
    """Refuse label columns that are not those of one of a type's ways."""
    if tuple(sorted(columns)) not in {tuple(sorted(way)) for way in cls.columns}:
        ways = " or ".join(" and ".join(f"{c}: COLUMN" for c in way) for way in cls.columns)
        found = ", ".join(f"{key}: {value}" for key, value in columns.items()) or "none"
        raise RecipeError(f"{where}: expected the label columns {ways}, found {found}")


def _labels(
    spec: TaskSpec, known: Collection[str], where: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Label names, and the column ``labels`` of a type that reads one.

    There ``labels: COLUMN`` names it; a list is the label names, and the column is ``labels``.
    """
    given = spec.labels
    if "labels" not in known:
        if isinstance(given, str | dict):
            raise RecipeError(f"{where}.labels: should be a list of label names, found {given!r}")
        return tuple(given or ()), {}
    if isinstance(given, list):
        return tuple(given), {"labels": "labels"}
    return (), {} if given is None else {"labels": given}


def _inputs(recipe: Recipe, spec: TaskSpec, cls: type[Task], where: str) -> tuple[str, ...]:
    """The input columns that a task reads of its datasets."""
    kinds = {}
    for dataset in spec.datasets:
        given = recipe.datasets[dataset].inputs
        fitting = [way for way in cls.takes if given.keys() >= set(way)]
        if not fitting:
            ways = ", or ".join(" and ".join(way) for way in cls.takes)
            raise RecipeError(
                f"{where}.dataset: a {cls.type} task reads {ways}, and the dataset {dataset!r} has"
                f" {' and '.join(given)}"
            )
        kinds[dataset] = fitting[0]
    pairs = {dataset for dataset, kind in kinds.items() if "text_pair" in kind}
    if pairs and len(pairs) < len(kinds):
        raise RecipeError(
            f"{where}.dataset: {', '.join(sorted(pairs))} holds pairs of texts, the other datasets"
            " single ones; a task needs the same kind of input everywhere"
        )
    words = {dataset for dataset, kind in kinds.items() if "tokens" in kind}
    if cls.counts_by_input and words and len(words) < len(kinds):
        raise RecipeError(
            f"{where}.dataset: places in {', '.join(sorted(words))} count words of tokens, in the"
            f" other datasets characters of a text; a {cls.type} task needs one of the two"
            " everywhere, so bring the datasets to one or make two tasks of it"
        )
    return next(iter(kinds.values()))


def _check_metrics(sources: Sequence[str], task: Task, where: str) -> None:
    """Refuse a further metric whose scores would bear the name of others."""
    names = [metric_name(source) for source in sources]
    for source, name in zip(sources, names, strict=True):
        if name in task.metric_names:
            raise RecipeError(
                f"{where}: {source!r} is computed anyway, like all of"
                f" {', '.join(task.metric_names)}; leave it out"
            )
        if names.count(name) > 1:
            raise RecipeError(f"{where}: two metrics are called {name!r}; keep one")


def _column(column: Any, dataset: str, where: str) -> str:
    if isinstance(column, Mapping):
        if dataset not in column:
            raise RecipeError(
                f"{where}: names no column for the dataset {dataset!r}; it has one for"
                f" {', '.join(map(str, column))}"
            )
        column = column[dataset]
    if not isinstance(column, str):
        raise RecipeError(f"{where}: expected a column's name, found {column!r}")
    return column
