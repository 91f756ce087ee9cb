"""Metrics of the Hub that a recipe names beside those that its tasks compute themselves.

Such a metric is a program by its author: to load it is to execute it, with all the rights of
whoever runs the recipe. Only what the recipe at hand names is executed, never anything that lies in
a model's repository. What it does wrong while it scores costs its own scores, not the run.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from numbers import Integral, Real
from textwrap import shorten
from typing import Any

import numpy as np
import torch

from mtl_nlp.data.bind_tasks import bind_tasks, metric_name
from mtl_nlp.errors import HubError, RecipeError
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Task

_INPUTS = {"predictions", "references"}
_LONGEST_REASON = 300  # characters


class FurtherMetrics:
    """The loaded metrics of each task.

    Args:
        by_task: By task, its metrics by the names that their scores bear, as `evaluate.load` gives
            them.
        say: Told once of each metric that fails.
    """

    def __init__(
        self,
        by_task: Mapping[str, Mapping[str, Any]],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._by_task, self._say = by_task, say
        self._told: set[tuple[str, str]] = set()

    @property
    def notes(self) -> list[str]:
        """What a user should know: whose programs run."""
        return [
            f"tasks.{task}.metrics: {', '.join(metrics)}: a metric is a program by its author, and"
            " is executed on this machine"
            for task, metrics in self._by_task.items()
        ]

    def scores(
        self, task: Task, predictions: Sequence[Any], references: Sequence[Any]
    ) -> dict[str, int | float]:
        """The finite numbers that the task's further metrics give.

        A number bears the metric's own name where the metric calls it so, else
        ``<metric>.<its name>``. A metric that fails is told of and left out.

        Args:
            task: Whose metrics.
            predictions: Predicted values, as the task's ``metrics`` takes them.
            references: What is right, likewise.
        """
        scores: dict[str, int | float] = {}
        for name, metric in self._by_task.get(task.name, {}).items():
            try:
                predicted, right = task.hub_values(predictions, references)
                with redirect_stdout(sys.stderr):  # stdout is for the results
                    result = metric.compute(predictions=predicted, references=right)
                own = dict(_numbers(name, result))
                if not own:
                    raise ValueError("it gave no finite number")
            except Exception as error:  # a stranger's program may raise anything
                self._tell(task.name, name, error)
            else:
                scores.update(own)
        return scores

    def _tell(self, task: str, name: str, error: Exception) -> None:
        if (task, name) not in self._told:
            self._told.add((task, name))
            reason = shorten(f"{type(error).__name__}: {error}", _LONGEST_REASON)
            self._say(
                f"tasks.{task}.metrics: {name!r} failed, and its scores are left out where it"
                f" does: {reason}"
            )


NO_FURTHER_METRICS = FurtherMetrics({})


def load_further_metrics(
    recipe: Recipe, say: Callable[[str], None] = lambda text: None
) -> FurtherMetrics:
    """Fetch and execute the metrics that a recipe names, so that a missing one stops it at once.

    Args:
        recipe: Its ``tasks.NAME.metrics`` are names on the Hub or folders with a script.
        say: Told later of metrics that fail.

    Raises:
        RecipeError: If a metric is not found, cannot be loaded, takes other things than
            predictions and references, or is computed anyway; names the key and the mend.
    """
    if not any(spec.metrics for spec in recipe.tasks.values()):
        return NO_FURTHER_METRICS
    bind_tasks(recipe)  # refuses what is computed anyway, before anything is executed
    loaded: dict[str, Any] = {}
    by_task: dict[str, dict[str, Any]] = {}
    for task, spec in recipe.tasks.items():
        for source in spec.metrics:
            if source not in loaded:
                loaded[source] = _load(source, f"tasks.{task}.metrics")
            by_task.setdefault(task, {})[metric_name(source)] = loaded[source]
    return FurtherMetrics(by_task, say)


def _load(source: str, where: str) -> Any:
    from evaluate.utils.logging import disable_progress_bar  # takes seconds

    from mtl_nlp.evaluate_metrics import load_metric

    disable_progress_bar()
    try:
        with redirect_stdout(sys.stderr):
            metric = load_metric(source)
    except HubError as error:
        raise RecipeError(f"{where}: {error}") from error
    features = metric.features[0] if isinstance(metric.features, list) else metric.features
    if odd := features.keys() - _INPUTS:
        raise RecipeError(
            f"{where}: metric {source!r} takes {', '.join(sorted(odd))}, but a run has predictions"
            " and references only; leave it out"
        )
    return metric


def _numbers(metric: str, result: Any) -> Iterator[tuple[str, int | float]]:
    """The finite numbers of a metric's result, under the names that they bear among the scores."""
    if not isinstance(result, Mapping):
        raise TypeError(f"expected its scores by name, found {result!r:.80}")
    for key, value in result.items():
        if isinstance(value, np.ndarray | torch.Tensor) and value.ndim == 0:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            continue
        name = metric if key == metric else f"{metric}.{key}"
        yield name, int(value) if isinstance(value, Integral) else float(value)
