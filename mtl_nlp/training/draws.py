"""What is planned and drawn of each dataset, and how a training's scores move the shares."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.strategies import lag_of
from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks.base import Task


def told_shares(mixture: Mixture, step: int, rows: Mapping[str, int]) -> dict[str, Any]:
    """Shares of the draws up to a step, as the log tells them.

    Args:
        mixture: The plan.
        step: Optimizer steps done, at least one.
        rows: Rows drawn from each dataset in them.

    Returns:
        ``{dataset: {"planned": share, "drawn": share}}``, fractions; both sum to 1.
    """
    total = sum(rows.values())
    return {
        name: {"planned": float(share), "drawn": rows.get(name, 0) / total}
        for name, share in mixture.planned_shares(step).items()
    }


def lags_behind(
    targets: Mapping[str, float],
    scores: Mapping[str, float],
    datasets: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """How far each dataset lags behind: as far as the one of its tasks that lags most.

    Args:
        targets: What tasks are to reach, above 0.
        scores: What each of them scores on validation, higher better.
        datasets: The datasets of each task.

    Returns:
        From 0 to 1, for every dataset of a task that has a target.

    >>> datasets = {"ner": ["news"], "mood": ["news", "chat"]}
    >>> lags_behind({"ner": 0.5, "mood": 0.8}, {"ner": 0.25, "mood": 0.9}, datasets)
    {'news': 0.5, 'chat': 0.0}
    """
    lags: dict[str, float] = {}
    for task, target in targets.items():
        lag = lag_of(scores[task], target)
        for name in datasets[task]:
            lags[name] = max(lag, lags.get(name, 0.0))
    return lags


def check_targets(
    targets: Mapping[str, float] | None, evaluated: Collection[str], tasks: Mapping[str, Task]
) -> None:
    """Refuse targets of tasks that have no score to be measured by.

    Args:
        targets: The recipe's ``sampling.targets``.
        evaluated: The tasks that have labelled rows in validation.
        tasks: By name.

    Raises:
        RecipeError: Naming the task.
    """
    for name in targets or ():
        if not tasks[name].judged:
            raise RecipeError(
                f"sampling.targets: {tasks[name].primary} of task {name!r} is no score between 0"
                " and 1 that could be lagged behind; leave it out"
            )
        if name not in evaluated:
            raise RecipeError(
                f"sampling.targets: task {name!r} has no labelled row in validation, so that it"
                " has no score; leave it out, or give its dataset such rows"
            )
