"""Balancing by one loss made of the tasks' losses."""

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mtl_nlp.training.balancing import Balancing
from mtl_nlp.training.balancing_methods import KNOWN_BEFORE, Method
from mtl_nlp.training.pieces import Pieces
from mtl_nlp.training.skipping import NotFiniteError


class Scalarizing(Balancing):
    """The loss of a step is what a scalarizer makes of the tasks' weighted means.

    Its derivative by each mean is the factor of that task's sum. Where it does not depend on the
    losses, the pieces of a step are gone through once; else a first time without a gradient.
    All processes know the same means, and so make the same of them. It is computed in double
    precision on the CPU: these are a few numbers, and the same to more digits however a step is
    cut.

    Args:
        method: The scalarizer.
        weights: Of each task.
        steps_per_pass: Steps of what a method calls an epoch.
    """

    def __init__(
        self, method: Method, weights: Mapping[str, float], *, steps_per_pass: int
    ) -> None:
        self.method, self.weights, self.steps_per_pass = method, weights, steps_per_pass
        self.known_before = method.name in KNOWN_BEFORE
        self.scalarizer = _KINDS.get(method.name, OfPresent)(method)

    def backward(self, pieces: Pieces) -> tuple[float, dict[str, float]]:
        """Fill the gradients; see the base class."""
        begun, into_pass = divmod(pieces.plan.step, self.steps_per_pass)
        if begun and not into_pass and isinstance(self.scalarizer, OfAll):
            self.scalarizer.end_pass()
        if not pieces.present:
            return 0.0, pieces.backward(dict.fromkeys(self.weights, 0.0))
        if self.known_before:
            ones = dict.fromkeys(pieces.present, 1.0)
            _, slopes = self._scalarize(copy.deepcopy(self.scalarizer), ones, pieces)
            means = pieces.backward(self._factors(slopes, pieces))
            loss, _ = self._scalarize(self.scalarizer, self._weighted(means), pieces)
        else:
            loss, slopes = self._scalarize(
                self.scalarizer, self._weighted(pieces.forward()), pieces
            )
            means = pieces.backward(self._factors(slopes, pieces))
        return loss, means

    def after(self, pieces: Pieces) -> None:
        """Learn from the step; see the base class."""
        if isinstance(self.scalarizer, OfAll) and self.scalarizer.looks_back and pieces.present:
            # What is not finite now is met, and told, by the next step.
            with contextlib.suppress(NotFiniteError):
                self.scalarizer.look_back(self._weighted(pieces.forward()))

    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer learns; see the base class."""
        return list(self.scalarizer.parameters()) if self.method.learns else []

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold; see the base class."""
        return self.scalarizer.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Stand again where `state` was taken."""
        self.scalarizer.load_state(state)

    def _weighted(self, means: Mapping[str, float]) -> dict[str, float]:
        return {name: self.weights[name] * mean for name, mean in means.items()}

    def _factors(self, slopes: Mapping[str, float], pieces: Pieces) -> dict[str, float]:
        """What each task's sum is multiplied by."""
        factors = {
            name: slope * self.weights[name] / pieces.counts[name] for name, slope in slopes.items()
        }
        return {**dict.fromkeys(self.weights, 0.0), **factors}

    def _scalarize(
        self, scalarizer: "OfPresent | OfEach | OfAll", values: Mapping[str, float], pieces: Pieces
    ) -> tuple[float, dict[str, float]]:
        """The loss and its derivative by each value; learned parameters get their gradient."""
        pieces.seed_alike()
        losses = {
            name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
            for name, value in values.items()
        }
        loss = scalarizer(losses)
        learned = list(scalarizer.parameters()) if self.method.learns else []
        slopes = torch.autograd.grad(loss, [*losses.values(), *learned], allow_unused=True)
        for parameter, slope in zip(learned, slopes[len(losses) :], strict=True):
            parameter.grad = slope  # None where the step lacks the task
        by_task = zip(losses, slopes[: len(losses)], strict=True)
        return loss.item(), {name: 0.0 if s is None else s.item() for name, s in by_task}


class OfPresent(nn.Module):
    """A scalarizer of those tasks that a step has labels of, which remembers nothing.

    Args:
        method: The scalarizer.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method, self.made = method, method.make(len(method.tasks)).double()

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """One loss, a scalar, of a scalar for each task of the step."""
        stacked = torch.stack(list(values.values()))
        self.method.narrow(self.made, list(values), stacked)
        loss: Tensor = self.made(stacked)
        return loss

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to do."""


class OfEach(nn.Module):
    """A scalarizer that is a sum over the tasks, with something learned for each.

    Each task has one of its own, so that what is learned for a task rests in steps without it.

    Args:
        method: The scalarizer.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.made = nn.ModuleDict({name: method.make(1).double() for name in method.tasks})

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """One loss, a scalar, of a scalar for each task of the step."""
        return torch.stack([self.made[name](v.reshape(1)) for name, v in values.items()]).sum()

    def state(self) -> dict[str, Any]:
        """What was learned."""
        return dict(self.state_dict())

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Stand again where `state` was taken."""
        self.load_state_dict(state)


class OfAll(nn.Module):
    """A scalarizer that follows each task's loss over the steps, and so needs all of them.

    A task that a step lacks keeps the loss it last had; one that no step had yet counts as the
    mean of the others.

    Args:
        method: The scalarizer: DWA or FAMO.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method, self.made = method, method.make(len(method.tasks)).double()
        self.looks_back = method.name == "famo"
        self.last: dict[str, float] = {}

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """One loss, a scalar, of a scalar for each task of the step."""
        mean = torch.stack(list(values.values())).detach().mean()
        self.last.update({name: value.item() for name, value in values.items()})
        filled = [
            values.get(name, mean.new_tensor(self.last.get(name, mean.item())))
            for name in self.method.tasks
        ]
        loss: Tensor = self.made(torch.stack(filled))
        return loss

    def look_back(self, values: Mapping[str, float]) -> None:
        """Learn from the losses of the same rows after the step."""
        before = self.made._prev_losses
        after = [values.get(name, before[i].item()) for i, name in enumerate(self.method.tasks)]
        self.made.update(before.new_tensor(after))

    def end_pass(self) -> None:
        """Tell the scalarizer that a pass over the data has ended."""
        if self.method.name == "dwa":
            self.made.step()

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        if self.method.name == "dwa":
            own = {name: getattr(self.made, name) for name in _DWA_STATE}
        else:
            adam = self.made._optimizer
            own = {"w": self.made._w.detach(), "adam": adam and adam.state_dict()}
        return {"last": dict(self.last), "own": own}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Stand again where `state` was taken."""
        self.last, own = dict(state["last"]), state["own"]
        if self.method.name == "dwa":
            for name in _DWA_STATE:
                setattr(self.made, name, own[name])
            return
        with torch.no_grad():
            self.made._w.copy_(own["w"])
        if own["adam"] is not None:
            self.made._optimizer = Adam([self.made._w])
            self.made._optimizer.load_state_dict(own["adam"])


# TorchJD's scalarizers keep these outside of their state_dict.
_DWA_STATE = ("_loss_sum", "_n_batches", "_previous_averages")

_KINDS: dict[str, type[OfPresent] | type[OfEach] | type[OfAll]] = {
    "uw": OfEach,
    "imtll": OfEach,
    "dwa": OfAll,
    "famo": OfAll,
}
