"""Invariants 2, 3 and 4 under what is frozen, unfrozen, averaged and given a rate of its own."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtl_nlp.model.loading import load_model
from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.run import train
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.preparation import Prepared, prepare
from tests.kills import Kill, assert_same_bits, assert_same_run, run_until
from tests.ranks import Ranks, told
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

ALL: dict[str, Any] = {
    "learning_rates": {"heads": 2e-3, "heads.ner": 5e-3},
    "layer_decay": 0.7,
    "frozen": ["heads.topic", "*.LayerNorm"],
    "unfreeze": 2,
    "ema": 0.8,
}
STEPS: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "micro_batch_size": 16}


@pytest.fixture(scope="module")
def prepared_by_mix(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    known: dict[str, Prepared] = {}
    folder = tmp_path_factory.mktemp("transfer")

    def get(mix: str) -> Prepared:
        if mix not in known:
            recipe = tiny_recipe(folder, sampling__mix=mix, training__batch_size=32)
            known[mix] = prepare(recipe)
        return known[mix]

    return get


def under(prepared: Prepared, method: str) -> Prepared:
    balancing = BalancingSpec(method=method)
    recipe = prepared.recipe.model_copy(update={"balancing": balancing})
    return Prepared(**{**vars(prepared), "recipe": recipe})


def weights(folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


@pytest.mark.parametrize("method", ["equal", "uw", "pc_grad"])
@pytest.mark.parametrize("mix", ["batch", "step"])
def test_a_step_is_the_same_however_it_is_cut(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path, mix: str, method: str
) -> None:
    prepared = under(prepared_by_mix(mix), method)
    found, ends = [], []
    for cut in (32, 5):
        folder = tmp_path / str(cut)
        training = {**ALL, "micro_batch_size": cut, "max_steps": 7, "max_grad_norm": 1e9}
        tiny_loop(prepared, tiny_model(prepared), folder, **training).run()
        found.append(steps_of(folder))
        ends.append(weights(folder, 7))
    assert found[0][0]["losses"] != found[0][-1]["losses"], "nothing was learned"
    for one, other in zip(*found, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
        assert one["learning_rate"] == other["learning_rate"]
    for name, weight in ends[0].items():
        torch.testing.assert_close(weight, ends[1][name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["equal", "grad_vac"])
def test_a_resumed_training_ends_with_the_same_bits(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path, method: str
) -> None:
    prepared = under(prepared_by_mix("batch"), method)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    tiny_loop(prepared, tiny_model(prepared), straight, **ALL, **STEPS, max_steps=8).run()
    tiny_loop(prepared, tiny_model(prepared), broken, **ALL, **STEPS, max_steps=3).run()
    for end in (5, 8):
        start = checkpoints(broken / "checkpoints")[-1]
        model = load_model(start.path)
        tiny_loop(prepared, model, broken, resume=start, **ALL, **STEPS, max_steps=end).run()
    assert steps_of(broken) == steps_of(straight)
    assert_same_bits(weights(broken, 8), weights(straight, 8))
    ends = [torch.load(f / "checkpoints/step-000008/optimizer.pt") for f in (broken, straight)]
    assert_same_bits(*ends)


def test_what_is_frozen_stays_and_what_is_not_yet_unfrozen_too(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path
) -> None:
    prepared = prepared_by_mix("step")
    training = {**ALL, **STEPS, "ema": None, "weight_decay": 0.5, "checkpoint_every": 1}
    loop = tiny_loop(
        prepared, tiny_model(prepared), tmp_path, **training, max_steps=8, keep_checkpoints=9
    )
    loop.run()
    start = {name: p.detach() for name, p in tiny_model(prepared).named_parameters()}
    found = [start, *(weights(tmp_path, step) for step in range(1, 9))]
    used = [set(record["losses"]) for record in steps_of(tmp_path)]
    joins = {"encoder.encoder.layer.1": 2, "encoder.encoder.layer.0": 4, "encoder.embeddings": 6}
    for step, (before, after) in enumerate(pairwise(found)):
        moved = {name for name in start if not torch.equal(before[name], after[name])}
        assert not any("LayerNorm" in name or "heads.topic" in name for name in moved)
        heads = {name.split(".")[1] for name in moved if name.startswith("heads.")}
        assert heads == used[step] - {"topic"}
        for part, first in joins.items():
            assert any(name.startswith(part) for name in moved) == (step >= first), (part, step)
        assert not any(name.startswith("encoder.pooler") for name in moved)


def test_a_step_that_only_frozen_parts_serve_changes_nothing(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path
) -> None:
    prepared = prepared_by_mix("step")
    frozen = ["encoder", "heads.ner", "heads.topic"]
    tiny_loop(
        prepared,
        tiny_model(prepared),
        tmp_path,
        frozen=frozen,
        weight_decay=0.5,
        checkpoint_every=1,
        keep_checkpoints=9,
        max_steps=6,
    ).run()
    for step, record in enumerate(steps_of(tmp_path)[1:], start=1):
        before, after = weights(tmp_path, step), weights(tmp_path, step + 1)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name.split(".")[1] for name in moved} == {"intent"} & record["losses"].keys()
        assert (record["grad_norm"] > 0) == bool(moved)


def test_no_gradient_flows_below_the_lowest_part_that_learns(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path
) -> None:
    prepared = prepared_by_mix("batch")
    model = tiny_model(prepared)
    frozen = ["encoder.embeddings", "encoder.encoder.layer.0"]
    loop = tiny_loop(prepared, model, tmp_path, frozen=frozen, max_steps=1)
    reached = []
    for name, module in model.encoder.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: (
                reached.append(name)
                if isinstance(output, Tensor) and output.requires_grad
                else None
            )
        )
    loop.run()
    assert any(name.startswith("encoder.layer.1.") for name in reached)
    assert not any(name.startswith(("encoder.layer.0", "embeddings")) for name in reached)


def test_the_average_is_judged_selected_and_kept(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path
) -> None:
    prepared = prepared_by_mix("batch")
    training = {**STEPS, "checkpoint_every": 1, "keep_checkpoints": 9, "learning_rate": 1e-2}
    for name, ema in (("raw", None), ("ema", 0.9)):
        model = tiny_model(prepared)
        tiny_loop(prepared, model, tmp_path / name, **training, ema=ema, max_steps=6).run()
    assert steps_of(tmp_path / "raw") == steps_of(tmp_path / "ema"), "it changed the training"
    expected = {name: p.detach() for name, p in tiny_model(prepared).named_parameters()}
    for step in range(1, 7):
        raw, d = weights(tmp_path / "raw", step), min(0.9, (1 + step) / (10 + step))
        expected = {name: d * expected[name] + (1 - d) * raw[name] for name in expected}
        kept = weights(tmp_path / "ema", step)
        for name, weight in expected.items():
            torch.testing.assert_close(kept[name], weight, rtol=1e-5, atol=1e-6)
    content = torch.load(tmp_path / "ema" / "checkpoints/step-000006/optimizer.pt")
    for name, weight in content["average"]["weights"].items():
        assert torch.equal(weight, raw[name])
    assert "average" not in torch.load(tmp_path / "raw" / "checkpoints/step-000006/optimizer.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "training"),
    [
        ("equal", ALL),
        ("pc_grad", ALL),
        ("equal", {"frozen": ["encoder", "heads.ner", "heads.topic"], "weight_decay": 0.5}),
    ],
    ids=["all", "all under an aggregator", "steps that only frozen parts serve"],
)
def test_two_processes_train_as_one_does(
    tmp_path: Path, method: str, training: dict[str, Any]
) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=8,
        training__batch_size=15,
        training__micro_batch_size=3,
        training__max_grad_norm=1e9,
        evaluation__every=4,
        sampling__mix="step",
        balancing={"method": method},
        **{f"training__{key}": value for key, value in training.items()},
    )
    ranks = Ranks(recipe.with_overrides([f"output={tmp_path / 'two'}"]))
    one = train(recipe)
    assert ranks.join() == [0, 0], told(ranks.folder)
    for whole, shared in zip(steps_of(one.path), steps_of(ranks.folder), strict=True):
        assert whole["losses"] == pytest.approx(shared["losses"], rel=1e-4)
        assert whole["grad_norm"] == pytest.approx(shared["grad_norm"], rel=1e-3)
    ends = [load_file(path / "model.safetensors") for path in (one.path, ranks.folder)]
    for name, weight in ends[0].items():
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        dropout=0.1,
        training__max_steps=12,
        training__micro_batch_size=8,
        training__precision="bf16",
        evaluation__every=2,
        **{f"training__{key}": value for key, value in ALL.items()},
    )
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole)
    for kill in (Kill("step", 17), Kill("checkpoint", 9), Kill("evaluation", 3)):
        assert run_until(recipe, kill), f"{kill} came too late"
    run_until(recipe)
    assert_same_run(Path(recipe.output), Path(whole.output))


@pytest.mark.slow
def test_a_run_that_started_warm_goes_on_without_the_model_it_started_from(tmp_path: Path) -> None:
    first = train(tiny_recipe(tmp_path, output=str(tmp_path / "first"), training__max_steps=3)).path
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=8,
        evaluation__every=2,
        warm_start={"model": str(first), "heads": True},
    )
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole)
    assert "the heads of intent, ner, topic are those of" in told(Path(whole.output))
    assert run_until(recipe, Kill("step", 6)), "the kill came too late"
    shutil.rmtree(first)
    run_until(recipe)
    assert_same_run(Path(recipe.output), Path(whole.output))
