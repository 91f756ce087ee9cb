"""The data doctor: what is in the splits, and what in them will hurt training or its scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.label_counts import LabelCounts, listed
from mtl_nlp.data.prepare import EncodedSplit
from mtl_nlp.data.repeated_inputs import conflicts, leaks
from mtl_nlp.data.split_reading import Reading, SplitReader, split_readers
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Fields, Task
from mtl_nlp.words import Row

_CUT_ENOUGH = 0.01  # share of truncated rows that is worth a warning


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
    read = split_readers(recipe, splits, bindings, encoder)
    readings = _read(read, tasks)
    test = any("test" in by_split for by_split in splits.values())
    warnings, described = [], {}
    for name, task in tasks.items():
        own = [b for b in bindings if b.task == name]
        labels = LabelCounts.of_task(task, [readings[b.dataset] for b in own])
        truncated = _truncated(task, [train[b.dataset] for b in own])
        described[name] = _described(labels, truncated)
        warnings += labels.warnings(test=test)
        warnings += task.diagnose(_fields(own, read))
        warnings += _idle_map(own, splits)
        warnings += [w for b in own for w in conflicts(b, readings[b.dataset]["train"])]
        if truncated.mean() > _CUT_ENOUGH:
            whole = [read[b.dataset]["train"].labelled_lengths(task, train[b.dataset]) for b in own]
            warnings.append(_cut(name, truncated, np.concatenate(whole), encoder))
    warnings += leaks(readings, bindings)
    rows = {d: {"rows": {s: len(table) for s, table in splits[d].items()}} for d in splits}
    return Examination(rows, described, warnings)


def _read(
    read: Mapping[str, Mapping[str, SplitReader]], tasks: Mapping[str, Task]
) -> dict[str, dict[str, Reading]]:
    return {
        dataset: {split: one.read(tasks) for split, one in by_split.items()}
        for dataset, by_split in read.items()
    }


def _fields(
    bindings: Sequence[Binding], read: Mapping[str, Mapping[str, SplitReader]]
) -> dict[str, dict[str, Iterator[tuple[Fields, Row]]]]:
    """A task's label columns with their rows, by dataset and split."""
    return {
        b.dataset: {split: one.fields(b) for split, one in read[b.dataset].items()}
        for b in bindings
    }


def _described(labels: LabelCounts, truncated: np.ndarray) -> dict[str, Any]:
    return {
        "type": labels.task.type,
        "labels": labels.counts,
        "missing": labels.missing,
        "truncated": float(truncated.mean()),
    }


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
