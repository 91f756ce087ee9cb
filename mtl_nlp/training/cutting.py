"""A step cut into this process's pieces, where the cuts save the most time, and made batches."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mtl_nlp.data.apportion import Ints
from mtl_nlp.data.collator import Collator
from mtl_nlp.data.drawing import row_places
from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.passes import Numbers
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.errors import UserError
from mtl_nlp.model.batch import Batch
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.masking import draw_key
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.trial import Piece

_FORWARD_COST = {"cpu": 48}
"""By device."""
_LAUNCHES = 4096
"""The cost where kernels are launched on another device, which then waits for the host, and where
padding is not computed: a step is then cut only where its rows are too many."""
_NEVER = 10**12
"""The same where a step must not be cut."""


def forward_cost(device: torch.device, *, packed: bool) -> int:
    """Tokens that are computed in the time of one more forward and backward of small pieces.

    Args:
        device: That computes.
        packed: Whether padding is not computed.
    """
    return _LAUNCHES if packed else _FORWARD_COST.get(device.type, _LAUNCHES)


@dataclass(frozen=True)
class _Times:
    """Numbers of rows, each so many times."""

    numbers: Numbers
    times: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Ints, /) -> Ints:
        return self.numbers[rows] * self.times


class Cutting:
    """Cuts the steps of a training.

    Args:
        recipe: How large steps and pieces are.
        data: The rows.
        collator: Makes a batch of a piece.
        rank: This process.
        world_size: Number of processes that share a step.
        forward_cost: Tokens that are computed in the time of one more forward and backward, see
            `forward_cost`.
        copies: How many times a row that all of some tasks read goes through the encoder.

    Raises:
        UserError: If a step cannot be shared among the processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        collator: Collator,
        *,
        rank: int,
        world_size: int,
        forward_cost: int,
        copies: Callable[[Collection[str]], int],
    ) -> None:
        self.spec, self.seed = recipe.training, recipe.seed
        self.data, self.collator = data, collator
        self.rank, self.world_size, self.forward_cost = rank, world_size, forward_cost
        self.encoder_rows: dict[str, Numbers] = {}
        for name, rows in data.encoder_rows.items():
            readers = [task for task, datasets in data.datasets.items() if name in datasets]
            self.encoder_rows[name] = _Times(rows, copies(readers))
        if self.spec.batch_size < world_size:
            raise UserError(
                f"training.batch_size: {self.spec.batch_size} rows cannot be shared among"
                f" {world_size} processes; use at least as many rows as processes"
            )
        if _must_stay_whole(collator.tasks, world_size):
            self.forward_cost = _NEVER

    def batches(self, plan: StepPlan) -> list[Batch]:
        """This process's pieces of a step as batches; each has at least one row."""
        return [self.batch(piece, plan.step) for piece in self.pieces(plan)]

    def batch(self, piece: Piece, step: int) -> Batch:
        """One piece of a step as a batch."""
        tables = [self.data.train[name].take(rows) for name, rows in piece.items()]
        places = [row_places(name, rows) for name, rows in piece.items()]
        return self.collator.batch(tables, draw_key(self.seed, step), places)

    def pieces(self, plan: StepPlan) -> list[dict[str, np.ndarray]]:
        """The rows of this process's pieces of a step, by dataset."""
        return micro_batches(
            plan,
            self.data.lengths,
            self.spec.micro_batch_size,
            forward_cost=self.forward_cost,
            most_tokens=self.spec.micro_batch_tokens,
            encoder_rows=self.encoder_rows,
            rank=self.rank,
            world_size=self.world_size,
        )


def _must_stay_whole(tasks: Mapping[str, Task], world_size: int) -> bool:
    """Whether a task compares all rows of a step.

    Raises:
        UserError: If it does, and several processes share them.
    """
    compared = [name for name, task in tasks.items() if task.whole_step]
    if compared and world_size > 1:
        raise UserError(
            f"task {compared[0]!r} compares all rows of a step, and {world_size}"
            " processes would each see a part; train it with one process"
        )
    return bool(compared)
