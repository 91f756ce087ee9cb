"""Invariants 4 and 7 where shares follow scores: resumed runs and all processes plan alike."""

from pathlib import Path

import pytest

from mtl_nlp.recipe import Recipe
from tests.kills import Kill, assert_same_run, killed_recipe, run_until
from tests.runs import log_of

pytestmark = pytest.mark.slow


def following(folder: Path, mix: str) -> Recipe:
    content = killed_recipe(folder).model_dump(exclude_unset=True)
    targets = {"intent": 0.9, "topic": 0.7}
    sampling = {"strategy": "dynamic", "targets": targets, "mix": mix}
    return Recipe(**{**content, "sampling": sampling}).with_overrides(["training.max_steps=30"])


@pytest.mark.parametrize(("mix", "world_size"), [("batch", 1), ("step", 2)])
def test_a_run_that_was_killed_draws_and_ends_as_one_that_was_not(
    mix: str, world_size: int, tmp_path: Path
) -> None:
    recipe = following(tmp_path, mix)
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole, world_size=world_size)
    assert run_until(recipe, Kill("step", 23), world_size), "the kill came too late"
    run_until(recipe, world_size=world_size)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    records = log_of(tmp_path / "whole")
    planned = {record["shares"]["chat"]["planned"] for record in records if "shares" in record}
    assert len(planned) > 2  # shares moved
    assert {sum(record["rows"].values()) for record in records if "rows" in record} == {16}
