"""What one forward of the shared-encoder model gives."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtl_nlp.tasks.base import LossSum


@dataclass(frozen=True)
class MultiTaskOutput:
    """What one forward gives, by task.

    Attributes:
        logits: For the targets' rows, or for all rows where there are no targets, (n, …).
        sums: Losses as sums and counts; only for tasks with targets.
        weights: Factor of each task's loss.
    """

    logits: dict[str, Tensor]
    sums: dict[str, LossSum] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, Tensor]:
        """The mean over the labelled items of each task; 0 where there are none."""
        return {name: s.total / s.count.clamp(min=1) for name, s in self.sums.items()}

    @property
    def loss(self) -> Tensor | None:
        """The weighted sum of the tasks' losses; None without targets."""
        if not self.sums:
            return None
        weighted = [self.weights[name] * loss for name, loss in self.losses.items()]
        return torch.stack(weighted).sum()
