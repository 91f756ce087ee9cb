"""Balancing by one gradient made of the tasks' gradients."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from mtl_nlp.tasks.after import read_by
from mtl_nlp.training.balancing import Balancing
from mtl_nlp.training.balancing_methods import Method
from mtl_nlp.training.pieces import Pieces
from mtl_nlp.training.skipping import NotFiniteError

# What TorchJD's aggregators remember, and which of their modules does.
_STATE = {
    "nash_mtl": ("weighting", ("step", "prvs_alpha", "normalization_factor")),
    "grad_vac": ("gramian_weighting", ("_phi_t", "_state_key")),
    "pcd": ("gramian_weighting", ("_sq_norm_ema", "_n_steps", "_state_key")),
    "excess_mtl": (
        "weighting",
        ("_weights", "_sq_grad_sum", "_initial_w", "_warmup_w_sum", "_n_steps", "_state_key"),
    ),
}


class Aggregating(Balancing):
    """The shared encoder's gradient is what an aggregator makes of the tasks' gradients.

    A row of its matrix is the gradient of a task's weighted mean over the whole step, added up
    over pieces and processes before the aggregator sees it. Heads get their own plain gradient, as
    does everything while nothing of the encoder learns.
    Where a step lacks a task, the aggregator sees the others; one that cannot go without it is
    passed over in that step, whose gradient is then the plain sum.

    Args:
        method: The aggregator.
        weights: Of each task.
        device: Where the gradients are.
    """

    def __init__(
        self, method: Method, weights: Mapping[str, float], *, device: torch.device
    ) -> None:
        self.method, self.weights, self.device = method, weights, device
        self.aggregator = method.make(len(method.tasks)).to(device)

    def backward(self, pieces: Pieces) -> tuple[float, dict[str, float]]:
        """Fill the gradients; see the base class."""
        encoder = [p for p in pieces.model.encoder.parameters() if p.requires_grad]
        rows = Rows(pieces, encoder)
        totals = pieces.nothing()
        for sums in pieces.sums():
            totals = pieces.added(totals, sums)
            rows.add(
                {
                    name: self.weights[name] / pieces.counts[name] * one
                    for name, one in sums.items()
                    if pieces.counts[name]
                }
            )
        means = pieces.means(totals)
        if means:
            jacobian = rows.over_processes()
            if not jacobian.isfinite().all():  # or an aggregator would remember it
                raise NotFiniteError("the gradient of a task is not finite", means)
            if encoder:
                gradient = self._aggregate(jacobian, pieces)
                if pieces.accelerator.num_processes > 1:  # the last bits of a solver may differ
                    gradient = broadcast(gradient)
                rows.spread(gradient)
        return sum(self.weights[name] * mean for name, mean in means.items()), means

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold; see the base class."""
        if self.method.name not in _STATE:
            return {}
        part, names = _STATE[self.method.name]
        held = {name: getattr(getattr(self.aggregator, part), name) for name in names}
        return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in held.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Stand again where `state` was taken."""
        if self.method.name not in _STATE:
            return
        part, names = _STATE[self.method.name]
        module = getattr(self.aggregator, part)
        for name in names:
            value = state[name]
            if self.method.name == "excess_mtl" and isinstance(value, Tensor):
                value = value.to(self.device)
            if self.method.name == "nash_mtl" and isinstance(value, Tensor):
                value = value.numpy()
            setattr(module, name, value)
        if self.method.name == "nash_mtl" and module.step:
            module._init_optim_problem()  # which it does itself only at its first step

    def _aggregate(self, jacobian: Tensor, pieces: Pieces) -> Tensor:
        """The gradient of the step, (encoder's parameters,)."""
        if self.method.needs_all and len(pieces.present) < len(self.method.tasks):
            return jacobian.sum(dim=0)
        pieces.seed_alike()
        self.method.narrow(self.aggregator, pieces.present, jacobian)
        gradient: Tensor = self.aggregator(jacobian)
        return gradient


class Rows:
    """The gradients of a step's tasks by the encoder's parameters, a row for each.

    Args:
        pieces: Of the step.
        encoder: The parameters that learn.
    """

    def __init__(self, pieces: Pieces, encoder: Sequence[nn.Parameter]) -> None:
        self.pieces, self.encoder = pieces, encoder
        tasks, heads, shared = pieces.model.tasks, pieces.model.heads, set(map(id, encoder))
        self.heads = {
            name: [
                p
                for other in sorted(read_by([name], tasks))
                for p in heads[other].parameters()
                if p.requires_grad and id(p) not in shared
            ]
            for name in pieces.present
        }
        device, width = pieces.accelerator.device, sum(p.numel() for p in encoder)
        self.matrix = torch.zeros(len(pieces.present), width, device=device)  # (tasks, parameters)
        self.used = torch.zeros(len(encoder), device=device)  # by any task: above 0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add the gradients of one piece.

        Args:
            values: Its part of each task's weighted mean, scalars on one graph.
        """
        for row, name in enumerate(self.pieces.present):
            if name not in values or not values[name].requires_grad:
                continue
            own = self.heads[name]
            found = torch.autograd.grad(
                values[name], [*self.encoder, *own], retain_graph=True, allow_unused=True
            )
            at = 0
            for i, (parameter, gradient) in enumerate(zip(self.encoder, found, strict=False)):
                if gradient is not None:
                    self.matrix[row, at : at + parameter.numel()] += gradient.flatten()
                    self.used[i] = 1
                at += parameter.numel()
            for parameter, gradient in zip(own, found[len(self.encoder) :], strict=True):
                if gradient is not None:
                    before = parameter.grad
                    parameter.grad = gradient if before is None else before + gradient

    def over_processes(self) -> Tensor:
        """The matrix of the whole step; the heads' gradients become those of the whole step too."""
        if self.pieces.accelerator.num_processes > 1:
            for parameter in _once(p for own in self.heads.values() for p in own):
                mine = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.pieces.over_processes(mine)
        if self.encoder:
            self.used = self.pieces.over_processes(self.used)
            self.matrix = self.pieces.over_processes(self.matrix)
        return self.matrix

    def spread(self, gradient: Tensor) -> None:
        """Give the encoder's parameters their part of a gradient, (parameters,).

        One that no task has used keeps none, so that it does not decay either.
        """
        parts = gradient.split([p.numel() for p in self.encoder])
        for parameter, part, used in zip(self.encoder, parts, self.used.tolist(), strict=True):
            if used:
                parameter.grad = part.view_as(parameter).clone()


def _once(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Each of them once, in order."""
    return list({id(p): p for p in parameters}.values())
