"""Steps that are skipped, since a loss or gradient is not finite."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mtl_nlp.errors import UserError


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


def skip(
    skips: Skips,
    fault: str,
    step: int,
    most: int,
    good: Path | None,
    say: Callable[[str], None],
) -> Skips:
    """Count and tell a step that is skipped.

    Args:
        skips: Before it.
        fault: What was not finite.
        step: Its number, from 1.
        most: How many may be skipped in a row.
        good: The last good model, if one was written.
        say: Told of it.

    Returns:
        The skips with it.

    Raises:
        UserError: If it is one too many in a row.
    """
    skips = skips.one_more()
    if skips.in_a_row <= most:
        say(
            f"warning: step {step:,} is skipped: {fault} ({skips.in_a_row} in a"
            f" row of at most {most}, {skips.total} in all)"
        )
        return skips
    earlier = f", as in the {most} steps before it" if most else ""
    last = f"; the last good model is {good}" if good else ""
    raise UserError(
        f"training: {fault} at step {step}{earlier}; lower training.learning_rate or"
        f" use training.precision=fp32, and train anew with --overwrite{last}"
    )
