"""The moving average of a model's learned weights, which is judged and kept in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """Exponential moving average of weights over optimizer steps (Polyak & Juditsky, 1992).

    After step n it is d * average + (1 - d) * weights with d = min(decay, (1 + n) / (10 + n)), as
    TensorFlow's ``ExponentialMovingAverage`` does, so that in the first steps it soon forgets where
    it started. Only weights that learn are averaged; a model's buffers and what is frozen in it are
    the same in both.

    Args:
        model: Where it stands is where the average starts. What of it learns is averaged.
        decay: In (0, 1); 1 / (1 - decay) is about the number of steps that count.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.averaged = [p.detach().clone() for p in self.learned.values()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average = get_ema_multi_avg_fn(decay)
        average(self.averaged, [p.detach() for p in self.learned.values()], self.updates)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within, the model has the averaged weights; nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> dict[str, Any]:
        """What a checkpoint of the averaged model must hold beside it: the weights that learn."""
        return {
            "updates": self.updates,
            "weights": {name: p.detach() for name, p in self.learned.items()},
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Stand again where `state` was taken, in a model with the averaged weights."""
        self.updates = state["updates"]
        for name, parameter in self.learned.items():
            parameter.copy_(state["weights"][name])

    def _exchange(self) -> None:
        for number, parameter in enumerate(self.learned.values()):
            own = parameter.data
            parameter.data = self.averaged[number]
            self.averaged[number] = own
