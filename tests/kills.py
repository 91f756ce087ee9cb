"""Trainings that are killed with -9 and resumed, and what they then share with one that was not."""

import os
import random
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from mtl_nlp.recipe import Recipe
from mtl_nlp.training.checkpoints import checkpoints
from tests.ranks import PATIENCE, become_rank, environments, join, start, told
from tests.runs import log_of, tiny_recipe

STEPS = 60
_MOST = {"step": 40, "evaluation": 40, "checkpoint": 30, "file": 30, "time": 3000}


@dataclass(frozen=True)
class Kill:
    """When a process is killed.

    Attributes:
        moment: ``step`` or ``evaluation``: in a forward; ``checkpoint`` or ``file``: when a file
            among the checkpoints or elsewhere in the run folder is opened, renamed or removed;
            ``time``: whatever it is doing.
        number: The how manieth of these it is, from 1; of ``time``, the milliseconds.
        rank: Which process.
    """

    moment: str
    number: int
    rank: int = 0


def random_kill(source: random.Random, world_size: int = 1) -> Kill:
    """A kill at any moment; only the first process writes files."""
    moment = source.choice(list(_MOST))
    rank = 0 if moment in ("checkpoint", "file") else source.randrange(world_size)
    return Kill(moment, source.randint(1, _MOST[moment]), rank)


def killed_recipe(folder: Path) -> Recipe:
    """A run in which much happens: dropout, warm-up, evaluations, an early stop."""
    return tiny_recipe(
        folder,
        dropout=0.1,
        training__max_steps=STEPS,
        training__learning_rate=1e-2,
        training__micro_batch_size=8,
        training__schedule="cosine",
        training__warmup=0.05,
        training__keep_checkpoints=1,
        training__early_stopping=3,
        evaluation__every=4,
        evaluation__select="ner.f1",
    )


def run_until(recipe: Recipe, kill: Kill | None = None, world_size: int = 1) -> bool:
    """Begin or go on with a run; whether it was killed rather than finished.

    As under torchrun, all processes end where one is killed. Fails if one ends by itself.
    """
    processes = [
        start(train_until, recipe, kill if kill and kill.rank == rank else None, environment)
        for rank, environment in enumerate(environments(world_size))
    ]
    by_time = kill is not None and kill.moment == "time"
    seconds = kill.number / 1000 if kill and by_time else PATIENCE
    wait([process.sentinel for process in processes], seconds)
    if kill and by_time:
        processes[kill.rank].kill()
    hit = kill is not None and processes[kill.rank].exitcode == -signal.SIGKILL
    if by_time or hit:
        for process in processes:
            process.kill()
    statuses = join(processes, Path(recipe.output))
    if kill and -signal.SIGKILL in statuses:
        return True
    assert set(statuses) == {0}, told(Path(recipe.output))
    return False


def train_until(recipe: Recipe, kill: Kill | None, environment: dict[str, int]) -> None:
    """Begin or go on with a run and be killed; the body of a process."""
    from mtl_nlp.model.modeling import MultiTaskModel
    from mtl_nlp.program import program
    from mtl_nlp.run import train

    become_rank(environment)
    moment, number = (kill.moment, kill.number) if kill else ("", 0)
    seen = 0

    def pass_by() -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_forward(module: nn.Module, *_: Any) -> None:
        if isinstance(module, MultiTaskModel) and module.training == (moment == "step"):
            pass_by()

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove", "os.rmdir") or (
            event == "open" and set(str(arguments[1])) & set("wa+")  # to write
        ):
            path = str(arguments[0])
            # A tree is removed by names relative to its folders, and only checkpoints are.
            among_checkpoints = "/checkpoints/" in path or "/" not in path
            within = path.startswith(recipe.output) or "/" not in path
            if within and among_checkpoints == (moment == "checkpoint"):
                pass_by()

    if moment in ("step", "evaluation"):
        register_module_forward_hook(on_forward)
    elif moment in ("checkpoint", "file"):
        sys.addaudithook(on_event)
    told_here = Path(recipe.output).parent / f"rank-{environment.get('RANK', 0)}.txt"
    with told_here.open("a", buffering=1) as sys.stderr, program(debug=True):
        train(recipe, resume=True)


def assert_same_bits(one: Any, other: Any) -> None:
    """Fail where two nested dicts of tensors and values differ."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def assert_same_run(one: Path, other: Path) -> None:
    """Fail where two finished run folders differ in weights, optimizer, metrics or log."""
    assert log_of(one) == log_of(other)
    assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    assert_same_bits(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))
    for resumed, straight in zip(
        checkpoints(one / "checkpoints"), checkpoints(other / "checkpoints"), strict=True
    ):
        assert resumed.step == straight.step
        for name in ("model.safetensors", "state.json"):
            assert (resumed.path / name).read_bytes() == (straight.path / name).read_bytes()
        states = [torch.load(path / "optimizer.pt") for path in (resumed.path, straight.path)]
        assert_same_bits(*states)
