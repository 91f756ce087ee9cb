"""AdamW and its learning rate over a run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from mtl_nlp.recipe import TrainingSpec

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def build_optimizer(
    model: nn.Module, spec: TrainingSpec, balancing: Sequence[nn.Parameter] = ()
) -> AdamW:
    """AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101); biases and norms do not decay.

    Parameters are taken in the order of their names, so that its state fits a model whose tasks
    were added in another order.

    Args:
        model: Its parameters that learn are taken.
        spec: Rate and decay.
        balancing: What balancing learns, in a group of its own that does not decay.
    """
    named = sorted((n, p) for n, p in model.named_parameters() if p.requires_grad)
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if balancing:
        groups.append({"params": list(balancing), "weight_decay": 0.0})
    return AdamW(groups, lr=spec.learning_rate, fused=True)


def build_schedule(optimizer: torch.optim.Optimizer, spec: TrainingSpec, steps: int) -> LambdaLR:
    """Warm-up from 0, then the recipe's schedule, over ``steps`` optimizer steps."""
    schedule: LambdaLR = get_scheduler(
        _SCHEDULES[spec.schedule],
        optimizer,
        num_warmup_steps=round(spec.warmup * steps),
        num_training_steps=steps,
    )
    return schedule
