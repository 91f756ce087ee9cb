"""The largest piece is tried before the first step, and leaves no trace."""

import ctypes
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtl_nlp.errors import UserError
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import log_of, tiny_loop, tiny_model, tiny_recipe


def long_rows(folder: Path) -> None:
    """Let every row be some hundred words."""
    for path in folder.glob("*-train.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["tokens"] = row["tokens"] * 20
            row["tags"] = row["tags"] and row["tags"] * 20
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("trial"), dropout=0.1))


def padded(loop: TrainingLoop, piece: Any) -> int:
    batch = loop.cutting.batch(piece, 0)
    return batch.input_ids.numel()


@pytest.mark.parametrize("spec", [{}, {"micro_batch_size": 3}, {"micro_batch_tokens": 60}])
def test_no_piece_of_the_next_pass_is_larger(
    prepared: Prepared, tmp_path: Path, spec: dict[str, int]
) -> None:
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path, max_steps=9, **spec)
    tried: list[int] = []
    loop.model.register_forward_pre_hook(
        lambda _, args, batch: tried.append(batch["input_ids"].numel()), with_kwargs=True
    )
    loop.try_largest_piece()
    steps = range(min(9, loop.mixture.steps_per_pass))
    sizes = [
        padded(loop, piece) for n in steps for piece in loop.cutting.pieces(loop.mixture.plan(n))
    ]
    assert tried == [max(sizes)]
    assert len(set(sizes)) > 1


def test_it_changes_nothing(prepared: Prepared, tmp_path: Path) -> None:
    for name in ("with", "without"):
        loop = tiny_loop(prepared, tiny_model(prepared), tmp_path / name, max_steps=5)
        if name == "with":
            random = torch.get_rng_state()
            loop.model.eval()
            loop.try_largest_piece()
            assert torch.equal(torch.get_rng_state(), random)
            assert not loop.model.training
            assert not loop.learning.optimizer.optimizer.state
            assert all(parameter.grad is None for parameter in loop.model.parameters())
        loop.run()
    assert log_of(tmp_path / "with") == log_of(tmp_path / "without")
    one, other = (
        load_file(tmp_path / name / "checkpoints" / "step-000005" / "model.safetensors")
        for name in ("with", "without")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Room for 10 MB more than the process has mapped; what torch wants beyond is refused."""
    ctypes.CDLL(None).malloc_trim(0)  # what is free but mapped would be taken first
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 10_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_where_memory_runs_out_it_says_what_to_lower(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recipe = tiny_recipe(tmp_path, max_length=512, training__batch_size=700)
    long_rows(tmp_path)
    prepared = prepare(recipe)
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path / "run", micro_batch_size=700)
    loop.cutting.forward_cost = 10**9  # one piece, as on an accelerator
    request.getfixturevalue("little_memory")
    match = (
        r"the largest piece of a step, 700 encoder rows of \d+ tokens, does not fit in the memory"
        r" of cpu; lower training.micro_batch_size \(now 700\) or training.micro_batch_tokens, .*"
        r" or max_length \(now 512\): .*memory"
    )
    with pytest.raises(UserError, match=match):
        loop.try_largest_piece()
    assert loop.model.training
