"""How the tasks' losses become the gradient of a step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import nn

from mtl_nlp.data.mixture import Mixture
from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import BalancingSpec, Recipe
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.objective import row_shares, step_factors
from mtl_nlp.training.pieces import Pieces

EQUAL = "equal"


class Balancing(ABC):
    """Gives the parameters of a model the gradient of a step."""

    @abstractmethod
    def backward(self, pieces: Pieces) -> tuple[float, dict[str, float]]:
        """Fill the gradients of a step.

        Returns:
            The step's loss, and the mean loss of each task that it has labels of.

        Raises:
            NotFiniteError: If a loss, or a gradient on the way, is not finite.
        """

    def after(self, pieces: Pieces) -> None:  # noqa: B027 (most have nothing to do)
        """Learn from what the optimizer made of the step."""

    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer learns beside the model; not clipped with it."""
        return []

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: tensors, numbers, and lists and mappings of them."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (the same)
        """Stand again where `state` was taken."""


class Equal(Balancing):
    """Weight times share times mean, summed: the sampling sets the balance.

    Args:
        tasks: By name.
        datasets: The datasets of each task.
    """

    def __init__(self, tasks: Mapping[str, Task], datasets: Mapping[str, Sequence[str]]) -> None:
        self.tasks, self.datasets = tasks, datasets

    def backward(self, pieces: Pieces) -> tuple[float, dict[str, float]]:
        """Fill the gradients; see the base class."""
        shares = row_shares(pieces.plan.counts, self.datasets)
        means = pieces.backward(step_factors(self.tasks, pieces.counts, shares))
        weights = {name: task.weight * shares[name] for name, task in self.tasks.items()}
        return sum(weights[name] * mean for name, mean in means.items()), means


def build_balancing(
    spec: BalancingSpec,
    tasks: Mapping[str, Task],
    datasets: Mapping[str, Sequence[str]],
    *,
    steps_per_pass: int,
    device: torch.device,
) -> Balancing:
    """What a recipe names.

    Args:
        spec: Method and options.
        tasks: By name, in the recipe's order.
        datasets: The datasets of each task.
        steps_per_pass: Steps of what a method calls an epoch.
        device: Where the model's gradients are.

    Raises:
        RecipeError: If the method or its options are wrong.
    """
    if spec.method == EQUAL:
        return Equal(tasks, datasets)
    # They bring TorchJD along, which may bring large solvers.
    from mtl_nlp.training.aggregating import Aggregating
    from mtl_nlp.training.balancing_methods import find_method
    from mtl_nlp.training.scalarizing import Scalarizing

    method = find_method(spec, list(tasks))
    weights = {name: task.weight for name, task in tasks.items()}
    if method.aggregates:
        return Aggregating(method, weights, device=device)
    return Scalarizing(method, weights, steps_per_pass=steps_per_pass)


def check_balancing(
    recipe: Recipe, datasets: Mapping[str, Sequence[str]], mixture: Mixture
) -> None:
    """Refuse a method that would not do what it promises.

    Args:
        recipe: What to do.
        datasets: The datasets of each task.
        mixture: Of the training.

    Raises:
        RecipeError: If the method, its options, the precision or the data are not fit for it.
    """
    spec = recipe.balancing
    if spec.method == EQUAL and not spec.options:
        return
    from mtl_nlp.training.balancing_methods import find_method

    if spec.method == EQUAL:
        raise RecipeError("balancing.options: `equal` has none; leave them out or name a method")
    method = find_method(spec, list(datasets))
    if recipe.training.precision == "fp16" and (method.aggregates or method.learns):
        raise RecipeError(
            f"training.precision: fp16 scales gradients by a factor that {spec.method} would take"
            " for theirs; use bf16 or fp32, or another balancing.method"
        )
    adapters = set(recipe.sharing.adapters(recipe.tasks).values())
    if method.aggregates and len(adapters) > 1:
        raise RecipeError(
            f"balancing.method: {spec.method} makes one gradient of those that the tasks have of"
            f" weights that they share, but they have {len(adapters)} adapters; share one adapter,"
            " or use a method that balances losses, such as uw"
        )
    if method.needs_all:
        _check_every_step(recipe, datasets, mixture)


def check_not_sharded(spec: BalancingSpec, distributed: DistributedType) -> None:
    """Refuse a method that goes past Accelerate's wrapper where that alone knows the whole model.

    Raises:
        RecipeError: If the model lies in parts on several devices.
    """
    sharded = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    if spec.method != EQUAL and distributed in sharded:
        raise RecipeError(
            f"balancing.method: {spec.method} needs the whole model on each device, but"
            f" {distributed.value} shares it out; use equal, or processes with copies of the model"
        )


def _check_every_step(
    recipe: Recipe, datasets: Mapping[str, Sequence[str]], mixture: Mixture
) -> None:
    """Refuse steps that by plan lack tasks, where a method needs all of them."""
    method, every = recipe.balancing.method, set(mixture.shares)
    for task, names in datasets.items():
        if recipe.sampling.mix == "step" and set(names) != every:
            lacking = sorted(every - set(names))[0]
            raise RecipeError(
                f"balancing.method: {method} needs every task in every step, but with"
                f" sampling.mix=step a step of {lacking!r} has no rows of task {task!r}; use"
                " sampling.mix=batch or another method"
            )
        rows = float(mixture.least_share(names)) * recipe.training.batch_size
        if rows < 1:
            raise RecipeError(
                f"balancing.method: {method} needs every task in every step, but of task {task!r}"
                f" a step may have only {rows:.2g} rows; raise training.batch_size or its share"
            )
