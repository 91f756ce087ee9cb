"""What learns and how: a model under its balancing, optimizer and schedule."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.averaging import Average
from mtl_nlp.training.balancing import build_balancing, check_not_sharded
from mtl_nlp.training.freezing import let_learn
from mtl_nlp.training.objective import Objective
from mtl_nlp.training.optimizer import base_rate, build_optimizer, build_schedule
from mtl_nlp.training.rates import parameter_rates
from mtl_nlp.training.regularizing import build_losses
from mtl_nlp.training.sharding import (
    ShardedObjective,
    check_sharded,
    gathered,
    is_sharded,
    whole_weights,
)
from mtl_nlp.training.state import (
    TrainingState,
    load_average,
    load_balancing,
    load_optimizer,
    save_state,
)
from mtl_nlp.training.step import OptimizerStep, StepDone
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.whole import check_whole


def settle(model: MultiTaskModel, recipe: Recipe, steps: int, steps_per_pass: int) -> list[str]:
    """Freeze in a model what a recipe freezes, and see that the rest has rates.

    Args:
        model: As training begins.
        recipe: What learns at which rates.
        steps: Of the whole training.
        steps_per_pass: Of an epoch.

    Returns:
        What a user should know.

    Raises:
        RecipeError: If what is frozen, unfrozen or given a rate does not fit the model.
    """
    unfreezing = let_learn(model, recipe, steps_per_pass)
    parameter_rates(model, recipe.training)
    return [] if unfreezing is None else unfreezing.notes(steps)


class Learning:
    """Lets a model learn, step by step, and writes and reads where that stands.

    Args:
        recipe: What learns at which rates, schedule and balancing.
        model: That learns; Accelerate wraps its objective.
        data: What it learns from.
        steps: Of the whole training.
        accelerator: Devices, processes and precision.

    Raises:
        RecipeError: If the balancing, or what is frozen, unfrozen or given a rate, does not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: MultiTaskModel,
        data: TrainingData,
        *,
        steps: int,
        accelerator: Accelerator,
    ) -> None:
        self.spec, self.accelerator = recipe.training, accelerator
        spec = self.spec
        check_not_sharded(recipe.balancing, accelerator.distributed_type)
        check_whole(spec, accelerator.distributed_type)
        steps_per_pass = math.ceil(sum(data.sizes.values()) / spec.batch_size)
        self.unfreezing = let_learn(model, recipe, steps_per_pass)
        self.notes = [] if self.unfreezing is None else self.unfreezing.notes(steps)
        self.balancing = build_balancing(
            recipe.balancing,
            model.tasks,
            data.datasets,
            steps_per_pass=steps_per_pass,
            device=accelerator.device,
        )
        optimizer = build_optimizer(model, spec, self.balancing.parameters())
        self.schedule = build_schedule(optimizer, spec, steps)
        losses = build_losses(spec.regularization, model.tasks)
        check_sharded(accelerator, model)
        wrapped = (ShardedObjective if is_sharded(accelerator) else Objective)(model, losses)
        self.objective, self.optimizer = accelerator.prepare(wrapped, optimizer)
        self.optimizer_step = OptimizerStep(
            model,
            self.objective,
            self.optimizer,
            accelerator,
            balancing=self.balancing,
            seed=recipe.seed,
            max_grad_norm=spec.max_grad_norm,
        )
        self.average = None if spec.ema is None else Average(model, spec.ema)

    @property
    def rate(self) -> float:
        """The base learning rate of the next step; parts of the model may have others."""
        return base_rate(self.schedule, self.spec)

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the model has the weights that are judged and kept: their average, if any."""
        return contextlib.nullcontext() if self.average is None else self.average.shown()

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """Within, every process can judge the model, whose weights are as of `averaged`."""
        with self.averaged(), whole_weights(self.objective, self.accelerator):
            yield

    def step(self, plan: StepPlan, batches: Sequence[Batch], counts: Mapping[str, int]) -> StepDone:
        """Take one step, with what `OptimizerStep.take` takes, gives and raises.

        The schedule counts skipped steps too, so it is moved on apart.
        """
        if self.unfreezing is not None:
            self.unfreezing.begin(plan.step)
        done = self.optimizer_step.take(plan, batches, counts)
        if self.average is not None:
            self.average.update()
        return done

    def optimizer_state(self) -> dict[str, Any]:
        """Of the optimizer, whole; all processes call it."""
        state: dict[str, Any] = gathered(self.optimizer.optimizer.state_dict())
        return state

    def save(self, folder: Path, state: TrainingState, optimizer: Mapping[str, Any]) -> None:
        """Write where optimizer, schedule, balancing and average stand, and the training with them.

        Args:
            folder: Of the checkpoint.
            state: Of the training.
            optimizer: What `optimizer_state` gave.

        Raises:
            OSError: If the disk will not take it.
        """
        save_state(
            folder,
            state,
            optimizer,
            self.schedule,
            self.accelerator.scaler,
            self.balancing.state(),
            None if self.average is None else self.average.state(),
        )

    def load(self, folder: Path) -> None:
        """Stand again where a checkpoint was written, which the model was loaded from."""
        load_optimizer(folder, self.optimizer.optimizer, self.schedule, self.accelerator.scaler)
        self.balancing.load_state(load_balancing(folder))
        if self.average is not None:
            self.average.load_state(load_average(folder))
