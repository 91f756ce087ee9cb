"""Where the time of a training step goes: planning, collating, forward, backward and the rest.

python benchmarks/step_time.py --data FOLDER --rows 1500

Trains SST-2 and WNUT17 together, a clock around each part; then once more under torch's profiler,
which tells how much of it lies in torch's own operators and how much in Python around them.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import contestants
import stock
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from contestants import SKIPPED_STEPS, Precision, TaskRows
from machine import machine, versions, write_result
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile
from training import SEED, draw_rows

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.prepare import EncodedSplit
from mtl_nlp.training.log import RunLog
from mtl_nlp.training.objective import Objective
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.step import OptimizerStep

PARTS: dict[str, tuple[type, str]] = {
    "planning": (Mixture, "plan"),
    "taking rows": (EncodedSplit, "take"),
    "collating": (Collator, "batch"),
    "forward": (Objective, "forward"),
    "backward": (Accelerator, "backward"),
    "clipping": (OptimizerStep, "_clip"),
    "optimizer": (AcceleratedOptimizer, "step"),
    "display": (TrainingProgress, "step"),
    "log": (RunLog, "write"),
}
WHOLE = (OptimizerStep, "take")  # forward, backward, clipping and optimizer are in it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ …")
    parser.add_argument("--rows", type=int, default=1500, help="training rows in all")
    arguments = parser.parse_args()
    surroundings = {"machine": machine(), "versions": versions()}
    rows, results = draw_rows(arguments), {}
    for precision in ("fp32", "bf16"):
        results[precision] = {
            "milliseconds_per_step": clocked(rows, precision),
            "share_in_torch_operators": operators(rows, precision),
        }
        print(precision, results[precision], flush=True)
    settings = {"rows": arguments.rows, "batch_size": stock.BATCH_SIZE, "dropout": 0.1}
    result = {"settings": settings, "steps": results, **surroundings}
    print(f"written to {write_result('step_time', result)}")


def clocked(rows: TaskRows, precision: Precision) -> dict[str, float]:
    """Milliseconds of a step in each of its parts, the first steps left out."""
    spent: dict[str, float] = defaultdict(float)
    with clocks(spent):
        measured = contestants.ours(rows, SEED, precision)
    steps = spent.pop("steps")
    logged = measured.seconds + spent["display"] + spent["log"]
    inside = sum(spent[part] for part in ("forward", "backward", "clipping", "optimizer"))
    spent["rest of the optimizer step"] = spent.pop("whole") - inside
    spent["rest"] = logged - sum(spent.values())
    return {part: round(1000 * seconds / steps, 3) for part, seconds in spent.items()}


@contextmanager
def clocks(spent: dict[str, float]) -> Iterator[None]:
    """Put a clock around each part, which adds to the seconds spent there."""
    parts = {**PARTS, "whole": WHOLE}
    plain = {part: getattr(*place) for part, place in parts.items()}
    seen = 0

    def around(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += part == "planning"
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                if seen > SKIPPED_STEPS:
                    spent[part] += time.perf_counter() - began

        return timed

    for part, (owner, name) in parts.items():
        setattr(owner, name, around(part, plain[part]))
    try:
        yield
    finally:
        for part, (owner, name) in parts.items():
            setattr(owner, name, plain[part])
    spent["steps"] = seen - SKIPPED_STEPS


def operators(rows: TaskRows, precision: Precision) -> float:
    """The share of the optimizer steps' seconds that torch's own operators take."""
    seconds, plain = 0.0, OptimizerStep.take
    events: list[EventList] = []

    def take(*args: Any) -> Any:
        nonlocal seconds
        if len(events) >= 5:
            return plain(*args)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            began = time.perf_counter()
            done = plain(*args)
            seconds += time.perf_counter() - began
        events.append(profiler.key_averages())
        return done

    OptimizerStep.take = take  # type: ignore[method-assign]
    try:
        contestants.ours(rows, SEED, precision)
    finally:
        OptimizerStep.take = plain  # type: ignore[method-assign]
    own = sum(e.self_cpu_time_total for one in events for e in one if e.key.startswith("aten::"))
    return round(own / 1e6 / seconds, 3)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
