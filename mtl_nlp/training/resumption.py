"""The checkpoint that a run goes on from."""

from collections.abc import Callable
from pathlib import Path

from mtl_nlp.errors import ModelError
from mtl_nlp.training.checkpoints import Checkpoint, checkpoints, clean_torn, set_aside
from mtl_nlp.training.state import check_readable


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; torn ones are passed over, and that is told.

    Args:
        folder: Where the checkpoints are.
        say: Told what was passed over, and which one it is.
    """
    for name in clean_torn(folder):
        say(f"checkpoint {name} was half-written when the process ended: passed over")
    for found in reversed(checkpoints(folder)):
        try:
            check_readable(found.path)
        except ModelError as error:
            say(f"passed over and set aside as {set_aside(found).name}: {error}")
            continue
        say(f"going on from checkpoint {found.path.name}")
        return found
    say("no checkpoint to resume from: starting afresh")
    return None
