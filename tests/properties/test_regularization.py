"""Invariants 2, 3 and 4 under regularization: cuts, processes and resumes change nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.recipe_regularization import RegularizationSpec
from mtl_nlp.run import train
from mtl_nlp.training.preparation import Prepared, prepare
from tests.kills import Kill, assert_same_bits, run_until
from tests.properties.test_accumulation import relative_difference, run_steps
from tests.ranks import Ranks, told
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

METHODS: dict[str, dict[str, Any]] = {
    "r_drop": {"method": "r_drop", "weight": 2.0},
    "smart": {"method": "smart", "weight": 2.0, "radius": 0.02},
    "l2": {"method": "smart", "weight": {"ner": 1.0, "topic": 3.0}, "norm": "l2", "radius": 0.5},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("regular"), training__batch_size=32))


def under(prepared: Prepared, name: str, balancing: str = "equal") -> Prepared:
    training = prepared.recipe.training.model_copy(
        update={"regularization": RegularizationSpec(**METHODS[name])}
    )
    changes = {"training": training, "balancing": BalancingSpec(method=balancing)}
    recipe = prepared.recipe.model_copy(update=changes)
    return Prepared(**{**vars(prepared), "recipe": recipe})


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_of_a_step_is_the_same_however_it_is_cut(
    prepared: Prepared, tmp_path: Path, name: str
) -> None:
    prepared = under(prepared, name)
    (whole, of_whole), *cuts = (
        run_steps(prepared, tmp_path / str(cut), cut=cut, steps=1, dtype=torch.float64)
        for cut in (32, 5, 1)
    )
    for records, gradients in cuts:
        assert relative_difference(gradients, of_whole) <= 1e-7
        assert records[0]["losses"] == pytest.approx(whole[0]["losses"], rel=1e-6)
    plain, _ = run_steps(unregularized(prepared), tmp_path / "plain", cut=32, steps=1)
    before, after = plain[0]["losses"], whole[0]["losses"]
    more = {task for task in before if after[task] > before[task] * 1.0001}
    assert more == {"r_drop": set(), "smart": set(before), "l2": {"ner", "topic"}}[name]


def test_what_a_user_should_know_is_told_before_training(tmp_path: Path) -> None:
    notes = prepare(tiny_recipe(tmp_path, training__regularization=METHODS["r_drop"])).notes
    assert any("it doubles the work and changes nothing" in note for note in notes)


def unregularized(prepared: Prepared) -> Prepared:
    training = prepared.recipe.training.model_copy(update={"regularization": None})
    recipe = prepared.recipe.model_copy(update={"training": training})
    return Prepared(**{**vars(prepared), "recipe": recipe})


@pytest.mark.parametrize("balancing", ["equal", "uw", "famo", "pc_grad"])
def test_every_kind_of_balancing_sees_it(
    prepared: Prepared, tmp_path: Path, balancing: str
) -> None:
    prepared = under(prepared, "smart", balancing)
    found = []
    for cut in (32, 5):
        folder = tmp_path / str(cut)
        tiny_loop(prepared, tiny_model(prepared), folder, micro_batch_size=cut, max_steps=3).run()
        found.append(steps_of(folder))
    for one, other in zip(*found, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-3)
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)


@pytest.mark.parametrize(("name", "precision"), [("r_drop", "fp32"), ("smart", "bf16")])
def test_a_resumed_training_ends_with_the_same_bits(
    tmp_path: Path, name: str, precision: str
) -> None:
    recipe = tiny_recipe(
        tmp_path,
        dropout=0.1,
        training__max_steps=4,
        training__micro_batch_size=8,
        training__checkpoint_every=2,
        training__keep_checkpoints=9,
        training__precision=precision,
        training__regularization=METHODS[name],
        evaluation__every=4,
    )
    run = train(recipe).path
    weights, log = load_file(run / "model.safetensors"), steps_of(run)
    assert log[0]["losses"] != log[-1]["losses"]
    (run / "checkpoints" / "step-000004").rename(tmp_path / "gone")
    (run / "metrics.json").unlink()
    train(recipe, resume=True)
    assert steps_of(run) == log
    assert_same_bits(load_file(run / "model.safetensors"), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r_drop", "smart"])
def test_two_processes_train_as_one_does(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=4,
        training__batch_size=15,
        training__micro_batch_size=3,
        training__max_grad_norm=1e9,
        training__regularization=METHODS[name],
    )
    ranks = Ranks(recipe.with_overrides([f"output={tmp_path / 'two'}"]))
    one = train(recipe)
    assert ranks.join() == [0, 0], told(ranks.folder)
    for whole, shared in zip(steps_of(one.path), steps_of(ranks.folder), strict=True):
        assert whole["losses"] == pytest.approx(shared["losses"], rel=1e-3)
        assert whole["grad_norm"] == pytest.approx(shared["grad_norm"], rel=1e-2)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        dropout=0.1,
        training__max_steps=8,
        training__micro_batch_size=8,
        training__checkpoint_every=2,
        training__regularization=METHODS["smart"],
    )
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole)
    assert run_until(recipe, Kill("step", 31)), "the kill came too late"
    run_until(recipe)
    assert steps_of(Path(recipe.output)) == steps_of(Path(whole.output))
    files = (Path(one.output) / "model.safetensors" for one in (recipe, whole))
    assert_same_bits(*map(load_file, files))
