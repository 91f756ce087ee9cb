"""A model judged: on validation as it learns, and the best one on every split at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from mtl_nlp.heads.stock import lay_anew
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.loading import load_model
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.own import own_types
from mtl_nlp.training.evaluation import LabelledRows, evaluate_rows, labelled_tasks
from mtl_nlp.training.further_metrics import FurtherMetrics
from mtl_nlp.training.selection import Select, selection_score
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.tuning import tune_tasks


@dataclass(frozen=True)
class Judgement:
    """What an evaluation found.

    Attributes:
        scores: ``{task: {metric: value}, "mean": value}``.
        primary: The primary metric of each task in it.
        selected: The number that the best model has most of.
    """

    scores: Mapping[str, Any]
    primary: Mapping[str, str]
    selected: float

    @property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """Metrics of each task."""
        return {name: self.scores[name] for name in self.primary}

    @property
    def mean(self) -> float:
        """Of the primary metrics that count."""
        mean: float = self.scores["mean"]
        return mean


def judge(
    predictor: Predictor, data: TrainingData, select: Select, accelerator: Accelerator
) -> Judgement:
    """Tune the tasks and score the model on validation; all processes find the same.

    Args:
        predictor: Of the model; what its tasks learn from validation changes.
        data: With the validation rows.
        select: The recipe's ``evaluation.select``.
        accelerator: The processes that share the rows.
    """
    tune_tasks(predictor, data.validation)
    found = _scores(predictor, data.validation, data.further, accelerator)
    scores: dict[str, Any] = broadcast_object_list([found])[0]
    tasks: Mapping[str, Task] = predictor.model.tasks
    primary = {name: tasks[name].primary for name in scores if name != "mean"}
    judged = {name: metric for name, metric in primary.items() if tasks[name].judged}
    by_task = {name: scores[name] for name in primary}
    return Judgement(scores, primary, selection_score(select, by_task, judged))


def judge_best(
    best: Path,
    predictor: Predictor,
    splits: Mapping[str, Sequence[LabelledRows]],
    further: FurtherMetrics,
    accelerator: Accelerator,
) -> dict[str, dict[str, Any]]:
    """What the best model scores on each split that has labels; all processes find the same.

    Args:
        best: The folder of its checkpoint.
        predictor: Of the model that was trained.
        splits: By name, the labelled rows of each dataset.
        further: The recipe's own choice of metrics.
        accelerator: The processes that share the rows.

    Returns:
        ``{split: {task: {metric: value}, "mean": value}}``.
    """
    loaded = load_model(best, task_types=own_types(predictor.model.tasks))
    lay_anew(loaded)
    predictor = replace(predictor, model=loaded.to(accelerator.device))
    return {
        split: _scores(predictor, rows, further, accelerator)
        for split, rows in splits.items()
        if labelled_tasks(rows)
    }


def _scores(
    predictor: Predictor,
    rows: Sequence[LabelledRows],
    further: FurtherMetrics,
    accelerator: Accelerator,
) -> dict[str, Any]:
    rank, world_size = accelerator.process_index, accelerator.num_processes
    return evaluate_rows(predictor, rows, rank=rank, world_size=world_size, further=further)
