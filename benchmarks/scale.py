"""Processor time of a step and resident memory, as tasks and rows become many.

python benchmarks/scale.py

A tiny encoder learns 2, 10 and 100 tasks, a dataset each, of which a step draws from one; and two
tasks on 10^4, 10^6 and 10^7 rows, memory-mapped and read as a stream. Every case is a process of
its own, and rounds are interleaved. Rows are the same some thousands again and again.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from machine import machine, versions, write_result

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtl_nlp.recipe import Recipe  # noqa: E402
from tests.tiny import WORDS, tiny_encoder  # noqa: E402

TASKS = (2, 10, 100)
ROWS = (10_000, 1_000_000, 10_000_000)
BASE_ROWS = 10_000  # different ones
WARM_UP, STEPS = 100, 1500  # steps; they read two buffers of each stream


def main() -> None:
    settings = parse_arguments()
    if settings.measure:
        print(json.dumps(measure(settings.measure, settings.size, settings.scratch)))
        return
    surroundings = {"machine": machine(), "versions": versions()}
    sizes = {"tasks": TASKS, "rows": settings.rows, "stream": settings.rows}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=settings.scratch) as scratch:
        write_base(Path(scratch))
        rounds = [
            run_process(kind, size, scratch)
            for _ in range(settings.rounds)
            for kind in settings.kinds
            for size in sizes[kind]
        ]
    summary = {kind: summarise(rounds, kind) for kind in settings.kinds}
    for kind, lines in summary.items():
        for line in lines:
            print(f"{kind:>7} {line}")
    about = {"steps": STEPS, "warm_up": WARM_UP, "rounds": settings.rounds, "batch_size": 32}
    result = {"settings": about, "summary": summary, "rounds": rounds, **surroundings}
    print(f"written to {write_result(settings.name, result)}")


def measure(kind: str, size: int, folder: Path) -> dict[str, Any]:
    """One case in this process."""
    from mtl_nlp.program import quiet_libraries
    from mtl_nlp.training.preparation import prepare

    quiet_libraries()
    recipe = recipe_of(kind, size, folder)
    prepared = prepare(recipe)
    train = dict(prepared.train)
    if kind == "rows":
        train = {name: repeated(split, size // len(train)) for name, split in train.items()}
    return {"kind": kind, "size": size, **train_steps(prepared, train)}


def train_steps(prepared: Any, train: Mapping[str, Any]) -> dict[str, float]:
    """Train, and look at the clock and at memory after every step."""
    import torch
    from accelerate import Accelerator
    from rich.console import Console

    from mtl_nlp.inference.predictor import Predictor
    from mtl_nlp.model.modeling import MultiTaskModel
    from mtl_nlp.training.loop import TrainingData, TrainingLoop
    from mtl_nlp.training.progress import TrainingProgress

    seen: list[tuple[float, float, int, int]] = []

    class Watch(TrainingProgress):
        def step(self, *told: Any) -> None:
            super().step(*told)
            seen.append((time.process_time(), time.perf_counter(), *memory()))

    torch.manual_seed(1)
    model = MultiTaskModel.from_encoder(prepared.recipe.encoder, {}, dropout=0.0)
    for task in prepared.tasks.values():
        model.set_head(task)
    with tempfile.TemporaryDirectory() as run:
        TrainingLoop(
            prepared.recipe,
            model,
            prepared.encoder.tokenizer,
            Predictor(model, prepared.encoder),
            TrainingData(train, prepared.datasets_of_tasks(), prepared.labelled("validation")),
            accelerator=Accelerator(cpu=True),
            folder=Path(run),
            progress=Watch(Console(quiet=True)),
        ).run()
    first, last = seen[WARM_UP - 1], seen[-1]
    steps = len(seen) - WARM_UP
    return {
        "processor_ms": round(1000 * (last[0] - first[0]) / steps, 3),
        "wall_ms": round(1000 * (last[1] - first[1]) / steps, 3),
        "own_mb": round(max(one[2] for one in seen) / 1024, 1),
        "mapped_mb": round(max(one[3] for one in seen) / 1024, 1),
    }


def memory() -> tuple[int, int]:
    """Resident KiB of the process: its own, and pages of files, which the system may take back."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    own, mapped = (int(fields[key].split()[0]) for key in ("RssAnon", "RssFile"))
    return own, mapped


def repeated(split: Any, rows: int) -> Any:
    """An encoded split again and again until it has so many rows, in a memory-mapped file."""
    from datasets import Dataset

    from mtl_nlp.data.prepare import EncodedSplit

    table = split.take(range(len(split)))
    path = Path(os.environ["HF_HOME"]) / f"{abs(hash(split))}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        batches = table.to_batches(max_chunksize=1000)  # as `datasets` writes them
        for number in range(rows // 1000):
            writer.write_batch(batches[number % len(batches)])
    return EncodedSplit(Dataset.from_file(str(path)), split.views)


def recipe_of(kind: str, size: int, folder: Path) -> Recipe:
    """Two tasks on two datasets, or so many."""
    number = size if kind == "tasks" else 2
    train, streaming = [str(folder / "train.jsonl")], kind == "stream"
    if streaming:  # the same file again and again
        train *= max(1, size // number // BASE_ROWS)
    dataset: dict[str, Any] = {
        "path": "json",
        "data_files": {"train": train, "validation": str(folder / "validation.jsonl")},
        "text": "text",
        "streaming": streaming,
        **({"max_rows": {"train": size // number}} if streaming else {}),
    }
    return Recipe(
        encoder=str(folder / "encoder"),
        max_length=32,
        dropout=0.0,
        datasets={f"d{i}": dataset for i in range(number)},
        tasks={
            f"t{i}": {"type": "text_classification", "dataset": f"d{i}", "label": "label"}
            for i in range(number)
        },
        sampling={"mix": "step"},
        training={"max_steps": STEPS, "batch_size": 32, "precision": "fp32"},
        evaluation={"every": 10**6},
    )


def write_base(folder: Path) -> None:
    tiny_encoder(folder / "encoder")
    source = random.Random(1)
    words = [word for word in WORDS if word.isalpha()]
    for split, rows in (("train", BASE_ROWS), ("validation", 50)):
        lines = [
            json.dumps(
                {
                    "text": " ".join(source.choices(words, k=source.randint(3, 12))),
                    "label": source.choice(["up", "down"]),
                }
            )
            for _ in range(rows)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_process(kind: str, size: int, scratch: str) -> dict[str, Any]:
    words = ["--measure", kind, "--size", str(size), "--scratch", scratch]
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        finished = subprocess.run(
            [sys.executable, __file__, *words],
            env={**os.environ, "HF_HOME": home, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode:
        raise SystemExit(f"error: {kind} {size} failed:\n{finished.stderr[-4000:]}")
    outcome: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    print(outcome, file=sys.stderr, flush=True)
    return outcome


def summarise(rounds: Sequence[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Medians over the rounds, and how many times those of the smallest case."""
    lines = []
    for size in dict.fromkeys(line["size"] for line in rounds if line["kind"] == kind):
        own = [line for line in rounds if (line["kind"], line["size"]) == (kind, size)]
        medians = {
            key: round(statistics.median(line[key] for line in own), 3)
            for key in ("processor_ms", "wall_ms", "own_mb", "mapped_mb")
        }
        base = lines[0] if lines else {"size": size, **medians}
        times = {f"times_{key}": round(medians[key] / base[key], 3) for key in medians}
        lines.append({"size": size, **medians, **times})
    return lines


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ("tasks", "rows", "stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS), help="rows in all")
    parser.add_argument("--scratch", type=Path, help="a folder with some GB of room")
    parser.add_argument("--name", default="scale", help="of the file under results/")
    parser.add_argument("--measure", choices=kinds, help="only this, in this process, as JSON")
    parser.add_argument("--size", type=int, help="with --measure: tasks or rows")
    return parser.parse_args()


if __name__ == "__main__":
    main()
