"""Invariant 4: killed at any moment and resumed, a run ends with the same bits."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtl_nlp.recipe import Recipe
from mtl_nlp.training.checkpoints import checkpoints
from tests.ranks import join, start, told, train_until
from tests.runs import log_of, tiny_recipe

pytestmark = pytest.mark.slow

RANDOM = random.Random(1)
KILLS = [
    ("step", RANDOM.randint(2, 20)),
    ("file", RANDOM.randint(1, 5)),  # recipe and log, as a resumption begins
    ("checkpoint", RANDOM.randint(1, 12)),
    ("evaluation", RANDOM.randint(1, 8)),
    ("step", RANDOM.randint(12, 20)),
    ("checkpoint", RANDOM.randint(1, 12)),
    ("file", RANDOM.randint(7, 20)),  # model, plots and metrics, as the run is finished
]


def run_in_process(recipe: Recipe, moment: str = "file", number: int = 0) -> int | None:
    return join([start(train_until, recipe, moment, number)], Path(recipe.output))[0]


def assert_same_bits(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        dropout=0.1,
        training__max_steps=60,
        training__learning_rate=1e-2,
        training__micro_batch_size=8,
        training__schedule="cosine",
        training__warmup=0.05,
        training__keep_checkpoints=1,
        training__early_stopping=3,
        evaluation__every=4,
        evaluation__select="ner.f1",
    )
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    assert run_in_process(whole) == 0, told(tmp_path / "whole")
    for moment, number in KILLS:
        assert run_in_process(recipe, moment, number) == -signal.SIGKILL, f"{moment} {number}"
    assert run_in_process(recipe) == 0, told(tmp_path / "run")
    one, other = Path(recipe.output), Path(whole.output)
    evaluations = [record for record in log_of(other) if "evaluation" in record]
    assert evaluations[-1]["step"] < 60, "the early stop is not part of the test"
    assert len({str(record["evaluation"]) for record in evaluations}) > 1
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
