"""Which columns of which datasets a task's labels come from."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from datasets import ClassLabel, Dataset, Features
from datasets import List as ListFeature

from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.recipe import Recipe, TaskSpec
from mtl_nlp.tasks import build_task, task_type
from mtl_nlp.tasks.after import check_all_after
from mtl_nlp.tasks.base import Fields, Task, options_of
from mtl_nlp.tasks.labels import label_name
from mtl_nlp.tasks.own import is_own, load_own_type
from mtl_nlp.words import Words, join_words, split_words

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Binding:
    """A task's labels in one dataset.

    Attributes:
        task: The task's name.
        dataset: The dataset's name.
        columns: The dataset's column for each of the task's fields.
        rename: Label names to change, old to new.
        words: The input column, where the task learns from the words of its rows too.
    """

    task: str
    dataset: str
    columns: Mapping[str, str]
    rename: Mapping[str, str]
    words: str | None = None

    def check(self, split: str, dataset: Dataset) -> None:
        """Raise a DataError if a split lacks a column."""
        for field, column in self.columns.items():
            if column not in dataset.column_names:
                raise DataError(
                    f"dataset {self.dataset!r}, split {split}: no column {column!r} (tasks."
                    f"{self.task}.{field}); it has {', '.join(dataset.column_names)}"
                )

    def class_names(self, features: Features) -> list[str] | None:
        """Names of a ``ClassLabel`` column, in its order and renamed; None where there is none."""
        for column in self.columns.values():
            names = _class_names(features[column])
            if names is not None:
                return list(dict.fromkeys(_renamed(names, self.rename)))
        return None

    def fields(self, record: Mapping[str, Any], features: Features) -> Fields:
        """The label columns of a record under the task's names, class numbers as names."""
        values = {}
        for field, column in self.columns.items():
            value, names = record[column], _class_names(features[column])
            if names is not None:
                value = _named(value, names)
            values[field] = _renamed(value, self.rename) if self.rename else value
        return values

    def renamed(self, dataset: Dataset) -> set[str]:
        """The old names of ``rename`` that a split has, as a class or in a row."""
        if not self.rename:
            return set()
        features = dataset.features
        names = [_class_names(features[column]) for column in self.columns.values()]
        found = {old for some in names for old in _old_names(some or [], self.rename)}
        for fields in replace(self, rename={}, words=None).column(dataset):
            found.update(old for value in fields.values() for old in _old_names(value, self.rename))
        return found

    def column(self, dataset: Dataset) -> Iterator[Fields]:
        """The fields of every row, and its ``words`` where the task learns from them."""
        wanted = [*self.columns.values(), *([] if self.words is None else [self.words])]
        if not wanted:  # rows that are taken from a table, as a held-out share is, need a column
            yield from ({} for _ in range(len(dataset)))
            return
        narrow = dataset.select_columns(list(dict.fromkeys(wanted)))
        features = dataset.features  # copied anew whenever it is asked for
        for record in records(narrow):
            fields = self.fields(record, features)
            if self.words is None:
                yield fields
            else:
                yield {**fields, "words": _words(record[self.words])}


def records(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The rows of a split, read many at a time."""
    for columns in dataset.iter(batch_size=_ROWS_AT_ONCE):
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def bind_tasks(recipe: Recipe) -> tuple[dict[str, Task], list[Binding]]:
    """The recipe's tasks, not yet learned, and where each finds its labels.

    Raises:
        RecipeError: If a task's type, columns or options are wrong.
    """
    tasks: dict[str, Task] = {}
    bindings: list[Binding] = []
    for name, spec in recipe.tasks.items():
        where = f"tasks.{name}"
        load = load_own_type if is_own(spec.type) else task_type
        cls = load(spec.type, where=f"{where}.type")
        settings = dict(spec.model_extra or {})
        known = {column for way in cls.columns for column in way}
        columns = {key: settings.pop(key) for key in list(settings) if key in known}
        labels, more = _labels(spec, known, where)
        columns.update(more)
        tasks[name] = build_task(
            name,
            cls.type,
            {
                **settings,
                "weight": spec.weight,
                "labels": labels,
                "inputs": _inputs(recipe, spec, cls, where),
            },
            where=where,
            own={cls.type: cls},
        )
        _check_metrics(spec.metrics, tasks[name], f"{where}.metrics")
        if hidden := settings.keys() - options_of(cls).keys():
            raise RecipeError(f"{where}.{sorted(hidden)[0]}: is not for a recipe to set")
        if tuple(sorted(columns)) not in {tuple(sorted(way)) for way in cls.columns}:
            ways = " or ".join(" and ".join(f"{c}: COLUMN" for c in way) for way in cls.columns)
            found = ", ".join(f"{key}: {value}" for key, value in columns.items()) or "none"
            raise RecipeError(f"{where}: expected the label columns {ways}, found {found}")
        for dataset in spec.datasets:
            bound = {
                field: _column(column, dataset, f"{where}.{field}")
                for field, column in columns.items()
            }
            given = recipe.datasets[dataset]
            words = (given.tokens or given.text) if cls.learns_from_words else None
            bindings.append(Binding(name, dataset, bound, spec.map, words))
    check_all_after(tasks)
    return tasks, bindings


def metric_name(source: str) -> str:
    """What the scores of a further metric are called: the last part of its id or path.

    >>> metric_name("seqeval"), metric_name("org/wer"), metric_name("/home/me/wer/wer.py")
    ('seqeval', 'wer', 'wer')
    """
    return PurePath(source).name.removesuffix(".py")


def learn_tasks(
    tasks: Mapping[str, Task],
    bindings: Sequence[Binding],
    splits: Mapping[str, Mapping[str, Dataset]],
) -> dict[str, Task]:
    """The tasks with what their training rows teach them.

    Args:
        tasks: As `bind_tasks` gives them.
        bindings: Likewise.
        splits: By dataset and split.

    Raises:
        DataError: If a column is missing or the rows teach nothing usable.
    """
    learned = {}
    for name, task in tasks.items():
        own = [binding for binding in bindings if binding.task == name]
        for binding in own:
            for split, dataset in splits[binding.dataset].items():
                binding.check(split, dataset)
        given = [b.class_names(splits[b.dataset]["train"].features) for b in own]
        names = [n for names in given if names for n in names] if all(given) else None
        rows = _TrainingRows(own, splits)
        try:
            learned[name] = task.learn(rows, list(dict.fromkeys(names)) if names else None)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{rows.place}: task {name!r}: {error}") from error
    return learned


class _TrainingRows:
    """The label columns of a task's training rows; knows which row it has come to."""

    def __init__(
        self, bindings: Sequence[Binding], splits: Mapping[str, Mapping[str, Dataset]]
    ) -> None:
        self._bindings, self._splits = bindings, splits
        self._here: tuple[Binding, int] | None = None

    def __iter__(self) -> Iterator[Fields]:
        for binding in self._bindings:
            for row, fields in enumerate(binding.column(self._splits[binding.dataset]["train"])):
                self._here = binding, row
                yield fields
        self._here = None

    @property
    def place(self) -> str:
        """The row, or all the datasets where the rows are not being gone through."""
        if self._here is None:
            return f"dataset {', '.join(repr(b.dataset) for b in self._bindings)}, split train"
        binding, row = self._here
        columns = ", ".join(binding.columns.values())
        return f"dataset {binding.dataset!r}, split train, row {row}, column {columns}"


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


def _words(value: Any) -> Words:
    """The words of an input; none where there is no input, which is told when rows are read."""
    if isinstance(value, str):
        return split_words(value)
    is_words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return join_words(value if is_words else [])


def _class_names(feature: Any) -> list[str] | None:
    """Names of a class, also in lists and as the ``label`` of records."""
    while isinstance(feature, ListFeature | dict):
        feature = feature.get("label") if isinstance(feature, dict) else feature.feature
    names: list[str] | None = feature.names if isinstance(feature, ClassLabel) else None
    return names


def _named(value: Any, names: Sequence[str]) -> Any:
    """Class numbers, also in lists and records, as names; -1, which marks no label, as None."""
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if isinstance(value, dict):
        return {**value, "label": _named(value["label"], names)}
    return None if value is None or value < 0 else names[value]


def _renamed(value: Any, rename: Mapping[str, str]) -> Any:
    """The value with label names changed, also in lists, records and behind a tag's prefix."""
    if isinstance(value, list):
        return [_renamed(item, rename) for item in value]
    if isinstance(value, dict):  # a record's label, not where it starts
        return {k: _renamed(v, rename) if _renames(k, value) else v for k, v in value.items()}
    old = _old_name(value, rename)
    if old is None:
        return value
    return rename[old] if old == _plain_name(value) else f"{value[:2]}{rename[old]}"


def _old_names(value: Any, rename: Mapping[str, str]) -> Iterator[str]:
    """The names in a value that are changed."""
    if isinstance(value, list):
        for item in value:
            yield from _old_names(item, rename)
    elif isinstance(value, dict):
        for key, item in value.items():
            if _renames(key, value):
                yield from _old_names(item, rename)
    elif (old := _old_name(value, rename)) is not None:
        yield old


def _renames(key: str, record: Mapping[str, Any]) -> bool:
    return key == "label" or "label" not in record


def _old_name(value: Any, rename: Mapping[str, str]) -> str | None:
    """The name that is changed in a label or tag; None where there is none."""
    name = _plain_name(value)
    if name in rename:
        return name
    prefix, _, rest = name.partition("-")
    return rest if isinstance(value, str) and len(prefix) == 1 and rest in rename else None


def _plain_name(value: Any) -> str:
    """A label as ``map`` names it, whether it was read as text, a truth value or a number."""
    if isinstance(value, bool | int | float):
        with suppress(ValueError):  # no whole number, which names no label
            return label_name(value, ())
    return str(value)
