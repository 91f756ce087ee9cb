"""The Accelerator of a training: devices, processes, precision and trackers."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.launch import check_launch
from mtl_nlp.training.precision import choose_precision


def build_accelerator(recipe: Recipe) -> Accelerator:
    """What a recipe asks for, on what there is; several may be built in one program.

    Raises:
        RecipeError: If the device cannot compute in the recipe's precision.
        UserError: If the launcher was asked for what no training here can do.
    """
    check_launch()
    cpu = not torch.accelerator.is_available()
    state = PartialState(cpu=cpu)
    AcceleratorState._reset_state()  # else the first training's precision binds all later ones
    return Accelerator(
        cpu=cpu,
        mixed_precision=choose_precision(recipe.training.precision, state.device),
        log_with=list(recipe.training.trackers) or None,
        project_dir=recipe.output,
        kwargs_handlers=[
            # A step need not use every head.
            DistributedDataParallelKwargs(find_unused_parameters=True)
        ],
    )


def check_trackers(trackers: Sequence[str]) -> None:
    """Refuse trackers that Accelerate does not have here.

    Raises:
        RecipeError: Naming those it has.
    """
    available = [str(tracker) for tracker in get_available_trackers()]
    for tracker in trackers:
        if tracker not in available:
            raise RecipeError(
                f"training.trackers: {tracker!r} is not installed or not one of Accelerate's;"
                f" installed are {', '.join(available) or 'none'}"
            )
