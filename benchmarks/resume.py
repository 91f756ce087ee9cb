"""Whether a training that is killed with -9 again and again ends with the bits of one that is not.

python benchmarks/resume.py --kills 50

A tiny model is trained by one process and by two. Each is killed at random moments: in a forward
of a step or of an evaluation, at a file of a checkpoint or another one of the run folder, or at any
time, and goes on with --resume. Whenever a run gets to its end, its weights, optimizer state, log
and metrics are compared bit by bit with those of the undisturbed run, and another one begins. The
last kills are of a worker of torchrun or of torchrun with all its workers. It ends with an error
where anything differs.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from machine import machine, versions, write_result

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtl_nlp.recipe import Recipe  # noqa: E402
from tests.kills import assert_same_run, killed_recipe, random_kill, run_until  # noqa: E402

PATIENCE = 300.0  # seconds in which a training under torchrun ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of one process, and of two")
    parser.add_argument("--torchrun-kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=13)
    settings = parser.parse_args()
    surroundings = {"machine": machine(), "versions": versions()}
    runs = {}
    with tempfile.TemporaryDirectory(prefix="resume-") as scratch:
        os.environ.update(HF_HOME=f"{scratch}/home", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
        for world_size in (1, 2):
            folder = Path(scratch) / str(world_size)
            folder.mkdir()
            recipe = killed_recipe(folder)
            whole = recipe.with_overrides([f"output={folder / 'whole'}"])
            run_until(whole, world_size=world_size)
            source = random.Random(f"{settings.seed} {world_size}")
            name = f"{world_size} process{'es' if world_size > 1 else ''}"
            runs[name] = kill_and_compare(recipe, folder, source, world_size, settings.kills)
            print(f"{name}: {runs[name]}", flush=True)
        runs["torchrun"] = under_torchrun(recipe, folder, source, settings.torchrun_kills)
        print(f"torchrun: {runs['torchrun']}")
    result = {"settings": vars(settings), "runs": runs, **surroundings}
    print(f"written to {write_result('resume', result)}")


def kill_and_compare(
    recipe: Recipe, folder: Path, source: random.Random, world_size: int, kills: int
) -> dict[str, Any]:
    """Kill runs so many times, and compare every one that gets to its end."""
    moments: Counter[str] = Counter()
    compared, began = 0, time.monotonic()
    while True:
        kill = random_kill(source, world_size) if moments.total() < kills else None
        if run_until(recipe, kill, world_size):
            assert kill is not None
            moments[kill.moment] += 1
            print(f"  kill {moments.total()}: {kill}", file=sys.stderr, flush=True)
            continue
        assert_same_run(folder / "run", folder / "whole")
        compared += 1
        shutil.rmtree(folder / "run")
        if kill is None:
            return told(moments, compared, began)


def under_torchrun(
    recipe: Recipe, folder: Path, source: random.Random, kills: int
) -> dict[str, Any]:
    """Kill workers of torchrun, or it with all its workers, by turns; then run to the end."""
    recipe.to_yaml(folder / "recipe.yaml")
    moments: Counter[str] = Counter()
    compared, began = 0, time.monotonic()
    while True:
        wanted = ("worker", "all")[moments.total() % 2] if moments.total() < kills else None
        if torchrun_until(folder, wanted, source):
            moments[str(wanted)] += 1
            continue
        assert_same_run(folder / "run", folder / "whole")
        compared += 1
        shutil.rmtree(folder / "run")
        if wanted is None:
            return told(moments, compared, began)


def torchrun_until(folder: Path, wanted: str | None, source: random.Random) -> bool:
    """Begin or go on with the run of two workers; whether it was killed rather than finished."""
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mtl_nlp"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with (folder / "torchrun.txt").open("w") as said:
        torchrun = subprocess.Popen(
            [sys.executable, "-m", *launch, "train", str(folder / "recipe.yaml"), "--resume"],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=said,
            stderr=said,
        )
        try:
            killed = bool(wanted) and kill_in_time(torchrun, folder, str(wanted), source)
            status = torchrun.wait(PATIENCE)
        finally:
            kill_all(torchrun)
    if status and not killed:
        raise SystemExit(f"error: torchrun failed:\n{(folder / 'torchrun.txt').read_text()}")
    return status != 0


def kill_in_time(
    torchrun: subprocess.Popen[bytes], folder: Path, wanted: str, source: random.Random
) -> bool:
    """Kill some time after the training has done its first steps; whether there was time to."""
    log = folder / "run" / "log.jsonl"
    before = log.read_bytes() if log.exists() else b""
    while torchrun.poll() is None and (not log.exists() or log.read_bytes() == before):
        time.sleep(0.02)
    time.sleep(source.uniform(0, 2))
    if torchrun.poll() is not None:
        return False
    if wanted == "all":
        kill_all(torchrun)
        return True
    children = children_of(torchrun)
    if children:
        os.kill(source.choice(children), signal.SIGKILL)
    return bool(children)


def kill_all(torchrun: subprocess.Popen[bytes]) -> None:
    """Kill it and its workers, which have sessions of their own."""
    if torchrun.poll() is None:
        workers = children_of(torchrun)
        torchrun.kill()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def told(moments: Counter[str], compared: int, began: float) -> dict[str, Any]:
    return {
        "kills": moments.total(),
        "moments": dict(sorted(moments.items())),
        "runs_compared": compared,
        "bit_identical": True,  # else it would have failed
        "seconds": round(time.monotonic() - began),
    }


if __name__ == "__main__":
    main()
