"""Invariants 2 and 3 in bfloat16: a step is the same, to its rounding, however it is cut or shared.

A number of bfloat16 has 8 bits, so rounding moves it by up to 2^-9 of itself. A gradient of weights
is rounded once in each piece and summed in float32. Two ways to cut a step differ by their
roundings, which are those that part each of them from float32: so neither may be further from the
other than twice what parts it from there.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtl_nlp.recipe import Recipe
from mtl_nlp.run import train
from tests.ranks import Ranks, keep_gradients, told
from tests.runs import steps_of, tiny_recipe

pytestmark = pytest.mark.slow

ROUNDING = 2.0**-8


def recipe_of(folder: Path, name: str, **training: Any) -> Recipe:
    return tiny_recipe(
        folder,
        training__max_steps=1,
        training__batch_size=32,
        training__max_grad_norm=1e9,
        balancing__method=name,
        **{f"training__{key}": value for key, value in training.items()},
    )


def gradient_of(recipe: Recipe, folder: Path) -> tuple[Tensor, dict[str, float]]:
    """The first step's gradient, all in one row, and its losses."""
    keep_gradients(folder / "gradients.pt")
    run = train(recipe.with_overrides([f"output={folder / 'run'}"]))
    return flat(folder / "gradients.pt"), steps_of(run.path)[0]["losses"]


def flat(path: Path) -> Tensor:
    return torch.cat([one.flatten() for one in torch.load(path) if one is not None])


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", ["equal", "uw", "pc_grad"])
def test_a_step_is_the_same_to_rounding_however_it_is_cut_or_shared(
    name: str, tmp_path: Path
) -> None:
    ranks = Ranks(recipe_of(tmp_path, name, precision="bf16", micro_batch_size=8))
    found = {}
    for cut, precision in ((32, "fp32"), (32, "bf16"), (16, "bf16"), (8, "bf16")):
        folder = tmp_path / f"{precision} {cut}"
        folder.mkdir()
        recipe = recipe_of(tmp_path, name, precision=precision, micro_batch_size=cut)
        found[precision, cut] = gradient_of(recipe, folder)
    exact, whole = found["fp32", 32], found["bf16", 32]
    rounding = apart(whole[0], exact[0])
    assert ROUNDING / 16 < rounding < 16 * ROUNDING, "it was not computed in bfloat16"
    assert ranks.join() == [0, 0], told(ranks.folder)
    shared = flat(tmp_path / "gradients-0.pt"), steps_of(ranks.folder)[0]["losses"]
    for gradient, losses in (found["bf16", 16], found["bf16", 8], shared):
        assert apart(gradient, whole[0]) <= 2 * rounding
        assert losses == pytest.approx(whole[1], rel=ROUNDING)
