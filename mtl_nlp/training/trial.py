"""A trial of the largest piece of a training, so that memory runs out in the first seconds."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from mtl_nlp.data.apportion import Ints
from mtl_nlp.data.passes import Numbers
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.errors import UserError
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.objective import Objective
from mtl_nlp.training.regularizing import build_losses

Piece = Mapping[str, Ints]
"""Dataset name -> rows."""


def largest_piece(
    plans: Iterable[StepPlan],
    cut: Callable[[StepPlan], Sequence[Piece]],
    lengths: Mapping[str, Numbers],
    encoder_rows: Mapping[str, Numbers],
) -> Piece:
    """The piece with most tokens, padding too, of some steps; empty if there is none.

    Steps are cut in the order of what their pieces can have at most, and most are never cut.

    Args:
        plans: Of the steps.
        cut: The pieces of a step.
        lengths: Dataset name -> tokens of the longest encoder row of each of its rows.
        encoder_rows: Dataset name -> encoder rows of each of its rows.
    """

    def padded(rows: Piece) -> int:
        longest = max(int(lengths[name][numbers].max()) for name, numbers in rows.items())
        return longest * sum(
            int(encoder_rows[name][numbers].sum()) for name, numbers in rows.items()
        )

    known = list(plans)
    bounds = np.array([padded(plan.rows) for plan in known], dtype=np.int64)
    best: Piece = {}
    most = 0
    for number in np.argsort(-bounds, kind="stable"):
        if bounds[number] <= most:
            break
        for piece in cut(known[number]):
            if (size := padded(piece)) > most:
                best, most = piece, size
    return best


def try_piece(
    model: MultiTaskModel,
    batch: Batch | None,
    optimizer: Optimizer,
    accelerator: Accelerator,
    recipe: Recipe,
) -> None:
    """Run forward and backward of a piece, with as much memory taken as in a later step.

    Weights, gradients, optimizer and random numbers are as before.

    Args:
        model: That is trained.
        batch: The piece; None on a process that has none.
        optimizer: Its state, where it has none yet, is counted as AdamW's.
        accelerator: Devices, processes and precision.
        recipe: Whose keys are advised.

    Raises:
        UserError: If memory runs out on any process, on all of them.
    """
    losses = build_losses(recipe.training.regularization, model.tasks)
    problem = "" if batch is None else _try(Objective(model, losses), batch, optimizer, accelerator)
    failed = torch.tensor([int(bool(problem))], device=accelerator.device)
    if accelerator.num_processes > 1:
        failed = accelerator.gather(failed)
    if not failed.max():
        return
    spec, rows = recipe.training, "of another process"
    if batch is not None:
        rows = f"{batch.input_ids.shape[0]} encoder rows of {batch.input_ids.shape[1]} tokens"
    tokens = "" if spec.micro_batch_tokens is None else f" (now {spec.micro_batch_tokens})"
    raise UserError(
        f"training: the largest piece of a step, {rows}, does not fit in the memory of"
        f" {accelerator.device}; lower training.micro_batch_size (now {spec.micro_batch_size}) or"
        f" training.micro_batch_tokens{tokens}, which change memory and speed alone, or max_length"
        f" (now {recipe.max_length}){f': {problem}' if problem else ''}"
    )


def _try(objective: Objective, batch: Batch, optimizer: Optimizer, accelerator: Accelerator) -> str:
    """What is said where memory runs out; nothing where it does not."""
    model = objective.model
    parameters = [p for p in model.parameters() if p.requires_grad]
    try:
        with _kept(model, accelerator.device):
            # Two moments of each gradient.
            later = [] if optimizer.state else [torch.empty_like(p) for p in (*parameters,) * 2]
            with accelerator.autocast():
                factors = dict.fromkeys(model.tasks, 1.0)
                loss, _ = objective(batch.to(accelerator.device), factors)
            torch.autograd.grad(loss, parameters, allow_unused=True)
            del later
    except (torch.OutOfMemoryError, MemoryError) as error:
        return _first_line(error)
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # what torch says on a CPU
            raise
        return _first_line(error)
    return ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


@contextlib.contextmanager
def _kept(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Train within, and leave mode and random numbers as they were."""
    training = model.training
    others = {} if device.type == "cpu" else {"device_type": device.type}
    with torch.random.fork_rng([device] if others else [], **others):
        try:
            model.train()
            yield
        finally:
            model.train(training)
