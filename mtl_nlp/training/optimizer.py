"""AdamW and its learning rate over a run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.rates import parameter_rates

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def build_optimizer(
    model: nn.Module, spec: TrainingSpec, balancing: Sequence[nn.Parameter] = ()
) -> AdamW:
    """AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101); no biases, norms, factors decay.

    Parameters are taken in the order of their rates and names, so that its state fits a model whose
    tasks were added in another order.

    Args:
        model: Its parameters that learn are taken.
        spec: Rates and decay.
        balancing: What balancing learns, in a group of its own that does not decay.

    Raises:
        RecipeError: If the rates do not fit the model.
    """
    rates = parameter_rates(model, spec)
    named = sorted((n, p) for n, p in model.named_parameters() if p.requires_grad)
    groups: list[dict[str, Any]] = []
    for rate in sorted(set(rates.values()), reverse=True):
        alike = [(name, p) for name, p in named if rates[name] == rate]
        groups += [
            {
                "params": [p for name, p in alike if _decays(name, p) == decays],
                "lr": rate,
                "weight_decay": spec.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ]
    if balancing:
        groups.append({"params": list(balancing), "weight_decay": 0.0})
    return AdamW(groups, lr=spec.learning_rate, fused=True)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether it decays towards 0; a factor of an IA3 adapter changes nothing where it is 1."""
    return parameter.ndim > 1 and ".ia3_l." not in name


def build_schedule(optimizer: torch.optim.Optimizer, spec: TrainingSpec, steps: int) -> LambdaLR:
    """Warm-up from 0, then the recipe's schedule, over ``steps`` optimizer steps."""
    schedule: LambdaLR = get_scheduler(
        _SCHEDULES[spec.schedule],
        optimizer,
        num_warmup_steps=round(spec.warmup * steps),
        num_training_steps=steps,
    )
    return schedule


def base_rate(schedule: LambdaLR, spec: TrainingSpec) -> float:
    """The next step's rate of what has the recipe's ``learning_rate``."""
    factor: float = schedule.lr_lambdas[0](schedule.last_epoch)
    return spec.learning_rate * factor
