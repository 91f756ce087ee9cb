"""Invariant 3: a step is the same step, to rounding, however many processes share it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtl_nlp.recipe import Recipe
from mtl_nlp.run import train
from mtl_nlp.training.checkpoints import checkpoints
from tests.kills import Kill, run_until
from tests.ranks import PATIENCE, Ranks, keep_gradients, told, wait_for_steps
from tests.runs import log_of, steps_of, tiny_recipe

pytestmark = pytest.mark.slow


def at(recipe: Recipe, output: Path) -> Recipe:
    return recipe.with_overrides([f"output={output}"])


def assert_alike(log: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(log) == len(other)
    for one, two in zip(log, other, strict=True):
        if "evaluation" in one:
            assert one == two
            continue
        for key in ("step", "rows", "tokens", "learning_rate"):
            assert one[key] == two[key]
        assert one["losses"] == pytest.approx(two["losses"], rel=1e-5)
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-4)


def relative_difference(one: list[Tensor | None], other: list[Tensor | None]) -> float:
    assert [g is None for g in one] == [g is None for g in other]
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    difference = torch.stack([(a - b).norm() for a, b in pairs]).norm()
    return float(difference / torch.stack([b.norm() for _, b in pairs]).norm())


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def forget_labels(path: Path, every: int) -> None:
    """Take all labels off each row but every so many-th."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        if number % every:
            row.update(intent=None, tags=None)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("batch_size", "cut", "mix"),
    [(15, 1, "batch"), (16, 3, "step"), (33, 8, "batch")],
    ids=["odd shares row by row", "heads take turns", "uneven pieces"],
)
def test_two_processes_train_as_one_does(
    tmp_path: Path, batch_size: int, cut: int, mix: str
) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=8,
        training__batch_size=batch_size,
        training__micro_batch_size=cut,
        sampling__mix=mix,
        training__max_grad_norm=1e9,
        evaluation__every=3,
    )
    ranks = Ranks(at(recipe, tmp_path / "two"))
    keep_gradients(tmp_path / "gradients.pt")
    one = train(at(recipe, tmp_path / "one"))
    assert ranks.join() == [0, 0], told(ranks.folder)
    assert_alike(log_of(one.path), log_of(ranks.folder))
    for rank in (0, 1):
        difference = relative_difference(
            torch.load(tmp_path / f"gradients-{rank}.pt"), torch.load(tmp_path / "gradients.pt")
        )
        assert difference <= 1e-6
    assert json.loads((ranks.folder / "metrics.json").read_text()) == one.metrics
    for name, weight in weights(one.path).items():
        torch.testing.assert_close(weights(ranks.folder)[name], weight, rtol=1e-3, atol=1e-4)


def test_rows_without_a_label_neither_hang_nor_count_and_idle_heads_rest(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=14,
        training__batch_size=2,
        training__checkpoint_every=1,
        training__keep_checkpoints=20,
        training__weight_decay=0.5,
        sampling__mix="step",
        evaluation__every=100,
        datasets__news__max_rows={"validation": 1},  # so the second has nothing to predict
        datasets__chat__max_rows={"validation": 1},
    )
    forget_labels(tmp_path / "chat-train.jsonl", every=4)
    ranks = Ranks(at(recipe, tmp_path / "two"))
    one = train(at(recipe, tmp_path / "one"))
    assert ranks.join() == [0, 0], told(ranks.folder)
    assert_alike(log_of(one.path), log_of(ranks.folder))
    used = [set(step["losses"]) for step in steps_of(ranks.folder)]
    assert set() in used, "no step without any label"
    assert {"topic", "ner"} in used
    assert any("intent" in tasks for tasks in used)
    found = [weights(checkpoint.path) for checkpoint in checkpoints(ranks.folder / "checkpoints")]
    assert len(found) == 14
    for before, after, tasks in zip(found, found[1:], used[1:], strict=False):
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert {name.split(".")[1] for name in moved if name.startswith("heads.")} == tasks
        assert any(name.startswith("encoder.") for name in moved) == bool(tasks)


def test_all_skip_a_step_whose_loss_is_no_number_on_one_of_them(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=6, evaluation__every=3)
    ranks = Ranks(recipe, spoilt=range(3, 5))
    assert ranks.join() == [0, 0], told(ranks.folder)
    skipped = {step["step"] for step in steps_of(ranks.folder) if "skipped" in step}
    # The other one writes the log, so that the last may see it a step too early or too late.
    assert skipped
    assert skipped <= {2, 3, 4, 5}
    assert told(ranks.folder).count("is skipped: the loss of task") == len(skipped)
    found = checkpoints(ranks.folder / "checkpoints")
    assert [one.step for one in found] == [3, 6]
    assert all(weight.isfinite().all() for weight in weights(found[-1].path).values())


def test_all_stop_where_too_many_steps_are_skipped(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=20, evaluation__every=2)
    ranks = Ranks(recipe, spoilt=range(4, 21))
    assert ranks.join() == [2, 2], told(ranks.folder)
    assert "as in the 3 steps before it" in told(ranks.folder)
    assert all(
        weight.isfinite().all()
        for one in checkpoints(ranks.folder / "checkpoints")
        for weight in weights(one.path).values()
    )


def test_fewer_rows_than_processes_are_refused_by_all(tmp_path: Path) -> None:
    ranks = Ranks(tiny_recipe(tmp_path, training__batch_size=1))
    assert ranks.join() == [2, 2]
    assert "1 rows cannot be shared among 2 processes; use at least" in told(ranks.folder)
    assert not ranks.folder.exists()


@pytest.mark.parametrize(
    ("signum", "hit"),
    [(signal.SIGTERM, [1]), (signal.SIGINT, [0]), (signal.SIGINT, [0, 1, 0, 1])],
    ids=["SIGTERM to the second", "Ctrl-C to the first", "Ctrl-C to both, handed on by a launcher"],
)
def test_a_signal_to_any_stops_all_and_one_process_goes_on(
    tmp_path: Path, signum: signal.Signals, hit: Sequence[int]
) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=120, evaluation__every=1000)
    ranks = Ranks(at(recipe, tmp_path / "run"))
    ranks.wait_for_steps(3)
    ranks.signal(signum, hit)
    assert ranks.join() == [128 + signum] * 2, told(ranks.folder)
    stopped_at = len(steps_of(ranks.folder))
    assert [one.step for one in checkpoints(ranks.folder / "checkpoints")] == [stopped_at]
    assert stopped_at < 120
    resumed = train(at(recipe, tmp_path / "run"), resume=True)
    whole = train(at(recipe, tmp_path / "whole"))
    assert_alike(log_of(resumed.path)[: stopped_at + 5], log_of(whole.path)[: stopped_at + 5])
    assert len(steps_of(resumed.path)) == 120


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_checkpoint_is_resumed_by_another_number_of_processes(
    tmp_path: Path, before: int, after: int
) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=12, evaluation__every=5)
    assert run_until(recipe, Kill("evaluation", 3), before), "the kill came too late"
    stood = checkpoints(tmp_path / "run" / "checkpoints")[-1].step
    assert 5 <= stood < 12
    run_until(recipe, world_size=after)
    whole = train(at(recipe, tmp_path / "whole"))
    assert_alike(log_of(tmp_path / "run"), log_of(whole.path))


def test_ctrl_c_under_torchrun_leaves_a_checkpoint_of_the_last_step(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=2000, evaluation__every=1000)
    recipe.to_yaml(tmp_path / "recipe.yaml")
    run = Path(recipe.output)
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mtl_nlp"]
    with (tmp_path / "told.txt").open("w") as told_here:
        torchrun = subprocess.Popen(
            [sys.executable, "-m", *launch, "train", str(tmp_path / "recipe.yaml")],
            stderr=told_here,
            start_new_session=True,
        )
        try:
            wait_for_steps(run, 3, lambda: torchrun.poll() is None)
            os.killpg(torchrun.pid, signal.SIGINT)
            assert torchrun.wait(PATIENCE) != 0
        finally:
            torchrun.kill()
    stopped_at = len(steps_of(run))
    assert 3 <= stopped_at < 2000
    assert [one.step for one in checkpoints(run / "checkpoints")] == [stopped_at]
    assert "KeyboardInterrupt" not in (tmp_path / "told.txt").read_text()
