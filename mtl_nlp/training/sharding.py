"""Weights that lie in parts on several processes: FSDP2, as Accelerate prepares it.

Every forward of a layer gathers its weights from all processes, and the end of a step's backward
gives each process its part of the summed gradients. So all processes must go through as many
forwards, and have a gradient for the same parameters; where each works on rows of its own, neither
comes by itself.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from mtl_nlp.errors import RecipeError, UserError
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.after import read_by
from mtl_nlp.training.launch import asked
from mtl_nlp.training.objective import Objective
from mtl_nlp.training.task_losses import PLAIN, TaskLosses


def check_sharded(accelerator: Accelerator, model: MultiTaskModel) -> None:
    """Refuse to go on where weights would not be shared out as asked, or cannot be.

    Raises:
        UserError: If there is nothing that Accelerate shares weights among.
        RecipeError: If a task generates texts, or the encoder has adapters.
    """
    if asked("ACCELERATE_USE_FSDP") and not is_sharded(accelerator):
        raise UserError(
            f"accelerate launch: FSDP needs several GPUs, found {accelerator.num_processes}"
            f" process{'es' if accelerator.num_processes > 1 else ''} on {accelerator.device.type};"
            " use recipes/accelerate/cpu.yaml, ddp.yaml or no configuration"
        )
    if is_sharded(accelerator) and model.sharing is not None:
        raise RecipeError(
            "sharing: adapters beside a frozen encoder were never tried with weights in parts, and"
            " need little memory; use DDP, or `method: full`"
        )
    if is_sharded(accelerator) and model.decoder is not None:
        raise RecipeError(
            "tasks: a task that generates texts has a decoder, which not every process would go"
            " through in every step, as FSDP needs it; use DDP, or leave that task out"
        )


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether weights lie in parts on several processes."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


class ShardedObjective(Objective):
    """An objective that runs all layers and gives a gradient to all heads of a step, perhaps 0.

    Args:
        model: The model that is trained; its encoder's layers are shared out one by one.
        losses: What each task loses.
    """

    def __init__(self, model: MultiTaskModel, losses: TaskLosses = PLAIN) -> None:
        super().__init__(model, losses)
        self._no_split_modules = sorted(model._no_split_modules or ())  # read by Accelerate

    def forward(
        self, batch: Batch, factors: Mapping[str, float], key: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One piece of a step; see the base class."""
        if batch.targets:
            loss, sums = super().forward(batch, factors, key)
        else:
            loss, sums = self.model.encode(batch).sum() * 0.0, {}
        taught = read_by((name for name, factor in factors.items() if factor), self.model.tasks)
        for name in sorted(taught):
            for parameter in self.model.heads[name].parameters():
                if parameter.requires_grad:
                    loss = loss + parameter.sum() * 0.0
        return loss, sums


def even_pieces(batches: Sequence[Batch], accelerator: Accelerator) -> list[Batch]:
    """As many pieces as the process that has most; what is added has no labels.

    Args:
        batches: This process's pieces of a step, at least one.
        accelerator: Of the processes.
    """
    mine = torch.tensor([len(batches)], device=accelerator.device)
    most = int(accelerator.gather(mine).max())
    return [replace(batches[0], targets={})] * (most - len(batches)) + list(batches)


@contextlib.contextmanager
def whole_weights(objective: torch.nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Let every process have all weights within, so that it can go through forwards by itself."""
    if not is_sharded(accelerator):
        yield
        return
    shards = [one for one in objective.modules() if isinstance(one, FSDPModule)]
    for one in shards:
        one.set_reshard_after_forward(False, recurse=False)
        one.unshard()
    try:
        yield
    finally:
        for one in shards:
            one.reshard()
            if one is not objective:  # the outermost goes straight on into its backward
                again = accelerator.state.fsdp_plugin.reshard_after_forward
                one.set_reshard_after_forward(again, recurse=False)


def gathered(value: Any) -> Any:
    """A state, of dicts and lists, with whole tensors on the CPU for those in parts.

    All processes call it with the same state, wherever they keep what comes out.
    """
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {key: gathered(one) for key, one in value.items()}
    if isinstance(value, list):
        return [gathered(one) for one in value]
    return value


def spread(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state of whole tensors, in parts where its parameters are; see `gathered`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        **state,
        "state": {
            number: {name: _like(parameters[number], one) for name, one in of_parameter.items()}
            for number, of_parameter in state["state"].items()
        },
    }


def _like(parameter: Tensor, value: Any) -> Any:
    """A tensor of a parameter's shape in parts as the parameter is; anything else as it is."""
    if not isinstance(parameter, DTensor) or getattr(value, "shape", None) != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
