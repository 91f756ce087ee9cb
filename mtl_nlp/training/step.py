"""One optimizer step: forward and backward of its pieces, then the update."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType
from torch import nn

from mtl_nlp.data.mixture import StepPlan
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.after import read_by
from mtl_nlp.training.objective import row_shares, step_factors
from mtl_nlp.training.skipping import NotFiniteError, check_losses

_WHOLE_GRADIENTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


@dataclass(frozen=True)
class StepDone:
    """What came of an optimizer step.

    Attributes:
        loss: Of the step, over all tasks.
        losses: Mean loss of each task that the step has labels of, before weighting.
        grad_norm: Euclidean norm of the gradient before clipping; 0 for a step without labels.
    """

    loss: float
    losses: dict[str, float]
    grad_norm: float


class OptimizerStep:
    """Takes the optimizer steps of a training.

    Args:
        model: The model that is trained.
        objective: Of the model, as Accelerate wrapped it.
        optimizer: The same.
        accelerator: Devices, processes and precision.
        datasets: The datasets of each task.
        seed: Of all random numbers of the training.
        max_grad_norm: Euclidean norm that the gradient is clipped to.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        objective: nn.Module,
        optimizer: AcceleratedOptimizer,
        accelerator: Accelerator,
        *,
        datasets: Mapping[str, Sequence[str]],
        seed: int,
        max_grad_norm: float,
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.accelerator, self.datasets = accelerator, datasets
        self.seed, self.max_grad_norm = seed, max_grad_norm

    def take(self, plan: StepPlan, batches: Sequence[Batch], counts: Mapping[str, int]) -> StepDone:
        """Take one step.

        Args:
            plan: Of the step.
            batches: This process's pieces of it, at least one.
            counts: Labelled items of each task in the whole step, over all processes.

        Raises:
            NotFiniteError: If a loss or the gradient is not finite; the model is as before.
        """
        try:
            return self._take(plan, batches, counts)
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def _take(
        self, plan: StepPlan, batches: Sequence[Batch], counts: Mapping[str, int]
    ) -> StepDone:
        self._seed(plan.step)
        self.objective.train()
        shares = row_shares(plan.counts, self.datasets)
        factors = step_factors(self.model.tasks, counts, shares)
        # Data-parallel gradients are means over the processes; the step's is their sum.
        scaled = {name: factor * self.accelerator.num_processes for name, factor in factors.items()}
        totals = dict.fromkeys(self.model.tasks, 0.0)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective):
                loss, sums = self.objective(batch.to(self.accelerator.device), scaled)
                self.accelerator.backward(loss)
            for name, one in sums.items():
                totals[name] += one.item()
        means = self._means(totals, counts)
        norm = self._update(counts, means) if means else 0.0
        weights = {name: task.weight * shares[name] for name, task in self.model.tasks.items()}
        return StepDone(sum(weights[name] * mean for name, mean in means.items()), means, norm)

    def _seed(self, step: int) -> None:
        """Give each step and process random numbers of its own, so that a resume repeats them."""
        rank = self.accelerator.process_index
        words = np.random.SeedSequence([self.seed, step, rank]).generate_state(2)
        seed = int(words[0]) << 32 | int(words[1])
        # Not torch.manual_seed: it queues a call for every kind of device that is not there.
        torch.default_generator.manual_seed(seed)
        if self.accelerator.device.type != "cpu":
            torch.get_device_module(self.accelerator.device).manual_seed(seed)

    def _means(self, totals: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
        """Mean loss of each task that the step has labels of."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor(
                list(totals.values()), device=self.accelerator.device, dtype=torch.float64
            )
            summed = self.accelerator.reduce(mine, "sum").tolist()
            totals = dict(zip(totals, summed, strict=True))
        means = {name: total / counts[name] for name, total in totals.items() if counts[name]}
        check_losses(means)
        return means

    def _update(self, counts: Mapping[str, int], means: Mapping[str, float]) -> float:
        """Let the optimizer step; the norm of the gradient before clipping."""
        # A head without a label in the step must not move, by weight decay or momentum.
        taught = read_by([name for name, count in counts.items() if count], self.model.tasks)
        for name in counts.keys() - taught:
            for parameter in self.model.heads[name].parameters():
                parameter.grad = None
        norm = self._clip()
        # A scaler skips such a step by itself, and scales down.
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise NotFiniteError(f"the gradient's norm is {norm}", means)
        self.optimizer.step()
        return norm

    def _clip(self) -> float:
        """Clip the gradient to the greatest norm allowed; its norm before.

        Where nothing else scales or shards gradients the fused optimizer divides them as it reads
        them: a pass over all of them less.
        """
        accelerator = self.accelerator
        if accelerator.scaler is not None or accelerator.distributed_type not in _WHOLE_GRADIENTS:
            norm = accelerator.clip_grad_norm_(self.objective.parameters(), self.max_grad_norm)
            return float(norm)
        given = (p.grad for p in self.objective.parameters() if p.grad is not None)
        total = nn.utils.get_total_norm(list(given))
        norm = float(total)
        clips = norm > self.max_grad_norm
        scale = (total / self.max_grad_norm).float() if clips else None
        self.optimizer.optimizer.grad_scale = scale
        return norm
