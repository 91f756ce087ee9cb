"""Steps that are skipped, since a loss or gradient is not finite."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


class NotFiniteError(Exception):
    """A step that must be skipped; neither model nor optimizer have changed.

    All processes meet it alike, since it is seen on what they have summed.

    Attributes:
        fault: What is not finite, such as ``the loss of task 'ner' is nan``.
        losses: Mean loss of each task, as far as they are known.
    """

    def __init__(self, fault: str, losses: Mapping[str, float]) -> None:
        super().__init__(fault)
        self.fault, self.losses = fault, dict(losses)

    @property
    def tasks(self) -> list[str]:
        """The tasks whose loss is not finite; none where it is the gradient alone."""
        return [name for name, loss in self.losses.items() if not math.isfinite(loss)]


def check_losses(losses: Mapping[str, float]) -> None:
    """Refuse mean losses that are not finite.

    Raises:
        NotFiniteError: Naming every such task.
    """
    faults = [
        f"the loss of task {name!r} is {loss}"
        for name, loss in losses.items()
        if not math.isfinite(loss)
    ]
    if faults:
        raise NotFiniteError(" and ".join(faults), losses)


@dataclass(frozen=True)
class Skips:
    """How many steps were skipped.

    Attributes:
        in_a_row: Up to the last step.
        total: In the whole training.
    """

    in_a_row: int = 0
    total: int = 0

    def one_more(self) -> "Skips":
        """After another step that was skipped."""
        return Skips(self.in_a_row + 1, self.total + 1)

    def ended(self) -> "Skips":
        """After a step that was not."""
        return Skips(0, self.total)


NONE_SKIPPED = Skips()
