"""Scores of a model on a split: predictions against what is right, for every task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from datasets import Dataset

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.drawing import drawn_for_evaluation
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.data.prepare import read_label, read_rows
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.views import View
from mtl_nlp.training.further_metrics import NO_FURTHER_METRICS, FurtherMetrics
from mtl_nlp.training.selection import mean_score


@dataclass(frozen=True)
class LabelledRows:
    """One dataset's split, read and encoded once.

    Attributes:
        encoded: Its rows, in each view that its tasks have of them.
        references: By task, what is right for each row; None where the label is missing.
    """

    encoded: Mapping[View, EncodedRows]
    references: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.references.values())))

    def labelled(self, task: str) -> np.ndarray:
        """The numbers of the rows that have a task's label, (n,)."""
        there = [i for i, right in enumerate(self.references[task]) if right is not None]
        return np.array(there, dtype=np.int64)


@dataclass(frozen=True)
class _Pair:
    """Predicted and right value of one label; the place is its dataset's number and its row."""

    place: tuple[int, int]
    task: str
    predicted: Any
    right: Any


def labelled_rows(
    dataset: Dataset,
    *,
    place: str,
    spec: DatasetSpec,
    encoder: RowEncoder,
    tasks: Mapping[str, Task],
    bindings: Sequence[Binding],
) -> LabelledRows:
    """Read and encode a split.

    Args:
        dataset: The rows.
        place: How errors name it, ``dataset 'x', split validation``.
        spec: Its input columns.
        encoder: Makes sub-words.
        tasks: All tasks, by name.
        bindings: Where the tasks on this dataset find their labels.

    Raises:
        DataError: If a row is not what the recipe says; the first such row is named.
    """
    records, features = dataset.to_list(), dataset.features
    rows = read_rows(encoder, spec, records, place, range(len(records)))
    references = {
        binding.task: [
            read_label(tasks[binding.task], binding, record, features, row, f"{place}, row {i}")
            for i, (record, row) in enumerate(zip(records, rows, strict=True))
        ]
        for binding in bindings
    }
    views = dict.fromkeys(tasks[binding.task].view for binding in bindings)
    stored = {view: encoder.encode(rows, view) for view in {view.stored: view for view in views}}
    encoded = {view: drawn_for_evaluation(stored[view.stored], view) for view in views}
    return LabelledRows(encoded, references)


def labelled_tasks(datasets: Sequence[LabelledRows]) -> set[str]:
    """The tasks with at least one labelled row."""
    return {name for rows in datasets for name in rows.references if len(rows.labelled(name))}


def evaluate_rows(
    predictor: Predictor,
    datasets: Sequence[LabelledRows],
    *,
    rank: int = 0,
    world_size: int = 1,
    further: FurtherMetrics = NO_FURTHER_METRICS,
) -> dict[str, Any]:
    """Metrics of each task over its labelled rows, and the mean of the primary ones that count.

    With several processes each predicts its share of the rows, and all get the scores.

    Args:
        predictor: Of the model.
        datasets: The rows of one split, by dataset.
        rank: This process.
        world_size: Number of processes.
        further: The recipe's own choice of metrics, whose numbers follow the tasks' own.

    Returns:
        ``{task: {metric: value}, "mean": value}``; tasks without a labelled row are left out.
    """
    mine: list[_Pair] = []
    for number, rows in enumerate(datasets):
        mine += _compared(predictor, rows, number, rank, world_size)
    pairs = mine
    if world_size > 1:  # sorted, since the last digits of a score depend on the order
        pairs = sorted(gather_object(mine), key=lambda pair: pair.place)
    tasks: Mapping[str, Task] = predictor.model.tasks
    scores: dict[str, Any] = {}
    for name, task in tasks.items():
        own = [pair for pair in pairs if pair.task == name]
        if own:
            predicted, right = [p.predicted for p in own], [p.right for p in own]
            scores[name] = task.metrics(predicted, right)
            for metric, value in further.scores(task, predicted, right).items():
                scores[name].setdefault(metric, value)
    primary = {name: tasks[name].primary for name in scores if tasks[name].judged}
    return {**scores, "mean": mean_score(scores, primary)}


def _compared(
    predictor: Predictor, rows: LabelledRows, number: int, rank: int, world_size: int
) -> list[_Pair]:
    """What is predicted and right for every label in this process's share of a dataset's rows."""
    share = range(rank, len(rows), world_size)
    mine = {
        name: labelled[np.isin(labelled, share)]
        for name in rows.references
        if len(labelled := rows.labelled(name))
    }
    decoded = predictor.decode(rows.encoded, mine)
    return [
        _Pair((number, int(i)), name, one.value, rows.references[name][i])
        for name, numbers in mine.items()
        for i, one in zip(numbers, decoded[name], strict=True)
    ]
