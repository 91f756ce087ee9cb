"""Weights in parts on two processes (FSDP2): the same steps, checkpoints and resumption."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from mtl_nlp.run import train
from mtl_nlp.training.checkpoints import checkpoints
from tests.kills import assert_same_run
from tests.properties.test_ranks import assert_alike, at, forget_labels, weights
from tests.ranks import Ranks, told
from tests.runs import log_of, steps_of, tiny_recipe

pytestmark = pytest.mark.slow


def back_to(run: Path, step: int, copy: Path) -> None:
    """A copy of a finished run as it stood after a step's checkpoint."""
    shutil.copytree(run, copy)
    (copy / "metrics.json").unlink()
    for one in checkpoints(copy / "checkpoints"):
        if one.step > step:
            shutil.rmtree(one.path)


def test_two_processes_train_as_one_does_and_go_on_from_each_others_checkpoints(
    tmp_path: Path,
) -> None:
    recipe = tiny_recipe(  # in which heads take turns, and pieces are unequal
        tmp_path,
        training__max_steps=12,
        training__batch_size=5,
        training__micro_batch_size=2,
        training__checkpoint_every=4,
        training__keep_checkpoints=9,
        training__weight_decay=0.5,
        sampling__mix="step",
        evaluation__every=6,
    )
    forget_labels(tmp_path / "chat-train.jsonl", every=4)
    recomputing = recipe.with_overrides(["training.gradient_checkpointing=true"])
    sharded = Ranks(at(recomputing, tmp_path / "two"), sharded=True)
    one = train(at(recipe, tmp_path / "one")).path
    two = sharded.folder
    assert sharded.join() == [0, 0], told(two)
    assert_alike(log_of(one), log_of(two))
    assert any(not step["losses"] for step in steps_of(one)), "no step without any label"
    assert json.loads((two / "metrics.json").read_text()) == json.loads(
        (one / "metrics.json").read_text()
    )
    for name, weight in weights(one).items():
        torch.testing.assert_close(weights(two)[name], weight, rtol=1e-3, atol=1e-4)

    back_to(two, 8, tmp_path / "again")
    back_to(one, 8, tmp_path / "other")
    back_to(two, 8, tmp_path / "whole")
    resumed = [
        Ranks(at(recipe, tmp_path / name), resume=True, sharded=True) for name in ("again", "other")
    ]
    train(at(recipe, tmp_path / "whole"), resume=True)
    for ranks in resumed:
        assert ranks.join() == [0, 0], told(ranks.folder)
    assert_same_run(tmp_path / "again", two)
    assert_alike(log_of(tmp_path / "other"), log_of(one))
    assert_alike(log_of(tmp_path / "whole"), log_of(two))
