"""The pieces of one optimizer step: forward and backward over all of them, on every process."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.masking import draw_key
from mtl_nlp.training.skipping import check_losses
from mtl_nlp.training.task_losses import TaskLosses

_ALIKE = 2**32 - 1
"""Stands for the process where all of them draw the same numbers; there are fewer processes."""


class Pieces:
    """One step's pieces, which can be gone through more than once.

    Args:
        model: The model that is trained.
        objective: Of the model, as Accelerate wrapped it.
        accelerator: Devices, processes and precision.
        plan: Of the step.
        batches: This process's pieces, at least one.
        counts: Labelled items of each task in the whole step, over all processes.
        seed: Of all random numbers of the training.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        objective: nn.Module,
        accelerator: Accelerator,
        plan: StepPlan,
        batches: Sequence[Batch],
        counts: Mapping[str, int],
        *,
        seed: int,
    ) -> None:
        self.model, self.objective, self.accelerator = model, objective, accelerator
        self.plan, self.batches, self.counts, self.seed = plan, batches, counts, seed
        self.key = draw_key(seed, plan.step)

    @property
    def present(self) -> list[str]:
        """The tasks that the step has labels of, in the model's order."""
        return [name for name, count in self.counts.items() if count]

    def backward(self, factors: Mapping[str, float]) -> dict[str, float]:
        """Forward and backward of all pieces; gradients add up to those of the whole step.

        Args:
            factors: What each task's sum is multiplied by.

        Returns:
            The mean loss of each task that the step has labels of.

        Raises:
            NotFiniteError: If a loss is not finite.
        """
        self._begin()
        # Data-parallel gradients are means over the processes; the step's is their sum.
        scaled = {name: factor * self.accelerator.num_processes for name, factor in factors.items()}
        totals = self.nothing()
        for i, batch in enumerate(self.batches):
            last = i == len(self.batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective):
                loss, sums = self.objective(batch.to(self.accelerator.device), scaled, self.key)
                self.accelerator.backward(loss)
            totals = self.added(totals, sums)
        return self.means(totals)

    def forward(self) -> dict[str, float]:
        """The means that `backward` gives, without a gradient.

        It draws the same random numbers, so that both go through the same network.
        """
        totals = self.nothing()
        with torch.no_grad():
            for sums in self.sums():
                totals = self.added(totals, sums)
        return self.means(totals)

    def sums(self) -> Iterator[dict[str, Tensor]]:
        """Each task's sum in one piece after another, with a gradient, past any wrapper."""
        losses: TaskLosses = self.accelerator.unwrap_model(self.objective).losses
        self._begin()
        for batch in self.batches:
            if batch.targets:
                with self.accelerator.autocast():
                    found = losses.totals(self.model, batch.to(self.accelerator.device), self.key)
                yield found

    def nothing(self) -> Tensor:
        """Totals to which sums are added, (tasks,).

        They stay on the device until `means` reads them: a number read in each piece would make the
        host wait for the device, and the device then for the host.
        """
        return torch.zeros(
            len(self.model.tasks), device=self.accelerator.device, dtype=torch.float64
        )

    def added(self, totals: Tensor, sums: Mapping[str, Tensor]) -> Tensor:
        """Totals with the sums of one more piece, without a gradient, (tasks,)."""
        if not sums:
            return totals
        none = totals.new_zeros(())
        return totals + torch.stack(
            [sums[name].detach() if name in sums else none for name in self.model.tasks]
        )

    def means(self, totals: Tensor) -> dict[str, float]:
        """Mean loss of each task that the step has labels of, from this process's totals.

        Raises:
            NotFiniteError: If one is not finite.
        """
        tasks = self.model.tasks
        summed = dict(zip(tasks, self.over_processes(totals).tolist(), strict=True))
        means = {name: summed[name] / self.counts[name] for name in self.present}
        check_losses(means)
        return means

    def over_processes(self, mine: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.accelerator.num_processes == 1:
            return mine
        summed: Tensor = self.accelerator.reduce(mine, "sum")
        return summed

    def seed_alike(self) -> None:
        """Let all processes draw the same random numbers from now on."""
        self._seed(_ALIKE)

    def _begin(self) -> None:
        self.objective.train()
        self._seed(self.accelerator.process_index)

    def _seed(self, rank: int) -> None:
        """Give each step and process random numbers of its own, so that a resume repeats them."""
        words = np.random.SeedSequence([self.seed, self.plan.step, rank]).generate_state(2)
        seed = int(words[0]) << 32 | int(words[1])
        # Not torch.manual_seed: it queues a call for every kind of device that is not there.
        torch.default_generator.manual_seed(seed)
        if self.accelerator.device.type != "cpu":
            torch.get_device_module(self.accelerator.device).manual_seed(seed)
