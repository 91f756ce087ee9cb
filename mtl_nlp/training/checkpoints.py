"""Checkpoint folders `step-000200`: each whole or absent, whenever the process dies.

A folder bears that name only by a rename of something finished, and loses it by a rename before
it is deleted, so the name alone says that it is whole. The hidden names are passing states.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

_WRITING, _REPLACED, _REMOVING, _TORN = ".writing-", ".replaced-", ".removing-", ".torn-"


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A whole checkpoint: the optimizer steps that were done, and the folder that holds it."""

    step: int
    path: Path


def write_checkpoint(folder: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Create or replace the checkpoint of a step, whole or not at all, and on disk on return.

    Args:
        folder: Where the checkpoints are; made if it is not there.
        step: Optimizer steps done, at least 0.
        fill: Writes the checkpoint's files into the empty folder it is given. What it raises
            (a full disk, Ctrl-C) passes through, and leaves all as it was before.
    """
    name = _name(step)
    whole, writing = folder / name, folder / (_WRITING + name)
    replaced, removing = folder / (_REPLACED + name), folder / (_REMOVING + name)
    folder.mkdir(parents=True, exist_ok=True)
    if writing.exists():
        shutil.rmtree(writing)
    writing.mkdir()
    try:
        fill(writing)
        _sync_tree(writing)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    if whole.exists():
        if replaced.exists():
            _remove(replaced, removing)
        whole.rename(replaced)
    writing.rename(whole)
    _sync(folder)
    if replaced.exists():
        _remove(replaced, removing)
    return whole


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The whole checkpoints in a folder, by ascending step; none if there is no such folder."""
    if not folder.is_dir():
        return []
    found = ((re.fullmatch(r"step-(\d{6,})", path.name), path) for path in folder.iterdir())
    return sorted(
        Checkpoint(int(match[1]), path)
        for match, path in found
        if match and path.name == _name(int(match[1])) and path.is_dir()
    )


def rotate(folder: Path, keep: int, protect: Collection[int] = ()) -> None:
    """Remove all but the newest checkpoints and the protected ones, oldest first.

    Args:
        folder: Where the checkpoints are.
        keep: How many of the newest stay, at least 1.
        protect: Steps whose checkpoints stay however old, in addition to those.

    Raises:
        ValueError: If ``keep`` is below 1.
    """
    if keep < 1:
        raise ValueError(f"a run needs at least one checkpoint to resume from, but keep is {keep}")
    for checkpoint in checkpoints(folder)[:-keep]:
        if checkpoint.step not in protect:
            _remove(checkpoint.path, folder / (_REMOVING + checkpoint.path.name))


def clean_torn(folder: Path) -> list[str]:
    """Clear away what a killed process left half-written or half-removed; call before resuming.

    A checkpoint set aside for a replacement that then did not take its place comes back.

    Returns:
        The names of the checkpoints that were half-written.
    """
    for replaced in folder.glob(_REPLACED + "step-*"):
        whole = folder / replaced.name.removeprefix(_REPLACED)
        if whole.exists():
            _remove(replaced, folder / (_REMOVING + whole.name))
        else:
            replaced.rename(whole)
    half_written = sorted(folder.glob(_WRITING + "step-*"))
    for torn in (*half_written, *folder.glob(_REMOVING + "step-*")):
        shutil.rmtree(torn)
    return [path.name.removeprefix(_WRITING) for path in half_written]


def set_aside(checkpoint: Checkpoint) -> Path:
    """Take its name from a checkpoint that cannot be read, and tell where it is now."""
    aside = checkpoint.path.with_name(_TORN + checkpoint.path.name)
    if aside.exists():
        shutil.rmtree(aside)
    return checkpoint.path.rename(aside)


def _name(step: int) -> str:
    if step < 0:
        raise ValueError(f"a checkpoint's step must be at least 0, not {step}")
    return f"step-{step:06d}"


def _remove(path: Path, removing: Path) -> None:
    if removing.exists():
        shutil.rmtree(removing)
    path.rename(removing)
    shutil.rmtree(removing)


def _sync_tree(folder: Path) -> None:
    """Bring a folder's files and names to the disk, so that no rename overtakes its content."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
