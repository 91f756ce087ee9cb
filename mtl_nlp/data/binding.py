"""The label columns of a task in a dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import ClassLabel, Dataset, Features
from datasets import List as ListFeature

from mtl_nlp.data.renaming import old_names, with_new_names
from mtl_nlp.errors import DataError
from mtl_nlp.tasks.base import Fields
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
                return list(dict.fromkeys(with_new_names(names, self.rename)))
        return None

    def fields(self, record: Mapping[str, Any], features: Features) -> Fields:
        """The label columns of a record under the task's names, class numbers as names."""
        values = {}
        for field, column in self.columns.items():
            value, names = record[column], _class_names(features[column])
            if names is not None:
                value = _named(value, names)
            values[field] = with_new_names(value, self.rename) if self.rename else value
        return values

    def renamed(self, dataset: Dataset) -> set[str]:
        """The old names of ``rename`` that a split has, as a class or in a row."""
        if not self.rename:
            return set()
        features = dataset.features
        names = [_class_names(features[column]) for column in self.columns.values()]
        found = {old for some in names for old in old_names(some or [], self.rename)}
        for fields in replace(self, rename={}, words=None).column(dataset):
            found.update(old for value in fields.values() for old in old_names(value, self.rename))
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
