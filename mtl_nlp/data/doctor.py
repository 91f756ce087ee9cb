"""The data doctor: what is in the splits, and what in them will hurt training or its scores."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from datasets import Dataset

from mtl_nlp.data.binding import Binding, records
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.prepare import EncodedSplit, read_label, read_rows, used_columns
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import DatasetSpec, Recipe
from mtl_nlp.tasks.base import Fields, Task
from mtl_nlp.words import Row

_CUT_ENOUGH = 0.01  # share of truncated rows that is worth a warning
_LISTED = 8  # names in one warning


@dataclass(frozen=True)
class Examination:
    """What was found, in the shape of ``check --json``.

    Attributes:
        datasets: By name, ``rows`` per split.
        tasks: By name, ``type``, ``labels`` per split with their number (of entities, with a
            scheme), ``missing`` labels per split in rows, and the ``truncated`` share of its
            training rows.
        warnings: One sentence each.
    """

    datasets: dict[str, dict[str, Any]]
    tasks: dict[str, dict[str, Any]]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def examine(
    recipe: Recipe,
    splits: Mapping[str, Mapping[str, Dataset]],
    tasks: Mapping[str, Task],
    bindings: Sequence[Binding],
    encoder: RowEncoder,
    train: Mapping[str, EncodedSplit],
) -> Examination:
    """Read every row of every split, count its labels, and tell what is doubtful.

    Args:
        recipe: What the data is for.
        splits: By dataset and split.
        tasks: By name, learned.
        bindings: Where each task finds its labels.
        encoder: Makes sub-words.
        train: The encoded training rows, by dataset.

    Raises:
        DataError: If a row is not what the recipe says, or train has no label of a task.
    """
    read = _splits(recipe, splits, bindings, encoder)
    readings = {
        dataset: {split: one.read(tasks) for split, one in by_split.items()}
        for dataset, by_split in read.items()
    }
    warnings, described = [], {}
    for name, task in tasks.items():
        own = [b for b in bindings if b.task == name]
        labels = _Labels.of_task(task, [readings[b.dataset] for b in own])
        truncated = _truncated(task, [train[b.dataset] for b in own])
        described[name] = {
            "type": task.type,
            "labels": labels.counts,
            "missing": labels.missing,
            "truncated": float(truncated.mean()),
        }
        warnings += labels.warnings(test=any("test" in by_split for by_split in splits.values()))
        warnings += task.diagnose(
            {
                b.dataset: {split: one.fields(b) for split, one in read[b.dataset].items()}
                for b in own
            }
        )
        warnings += _idle_map(own, splits)
        warnings += [w for b in own for w in _conflicts(b, readings[b.dataset]["train"])]
        if truncated.mean() > _CUT_ENOUGH:
            whole = [read[b.dataset]["train"].labelled_lengths(task, train[b.dataset]) for b in own]
            warnings.append(_cut(name, truncated, np.concatenate(whole), encoder))
    warnings += _leaks(readings, bindings)
    rows = {d: {"rows": {s: len(table) for s, table in splits[d].items()}} for d in splits}
    return Examination(rows, described, warnings)


def _splits(
    recipe: Recipe,
    splits: Mapping[str, Mapping[str, Dataset]],
    bindings: Sequence[Binding],
    encoder: RowEncoder,
) -> "dict[str, dict[str, _Split]]":
    return {
        dataset: {
            split: _Split(
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


@dataclass(frozen=True)
class _Reading:
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
class _Split:
    """One split of a dataset and how to read it."""

    dataset: str
    split: str
    table: Dataset
    spec: DatasetSpec
    encoder: RowEncoder
    bindings: tuple[Binding, ...]

    @property
    def place(self) -> str:
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

    def read(self, tasks: Mapping[str, Task]) -> _Reading:
        features = self.table.features
        names = [binding.task for binding in self.bindings]
        reading = _Reading([], {name: [] for name in names}, {name: Counter() for name in names})
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


@dataclass(frozen=True)
class _Labels:
    """A task's labels over all its datasets.

    Attributes:
        task: Which.
        counts: By split, how often each label occurs.
        missing: By split, rows without a label.
        labelled: By split, rows with one.
    """

    task: Task
    counts: dict[str, dict[str, int]]
    missing: dict[str, int]
    labelled: dict[str, int]

    @classmethod
    def of_task(cls, task: Task, datasets: Iterable[Mapping[str, _Reading]]) -> "_Labels":
        counts: dict[str, Counter[str]] = {}
        missing: Counter[str] = Counter()
        labelled: Counter[str] = Counter()
        for by_split in datasets:
            for split, reading in by_split.items():
                counts.setdefault(split, Counter(dict.fromkeys(task.labels, 0)))
                counts[split].update(reading.counts[task.name])
                absent = reading.values[task.name].count(None)
                missing[split] += absent
                labelled[split] += len(reading.inputs) - absent
        if not labelled["train"]:
            raise DataError(
                f"task {task.name!r}: none of the {missing['train']} rows of train has its label;"
                " check the label column"
            )
        plain = {split: dict(of_split) for split, of_split in counts.items()}
        return cls(task, plain, dict(missing), dict(labelled))

    def warnings(self, *, test: bool) -> list[str]:
        """Doubts about the labels; ``test``: whether any dataset has a test split."""
        where, train = f"task {self.task.name!r}", self.counts["train"]
        told = []
        if unseen := self._unseen():
            told.append(
                f"{where}: labels that train lacks: {listed(unseen)}; they count as errors in"
                " scoring"
            )
        known = [label for counts in self.counts.values() for label, n in counts.items() if n]
        if never := [label for label in self.task.labels if label not in known]:
            told.append(f"{where}: labels that no row has: {listed(never)}; nothing teaches them")
        if rare := [label for label, n in train.items() if n == 1]:
            told.append(f"{where}: labels that occur only once in train: {listed(rare)}")
        if not self.labelled.get("validation"):
            told.append(
                f"{where}: no row of validation has its label, so it has no part in choosing the"
                " best model"
            )
        if test and not self.labelled.get("test"):
            told.append(f"{where}: no row of test has its label, so it gets no test score")
        return told

    def _unseen(self) -> list[str]:
        """Labels of validation and test that train lacks, each with where it is."""
        later = {split: counts for split, counts in self.counts.items() if split != "train"}
        names = dict.fromkeys(
            label
            for counts in later.values()
            for label, n in counts.items()
            if n and not self.counts["train"].get(label)
        )
        return [
            f"{label} ("
            + ", ".join(
                f"{counts[label]} in {s}" for s, counts in later.items() if counts.get(label)
            )
            + ")"
            for label in names
        ]


def _truncated(task: Task, train: Sequence[EncodedSplit]) -> np.ndarray:
    """Whether each training row of a task was cut."""
    return np.concatenate(
        [split.truncated(task.view)[split.labelled[task.name]] for split in train]
    )


def _cut(task: str, truncated: np.ndarray, lengths: np.ndarray, encoder: RowEncoder) -> str:
    enough = int(np.quantile(lengths, 0.99, method="higher"))
    limit = encoder.tokenizer.model_max_length
    beyond = f" (more than the {limit} that the encoder takes)" if enough > limit else ""
    return (
        f"task {task!r}: {truncated.mean():.1%} of its training rows are cut at max_length"
        f" {encoder.max_length}; {enough}{beyond} would hold 99% of them"
    )


def _idle_map(
    bindings: Sequence[Binding], splits: Mapping[str, Mapping[str, Dataset]]
) -> list[str]:
    """A warning about old names in a task's ``map`` that none of its rows has."""
    used = {
        old for b in bindings for table in splits[b.dataset].values() for old in b.renamed(table)
    }
    idle = [old for old in bindings[0].rename if old not in used]
    if not idle:
        return []
    return [f"task {bindings[0].task!r}: map renames labels that no row has: {listed(idle)}"]


def _conflicts(binding: Binding, train: _Reading) -> list[str]:
    """One warning about equal inputs with different labels, if there are such."""
    first: dict[int, int] = {}
    clashes: dict[int, tuple[int, int]] = {}
    values = train.values[binding.task]
    for row, (key, value) in enumerate(zip(train.inputs, values, strict=True)):
        if value is not None and values[earlier := first.setdefault(key, row)] != value:
            clashes.setdefault(key, (earlier, row))
    if not clashes:
        return []
    a, b = next(iter(clashes.values()))
    return [
        f"task {binding.task!r}, dataset {binding.dataset!r}, split train: inputs that stand"
        f" there again with another label: {len(clashes)}, such as rows {a} and {b}"
    ]


def _leaks(
    readings: Mapping[str, Mapping[str, _Reading]], bindings: Sequence[Binding]
) -> Iterator[str]:
    """Warnings about rows of validation and test that stand in train, of one task's datasets."""
    first = {
        dataset: {key: row for row, key in reversed(list(enumerate(by_split["train"].inputs)))}
        for dataset, by_split in readings.items()
    }
    for dataset, by_split in readings.items():
        tasks = {b.task for b in bindings if b.dataset == dataset}
        near = dict.fromkeys([dataset, *(b.dataset for b in bindings if b.task in tasks)])
        for split, reading in by_split.items():
            if split == "train":
                continue
            keys = reading.inputs
            for other in near:
                both = [row for row, key in enumerate(keys) if key in first[other]]
                if both:
                    place = f"row {both[0]} is row {first[other][keys[both[0]]]} there"
                    yield (
                        f"dataset {dataset!r}, split {split}: {len(both)} of {len(keys)} rows"
                        f" ({len(both) / len(keys):.1%}) stand in train"
                        + (f" of dataset {other!r}" if other != dataset else "")
                        + f" too, so scores on them say little; {place}"
                    )


def listed(names: Sequence[str]) -> str:
    """Names in a row, cut where there are many."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
