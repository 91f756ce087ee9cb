"""Which evaluation is the best: a declared function of the tasks' primary metrics."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isnan
from statistics import fmean
from typing import Any

from mtl_nlp.errors import RecipeError
from mtl_nlp.tables import LOWER_IS_BETTER
from mtl_nlp.tasks.base import Task

Select = str | Mapping[str, float]
"""``mean``, ``worst``, ``{task: weight}`` or ``task.metric``."""


@dataclass(frozen=True)
class Selection:
    """The best evaluation so far.

    Attributes:
        score: Its score, higher better; None before the first.
        step: Optimizer steps that were done then.
        since: Evaluations since, which bring early stopping nearer.
    """

    score: float | None = None
    step: int = 0
    since: int = 0

    def after(self, score: float, step: int) -> "Selection":
        """The standing after one more evaluation; a score that is no number is the worst."""
        if self.score is None or score > self.score or (isnan(self.score) and not isnan(score)):
            return Selection(score, step)
        return replace(self, since=self.since + 1)


def mean_score(scores: Mapping[str, Mapping[str, Any]], primary: Mapping[str, str]) -> float:
    """The mean over the tasks' primary metrics; 0 where there is none."""
    values = [float(metrics[primary[name]]) for name, metrics in scores.items() if name in primary]
    return fmean(values) if values else 0.0


def selection_score(
    select: Select, scores: Mapping[str, Mapping[str, Any]], primary: Mapping[str, str]
) -> float:
    """The number that the best model has most of.

    Args:
        select: The recipe's ``evaluation.select``.
        scores: Metrics of each task on validation.
        primary: Name of the primary metric of each task that counts in mean and worst.
    """
    if isinstance(select, Mapping):
        total = sum(select.values())
        return sum(w * float(scores[t][primary[t]]) for t, w in select.items()) / total
    if select == "mean":
        return mean_score(scores, primary)
    if select == "worst":
        return min(float(scores[name][metric]) for name, metric in primary.items())
    task, _, metric = select.partition(".")
    score = float(scores[task][metric])
    return -score if metric in LOWER_IS_BETTER else score


def check_evaluated(select: Select, evaluated: Collection[str], tasks: Mapping[str, Task]) -> None:
    """Refuse to select by tasks that have no labelled row in validation.

    Args:
        select: The recipe's ``evaluation.select``.
        evaluated: The tasks that have some.
        tasks: By name.

    Raises:
        RecipeError: Naming the task.
    """
    counted = [name for name in evaluated if tasks[name].judged]
    if not evaluated or (select in ("mean", "worst") and not counted):
        raise RecipeError("datasets: no task has a labelled row in validation to select by")
    named = list(select) if isinstance(select, Mapping) else [select.partition(".")[0]]
    for task in named:
        if task not in evaluated and task not in ("mean", "worst"):
            raise RecipeError(
                f"evaluation.select: task {task!r} has no labelled row in validation to select by"
            )


def check_selection(select: Select, tasks: Mapping[str, Task]) -> None:
    """Refuse a metric that its task does not have, and means over scores that are none.

    Args:
        select: The recipe's ``evaluation.select``.
        tasks: By name.

    Raises:
        RecipeError: Naming the metrics that there are.
    """
    apart = [name for name, task in tasks.items() if not task.judged]
    if select in ("mean", "worst") and len(apart) == len(tasks):
        raise RecipeError(
            f"evaluation.select: no task of this recipe has a score that counts in {select}; name"
            f" one to go by, {apart[0]}.{tasks[apart[0]].primary}"
        )
    if isinstance(select, Mapping) and (named := [name for name in select if name in apart]):
        raise RecipeError(
            f"evaluation.select: {tasks[named[0]].primary} of task {named[0]!r} is no score to be"
            f" weighed with others; leave it out, or go by it alone:"
            f" {named[0]}.{tasks[named[0]].primary}"
        )
    if isinstance(select, str) and "." in select:
        task, _, metric = select.partition(".")
        if metric not in tasks[task].metric_names or metric == "per_type":
            known = [name for name in tasks[task].metric_names if name != "per_type"]
            raise RecipeError(
                f"evaluation.select: task {task!r} has no metric {metric!r}; it has"
                f" {', '.join(known)}"
            )
