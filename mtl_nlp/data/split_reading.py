"""One pass over a split: every row's input, labels and their number, as the doctor needs them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import Dataset

from mtl_nlp.data.binding import Binding, records
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.prepare import EncodedSplit, read_label, read_rows, used_columns
from mtl_nlp.recipe import DatasetSpec, Recipe
from mtl_nlp.tasks.base import Fields, Task
from mtl_nlp.words import Row


@dataclass(frozen=True)
class Reading:
    """What one pass over a split found.

    Attributes:
        inputs: A number that stands for each row's input, (n,).
        values: By task, a number that stands for what is right for each row, None if unlabelled.
        counts: By task, how often each label occurs.
    """

    inputs: list[int]
    values: dict[str, list[int | None]]
    counts: dict[str, Counter[str]]


@dataclass(frozen=True)
class SplitReader:
    """One split of a dataset and how to read it."""

    dataset: str
    split: str
    table: Dataset
    spec: DatasetSpec
    encoder: RowEncoder
    bindings: tuple[Binding, ...]

    @property
    def place(self) -> str:
        """How errors name it."""
        return f"dataset {self.dataset!r}, split {self.split}"

    def rows(self) -> Iterator[tuple[dict[str, Any], Row]]:
        """Every record with its row."""
        narrow = self.table.select_columns(used_columns(self.spec, self.bindings))
        for number, record in enumerate(records(narrow)):
            yield record, read_rows(self.encoder, self.spec, [record], self.place, [number])[0]

    def fields(self, binding: Binding) -> Iterator[tuple[Fields, Row]]:
        """A task's label columns with the row they speak of."""
        features = self.table.features
        for record, row in self.rows():
            yield binding.fields(record, features), row

    def read(self, tasks: Mapping[str, Task]) -> Reading:
        """Go through its rows once.

        Raises:
            DataError: If a row is not what the recipe says.
        """
        features = self.table.features
        names = [binding.task for binding in self.bindings]
        reading = Reading([], {name: [] for name in names}, {name: Counter() for name in names})
        for number, (record, row) in enumerate(self.rows()):
            texts = (row.words, row.pair, *row.choices)
            reading.inputs.append(hash(tuple(words and words.text for words in texts)))
            place = f"{self.place}, row {number}"
            for binding in self.bindings:
                task = tasks[binding.task]
                value = read_label(task, binding, record, features, row, place)
                labelled = value is not None
                reading.values[task.name].append(hash(repr(value)) if labelled else None)
                if labelled:
                    reading.counts[task.name].update(task.occurrences(value))
        return reading

    def labelled_lengths(self, task: Task, encoded: EncodedSplit) -> np.ndarray:
        """Sub-words of each row that a task has labels of when nothing is cut, (n,)."""
        lengths: np.ndarray = encoded.lengths_in(task.view).copy()
        cut = np.flatnonzero(encoded.truncated(task.view))
        if len(cut):
            rows = [row for _, row in replace(self, table=self.table.select(cut)).rows()]
            lengths[cut] = self.encoder.full_lengths(rows, task.view)
        labelled: np.ndarray = lengths[encoded.labelled[task.name]]
        return labelled


def split_readers(
    recipe: Recipe,
    splits: Mapping[str, Mapping[str, Dataset]],
    bindings: Sequence[Binding],
    encoder: RowEncoder,
) -> dict[str, dict[str, SplitReader]]:
    """How to read every split of every dataset of a recipe, by dataset and split."""
    return {
        dataset: {
            split: SplitReader(
                dataset,
                split,
                table,
                recipe.datasets[dataset],
                replace(encoder, join=recipe.datasets[dataset].join),
                tuple(b for b in bindings if b.dataset == dataset),
            )
            for split, table in by_split.items()
        }
        for dataset, by_split in splits.items()
    }
