"""Invariant 4: killed at any moment and resumed, a run ends with the same bits."""

import random
from pathlib import Path

import pytest

from tests.kills import STEPS, Kill, assert_same_run, killed_recipe, run_until
from tests.runs import log_of

pytestmark = pytest.mark.slow

RANDOM = random.Random(1)
KILLS = [
    Kill("file", 2),  # the first recipe, which is written but has not got its name
    Kill("step", RANDOM.randint(2, 20)),
    Kill("file", RANDOM.randint(1, 5)),  # recipe and log, as a resumption begins
    Kill("checkpoint", RANDOM.randint(1, 12)),
    Kill("evaluation", RANDOM.randint(1, 8)),
    Kill("step", RANDOM.randint(12, 20)),
    Kill("checkpoint", RANDOM.randint(1, 12)),
    Kill("file", RANDOM.randint(7, 20)),  # model, plots and metrics, as the run is finished
]


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    recipe = killed_recipe(tmp_path)
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole)
    for kill in KILLS:
        assert run_until(recipe, kill), f"{kill} came too late"
    run_until(recipe)
    evaluations = [record for record in log_of(tmp_path / "whole") if "evaluation" in record]
    assert evaluations[-1]["step"] < STEPS, "the early stop is not part of the test"
    assert len({str(record["evaluation"]) for record in evaluations}) > 1
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_so_does_one_of_two_processes(tmp_path: Path) -> None:
    recipe = killed_recipe(tmp_path)
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole, world_size=2)
    for kill in (Kill("file", 2), Kill("step", 17, rank=1), Kill("checkpoint", 9)):
        assert run_until(recipe, kill, world_size=2), f"{kill} came too late"
    run_until(recipe, world_size=2)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
