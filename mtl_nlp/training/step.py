"""One optimizer step: the gradient of its pieces, then the update."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType
from torch import nn

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.after import read_by
from mtl_nlp.training.balancing import Balancing
from mtl_nlp.training.pieces import Pieces
from mtl_nlp.training.sharding import even_pieces, is_sharded
from mtl_nlp.training.skipping import NotFiniteError

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
        balancing: Of the tasks' losses.
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
        balancing: Balancing,
        seed: int,
        max_grad_norm: float,
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.accelerator, self.balancing = accelerator, balancing
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
        if is_sharded(self.accelerator):
            batches = even_pieces(batches, self.accelerator)
        pieces = Pieces(
            self.model, self.objective, self.accelerator, plan, batches, counts, seed=self.seed
        )
        try:
            loss, means = self.balancing.backward(pieces)
            norm = self._update(pieces, means) if means else 0.0
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        self.balancing.after(pieces)
        return StepDone(loss, means, norm)

    def _update(self, pieces: Pieces, means: Mapping[str, float]) -> float:
        """Let the optimizer step; the norm of the gradient before clipping."""
        # A head without a label in the step must not move, by weight decay or momentum.
        taught = read_by(pieces.present, self.model.tasks)
        for parameter in self.model.own_parameters(taught):
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
        if scale is not None:  # which would divide what balancing learns, too
            for parameter in self.balancing.parameters():
                if parameter.grad is not None:
                    parameter.grad *= scale.item()
        return norm
