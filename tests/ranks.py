"""Trainings in processes of their own: several that train together.

They are forked from a server that has imported everything, so each starts in well under a second.
"""

import math
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from mtl_nlp.recipe import Recipe
from tests.shards import shard_on_cpus

PATIENCE = 120.0
"""Seconds after which processes hang; a busy machine needs a tenth of it."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["mtl_nlp.run", "mtl_nlp.hub.card", "sklearn.metrics", "seqeval"])


class Ranks:
    """A training by several processes that meet over gloo, as torchrun would start them.

    Their exit statuses are the command line's: 130 and 143 after a signal. What each tells on
    stderr is in ``rank-N.txt`` beside the run folder, its gradients of the first step in
    ``gradients-N.pt``.

    Args:
        recipe: Of the run.
        world_size: How many they are.
        resume: Whether they go on with it.
        spoilt: The steps, from 1, in which the last one's losses are no numbers.
        faults: By rank, what befalls it in its third forward; see `strike`.
        sharded: Whether weights lie in parts on them; they then keep no gradients.
    """

    def __init__(
        self,
        recipe: Recipe,
        world_size: int = 2,
        *,
        resume: bool = False,
        spoilt: range | None = None,
        faults: Mapping[int, str] | None = None,
        sharded: bool = False,
    ) -> None:
        self.folder = Path(recipe.output)
        self.processes = [
            start(
                train_as_rank,
                recipe,
                resume,
                environment,
                spoilt,
                (faults or {}).get(rank),
                sharded,
            )
            for rank, environment in enumerate(environments(world_size))
        ]

    def join(self) -> list[int | None]:
        """Their exit statuses; fails if they hang."""
        return join(self.processes, self.folder)

    def wait_for_steps(self, steps: int) -> None:
        """Return once so many steps are done."""
        wait_for_steps(self.folder, steps, lambda: all(p.is_alive() for p in self.processes))

    def signal(self, signum: signal.Signals, ranks: Sequence[int]) -> None:
        """Send a signal to some of them."""
        for rank in ranks:
            pid = self.processes[rank].pid
            assert pid is not None
            os.kill(pid, signum)


def wait_for_steps(run: Path, steps: int, alive: Callable[[], bool]) -> None:
    """Return once a run's log has so many lines; fails if its processes die or never get there."""
    log, end = run / "log.jsonl", time.monotonic() + PATIENCE
    while not log.exists() or log.read_bytes().count(b"\n") < steps:
        assert alive(), told(run)
        assert time.monotonic() < end, "training does not get there"
        time.sleep(0.01)


def environments(world_size: int) -> list[dict[str, int]]:
    """What tells each process which of several it is; nothing where it is the only one."""
    if world_size == 1:
        return [{}]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return [
        {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
        for rank in range(world_size)
    ]


def become_rank(environment: dict[str, int]) -> None:
    """Let this process be the one of several that an environment describes."""
    os.environ.update({name: str(value) for name, value in environment.items()})
    if environment:
        os.environ.update(MASTER_ADDR="127.0.0.1", LOCAL_WORLD_SIZE=os.environ["WORLD_SIZE"])


def start(function: Callable[..., None], *args: Any) -> BaseProcess:
    """Run a function, which is found by its module and name, in a process of its own."""
    process = _context.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def join(processes: Sequence[BaseProcess], folder: Path) -> list[int | None]:
    """Exit statuses of processes, negative for a signal that killed them; fails if they hang."""
    end = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
    assert not hanging, f"{len(hanging)} of {len(processes)} processes hang\n{told(folder)}"
    return [process.exitcode for process in processes]


def told(run: Path) -> str:
    """What the processes of a run told on stderr."""
    return "\n".join(path.read_text() for path in sorted(run.parent.glob("rank-*.txt")))


def keep_gradients(path: Path) -> RemovableHandle:
    """Write the gradients of the next step that any optimizer does, None for idle parameters."""

    def write(optimizer: Optimizer, *_: Any) -> None:
        handle.remove()
        torch.save([p.grad for group in optimizer.param_groups for p in group["params"]], path)

    handle: RemovableHandle = register_optimizer_step_pre_hook(write)
    return handle


def spoil(steps: range, log: Path) -> None:
    """Make the losses of some steps, counted from 1 by the log's lines, no numbers."""
    from mtl_nlp.training.objective import Objective

    def on_forward(module: nn.Module, _: Any, result: Any) -> Any:
        if not isinstance(module, Objective):
            return result
        lines = log.read_text().splitlines() if log.exists() else []
        if sum('"loss"' in line for line in lines) + 1 not in steps:
            return result
        loss, sums = result
        return loss * math.nan, {name: one * math.nan for name, one in sums.items()}

    register_module_forward_hook(on_forward)


def strike(fault: str) -> None:
    """Let something befall this process in its third forward.

    Args:
        fault: ``mistake`` or ``crash``: an error that the user can mend, or another one; ``kill``:
            -9; ``sleep``: it hangs; ``disk``: it goes on, but no file may grow any more.
    """
    from mtl_nlp.errors import UserError
    from mtl_nlp.training.objective import Objective

    seen = 0

    def on_forward(module: nn.Module, *_: Any) -> None:
        nonlocal seen
        seen += isinstance(module, Objective)
        if seen != 3:
            return
        if fault == "mistake":
            raise UserError("only this process met it; mend it")
        if fault == "crash":
            raise RuntimeError("only this process crashed")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "sleep":
            time.sleep(10 * PATIENCE)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))

    register_module_forward_pre_hook(on_forward)


def train_as_rank(
    recipe: Recipe,
    resume: bool,
    environment: dict[str, int],
    spoilt: range | None = None,
    fault: str | None = None,
    sharded: bool = False,
) -> None:
    """Train as one process of several; the body of a process."""
    from mtl_nlp.program import program
    from mtl_nlp.run import train

    become_rank(environment)
    rank, folder = environment.get("RANK", 0), Path(recipe.output).parent
    if sharded:
        shard_on_cpus()
    else:
        keep_gradients(folder / f"gradients-{rank}.pt")
    if spoilt is not None and rank == environment["WORLD_SIZE"] - 1:
        spoil(spoilt, Path(recipe.output) / "log.jsonl")
    if fault is not None:
        strike(fault)
    told_here = folder / f"rank-{rank}.txt"
    with told_here.open("a", buffering=1) as sys.stderr, program(debug=True):
        train(recipe, resume=resume)
