"""Steps without a finite loss or gradient, in whole trainings."""

import io
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from mtl_nlp.errors import UserError
from mtl_nlp.model.loading import load_model
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.skipping import Skips
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

TRAINING: dict[str, Any] = {"max_steps": 8, "checkpoint_every": 1, "keep_checkpoints": 99}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("skipping")))


def spoil_loss(loop: TrainingLoop, steps: Container[int]) -> None:
    """Make the logits of one task no numbers in some steps, from 1."""

    def hook(module: torch.nn.Module, _: Any, logits: Tensor) -> Tensor:
        return logits * float("nan") if module.training and loop.done + 1 in steps else logits

    loop.model.heads["ner"].register_forward_hook(hook)


def spoil_gradient(loop: TrainingLoop, steps: Container[int]) -> None:
    """Make the gradient of one weight infinite in some steps, from 1."""
    weight = loop.model.encoder.get_input_embeddings().weight
    weight.register_hook(lambda g: g * float("inf") if loop.done + 1 in steps else g)


def weights(folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def trained(
    prepared: Prepared, folder: Path, steps: Container[int], **training: Any
) -> tuple[TrainingLoop, str]:
    """A training with some steps spoilt, and what it told."""
    console = Console(file=io.StringIO(), width=300)
    loop = tiny_loop(prepared, tiny_model(prepared), folder, console, **TRAINING | training)
    spoil_loss(loop, steps)
    loop.run()
    assert isinstance(console.file, io.StringIO)
    return loop, console.file.getvalue()


def test_a_spoilt_step_changes_nothing_and_is_counted_and_told(
    prepared: Prepared, tmp_path: Path
) -> None:
    loop, told = trained(prepared, tmp_path / "spoilt", [3, 6, 7])
    assert loop.skips == Skips(in_a_row=0, total=3)
    steps = steps_of(tmp_path / "spoilt")
    assert [one["step"] for one in steps if "skipped" in one] == [3, 6, 7]
    assert all(one["skipped"] == ["ner"] for one in steps if "skipped" in one)
    assert steps[2]["losses"]["ner"] is None
    assert steps[2]["losses"]["topic"] > 0
    line = "warning: step 7 is skipped: the loss of task 'ner' is nan (2 in a row of at most 3,"
    assert f"{line} 3 in all)" in told
    moved = [
        not same(weights(tmp_path / "spoilt", step - 1), weights(tmp_path / "spoilt", step))
        for step in range(2, 9)
    ]
    assert moved == [True, False, True, True, False, False, True]
    trained(prepared, tmp_path / "whole", [])
    for one, other in zip(steps, steps_of(tmp_path / "whole"), strict=True):
        assert (one["rows"], one["learning_rate"]) == (other["rows"], other["learning_rate"])


def test_a_gradient_that_is_not_finite_is_no_ones_fault(prepared: Prepared, tmp_path: Path) -> None:
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path, **TRAINING)
    spoil_gradient(loop, [2])
    loop.run()
    line = steps_of(tmp_path)[1]
    assert line["skipped"] == []
    assert line["grad_norm"] is None
    assert all(loss > 0 for loss in line["losses"].values())
    assert same(weights(tmp_path, 1), weights(tmp_path, 2))
    assert not same(weights(tmp_path, 2), weights(tmp_path, 3))


@pytest.mark.parametrize("spoil", [spoil_loss, spoil_gradient])
def test_too_many_in_a_row_stop_it_and_the_last_good_model_is_whole(
    prepared: Prepared, tmp_path: Path, spoil: Callable[[TrainingLoop, Container[int]], None]
) -> None:
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path, **TRAINING, max_skipped=2)
    spoil(loop, range(3, 9))
    match = r" (nan|inf) at step 5, as in the 2 steps before it; lower .* model is .*step-000004$"
    with pytest.raises(UserError, match=match):
        loop.run()
    assert [one.step for one in checkpoints(tmp_path / "checkpoints")] == [1, 2, 3, 4]
    assert same(weights(tmp_path, 2), weights(tmp_path, 4))
    load_model(tmp_path / "checkpoints" / "step-000004")


def test_a_resumed_training_counts_on(prepared: Prepared, tmp_path: Path) -> None:
    whole, _ = trained(prepared, tmp_path, [3, 5, 6])
    found = {one.step: one for one in checkpoints(tmp_path / "checkpoints")}
    model = load_model(found[5].path)
    resumed = tiny_loop(prepared, model, tmp_path, resume=found[5], **TRAINING)
    assert resumed.skips == Skips(in_a_row=1, total=2)
    last = weights(tmp_path, 8)
    spoil_loss(resumed, [6])
    resumed.run()
    assert resumed.skips == whole.skips == Skips(in_a_row=0, total=3)
    assert same(weights(tmp_path, 8), last)
