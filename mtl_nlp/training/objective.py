"""The loss of a whole optimizer step, however it is cut into pieces.

A task's loss is a sum and a count. The count of the whole step is known before its first backward,
so each piece adds ``factor * sum`` and the pieces' gradients add up to those of the step:

    loss = Σ over tasks of  weight * share * (Σ over pieces of sum) / (Σ over pieces of count)

where share is the part of the step's rows that belongs to the task's datasets.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.task_losses import PLAIN, TaskLosses


class Objective(nn.Module):
    """A model with its loss: what Accelerate wraps, so that the model itself stays as it is.

    Args:
        model: The model that is trained.
        losses: What each task loses.
    """

    def __init__(self, model: MultiTaskModel, losses: TaskLosses = PLAIN) -> None:
        super().__init__()
        self.model, self.losses = model, losses

    def forward(
        self, batch: Batch, factors: Mapping[str, float], key: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One piece of a step.

        Args:
            batch: With targets.
            factors: What each task's sum is multiplied by, see `step_factors`.
            key: A number of the seed and the step, for what losses draw at random.

        Returns:
            The piece's part of the step's loss, a scalar, and each task's sum without gradient.
        """
        if not batch.targets:
            return self._nothing(), {}
        totals = self.losses.totals(self.model, batch, key)
        loss = torch.stack([factors[name] * one for name, one in totals.items()]).sum()
        if not loss.requires_grad:  # all that it could teach is frozen
            loss = loss + self._nothing()
        return loss, {name: one.detach() for name, one in totals.items()}

    def _nothing(self) -> Tensor:
        """The loss of a piece that teaches nothing, whose backward the other processes wait for.

        Of a head where there is one that learns: if the step does not use it, it has no gradient
        in the end, not even one of 0, under which it would decay.
        """
        parameters = itertools.chain(self.model.heads.parameters(), self.model.parameters())
        trained = next(p for p in parameters if p.requires_grad)
        return trained.sum() * 0.0


def count_items(tasks: Mapping[str, Task], batches: Iterable[Batch]) -> dict[str, int]:
    """Labelled items of each task in the pieces of a step."""
    counts = dict.fromkeys(tasks, 0)
    for batch in batches:
        for name, target in batch.targets.items():
            if target.labels is not None:
                counts[name] += int(tasks[name].count(target.labels))
    return counts


def row_shares(rows: Mapping[str, int], datasets: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The part of a step's rows that belongs to each task's datasets.

    Args:
        rows: Rows of each dataset in the step.
        datasets: The datasets of each task.
    """
    total = sum(rows.values())
    return {
        task: sum(rows.get(name, 0) for name in names) / total for task, names in datasets.items()
    }


def step_factors(
    tasks: Mapping[str, Task], counts: Mapping[str, int], shares: Mapping[str, float]
) -> dict[str, float]:
    """What each task's loss sum is multiplied by: weight * share / count."""
    return {
        name: task.weight * shares[name] / counts[name] if counts[name] else 0.0
        for name, task in tasks.items()
    }
