"""This package against the bare loop, a step of each in turn in one process.

python benchmarks/turns.py --data FOLDER --rows 3000

Whole trainings that run one after the other drift apart with the machine, by a tenth and more; two
steps that follow each other do not.
"""

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contestants
import stock
from contestants import SKIPPED_STEPS, Precision, TaskRows
from machine import machine, versions, write_result
from training import SEED, draw_rows

import mtl_nlp.run
from mtl_nlp.training.progress import TrainingProgress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ …")
    parser.add_argument("--rows", type=int, default=3000, help="training rows in all")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    surroundings = {"machine": machine(), "versions": versions()}
    rows, rounds = draw_rows(arguments), []
    for number in range(arguments.rounds):
        for precision in ("fp32", "bf16"):
            rounds.append({"round": number, **take_turns(rows, SEED + number, precision)})
            print(rounds[-1], flush=True)
    ratios = {
        precision: statistics.median(r["ratio"] for r in rounds if r["precision"] == precision)
        for precision in ("fp32", "bf16")
    }
    settings = {"rows": arguments.rows, "batch_size": stock.BATCH_SIZE, "dropout": 0.1}
    result = {"settings": settings, "ours_to_bare": ratios, "rounds": rounds, **surroundings}
    print(f"ours / bare loop: {ratios}; written to {write_result('turns', result)}")


def take_turns(rows: TaskRows, seed: int, precision: Precision) -> dict[str, Any]:
    """Real tokens per second of both over one pass, and their ratio."""
    bare, seconds, tokens = contestants.bare_steps(rows, seed, precision), [], []

    class TakingTurns(TrainingProgress):
        def step(
            self, losses: Mapping[str, float], num_tokens: int, counts: Mapping[str, int]
        ) -> None:
            super().step(losses, num_tokens, counts)
            began = time.perf_counter()
            if (mask := next(bare, None)) is not None:
                seconds.append(time.perf_counter() - began)
                tokens.append(int(mask.sum()))

    plain, mtl_nlp.run.TrainingProgress = mtl_nlp.run.TrainingProgress, TakingTurns
    load = os.getloadavg()[0]
    try:
        ours = contestants.ours(rows, seed, precision)
    finally:
        mtl_nlp.run.TrainingProgress = plain
    speed = ours.tokens / ours.seconds
    other = sum(tokens[SKIPPED_STEPS:]) / sum(seconds[SKIPPED_STEPS:])
    return {
        "precision": precision,
        "ours": round(speed, 1),
        "bare": round(other, 1),
        "ratio": round(speed / other, 3),
        "load_at_start": round(load, 2),
    }


if __name__ == "__main__":
    main()
