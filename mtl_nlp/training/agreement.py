"""What the processes of a training must know alike before a step's first backward."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator

from mtl_nlp.model.batch import Batch
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.objective import count_items


class Agreed(NamedTuple):
    """Of the whole step, over all processes."""

    counts: dict[str, int]  # labelled items of each task
    tokens: int  # without padding
    signum: int  # the signal that came to any process; 0 if none


def agree(
    tasks: Mapping[str, Task], batches: Sequence[Batch], signum: int, accelerator: Accelerator
) -> Agreed:
    """Tell each other what each process has of a step; all call it at the same step.

    Args:
        tasks: By name.
        batches: This process's pieces.
        signum: The signal that came to this process; 0 if none.
        accelerator: Of the processes.
    """
    counts = count_items(tasks, batches)
    tokens = sum(batch.num_tokens for batch in batches)
    if accelerator.num_processes == 1:
        return Agreed(counts, tokens, signum)
    mine = torch.tensor([*counts.values(), tokens], device=accelerator.device)
    total = accelerator.reduce(mine, "sum").tolist()
    signals = accelerator.gather(torch.tensor([signum], device=accelerator.device))
    return Agreed(dict(zip(counts, total[:-1], strict=True)), total[-1], int(signals.max()))
