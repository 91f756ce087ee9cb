"""A model judged on validation: what its tasks learn of it, their scores, the one that selects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.evaluation import evaluate_rows
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
    found = evaluate_rows(
        predictor,
        data.validation,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        further=data.further,
    )
    scores: dict[str, Any] = broadcast_object_list([found])[0]
    tasks: Mapping[str, Task] = predictor.model.tasks
    primary = {name: tasks[name].primary for name in scores if name != "mean"}
    judged = {name: metric for name, metric in primary.items() if tasks[name].judged}
    by_task = {name: scores[name] for name in primary}
    return Judgement(scores, primary, selection_score(select, by_task, judged))
