"""Invariants 2 and 4 under every balancing method: cuts change nothing, and a resume neither."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.loading import load_model
from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.run import train
from mtl_nlp.training.balancing_methods import find_method, method_names
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import Prepared, prepare
from tests.kills import Kill, run_until
from tests.ranks import Ranks, told
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

TASKS = ("intent", "ner", "topic")
ONES: dict[str, float] = {"intent": 1.0, "ner": 2.0, "topic": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "ca_grad": {"c": 0.5},
    "constant": {"weights": ONES},
    "cosmos": {"lambda_": 1.0, "weights": ONES},
    "fair_grad": {"alpha": 1.0},
    "krum": {"n_byzantine": 0, "n_selected": 2},
    "pbi": {"theta": 5.0, "weights": ONES},
    "stch": {"mu": 0.5, "weights": ONES},
    "trimmed_mean": {"trim_number": 1},
    "up_grad": {"pref_vector": ONES},
}
METHODS = ["equal", *method_names()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    recipe = tiny_recipe(tmp_path_factory.mktemp("balancing"), training__batch_size=32, dropout=0.0)
    return prepare(recipe)


def balanced(prepared: Prepared, name: str, **changes: Any) -> Prepared:
    """The same under a method; skipped where what it needs is not installed."""
    spec = BalancingSpec(method=name, options=OPTIONS.get(name, {}))
    if name != "equal":
        try:
            find_method(spec, TASKS)
        except RecipeError as error:
            if "to be installed" not in str(error):
                raise
            pytest.skip(str(error))
    recipe = prepared.recipe.model_copy(update={"balancing": spec, **changes})
    return Prepared(**{**vars(prepared), "recipe": recipe})


def resumed(prepared: Prepared, folder: Path, **training: Any) -> TrainingLoop:
    """A loop that goes on from the newest checkpoint, the model read from it."""
    start = checkpoints(folder / "checkpoints")[-1]
    return tiny_loop(prepared, load_model(start.path), folder, resume=start, **training)


def assert_same_bits(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same_bits(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_the_same_however_it_is_cut(
    prepared: Prepared, tmp_path: Path, name: str
) -> None:
    prepared = balanced(prepared, name)
    found = []
    for cut in (32, 5):
        folder = tmp_path / str(cut)
        tiny_loop(prepared, tiny_model(prepared), folder, micro_batch_size=cut, max_steps=4).run()
        found.append(steps_of(folder))
    assert found[0][0]["losses"] != found[0][-1]["losses"], "nothing was learned"
    for one, other in zip(*found, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_training_ends_with_the_same_bits(
    prepared: Prepared, tmp_path: Path, name: str
) -> None:
    # A pass is 4 steps of 32 of 100 rows; the last steps are in the third, when DWA has its ratios.
    prepared = balanced(prepared, name)
    training = {
        "max_steps": 9,
        "checkpoint_every": 3,
        "keep_checkpoints": 9,
        "schedule": "constant",
        "warmup": 0.0,
        "micro_batch_size": 16,
    }
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    tiny_loop(prepared, tiny_model(prepared), straight, **training).run()
    tiny_loop(prepared, tiny_model(prepared), broken, **{**training, "max_steps": 3}).run()
    resumed(prepared, broken, **{**training, "max_steps": 6}).run()
    resumed(prepared, broken, **training).run()
    assert steps_of(broken) == steps_of(straight)
    for file in ("model.safetensors", "optimizer.pt"):
        read = load_file if file.endswith("safetensors") else torch.load
        ends = [folder / "checkpoints" / "step-000009" / file for folder in (straight, broken)]
        assert_same_bits(*(read(end) for end in ends))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["famo", "uw", "pc_grad", "excess_mtl"])
def test_two_processes_balance_as_one_does(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=6,
        training__batch_size=15,
        training__micro_batch_size=3,
        training__max_grad_norm=1e9,
        balancing={"method": name, "options": OPTIONS.get(name, {})},
    )
    ranks = Ranks(recipe.with_overrides([f"output={tmp_path / 'two'}"]))
    one = train(recipe)
    assert ranks.join() == [0, 0], told(ranks.folder)
    for whole, shared in zip(steps_of(one.path), steps_of(ranks.folder), strict=True):
        assert whole["losses"] == pytest.approx(shared["losses"], rel=1e-4)
        assert whole["loss"] == pytest.approx(shared["loss"], rel=1e-4)
        assert whole["grad_norm"] == pytest.approx(shared["grad_norm"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["famo", "uw", "grad_vac"])
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(
        tmp_path,
        dropout=0.1,
        training__max_steps=12,
        training__micro_batch_size=8,
        training__checkpoint_every=2,
        balancing={"method": name},
    )
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole)
    for kill in (Kill("step", 17), Kill("checkpoint", 9)):
        assert run_until(recipe, kill), f"{kill} came too late"
    run_until(recipe)
    assert steps_of(Path(recipe.output)) == steps_of(Path(whole.output))
    assert_same_bits(
        *(load_file(Path(one.output) / "model.safetensors") for one in (recipe, whole))
    )
