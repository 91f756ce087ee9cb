"""What is streamed trains as what is not: each row once a pass, the same however resumed or cut."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from mtl_nlp.data import streamed_split
from mtl_nlp.data.streamed_split import StreamedSplit
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.model.loading import load_model
from mtl_nlp.training import preparation
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.preparation import Prepared, prepare
from tests.kills import Kill, assert_same_run, killed_recipe, run_until
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

STREAMED = {"datasets__chat__streaming": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return small_buffers(tiny_recipe(folder, **STREAMED), 13)


def small_buffers(recipe: Any, rows: int) -> Prepared:
    """A recipe whose streams have buffers of so many rows."""
    with pytest.MonkeyPatch.context() as patch:
        smaller = partial(streamed_split.prepare_stream, buffer=rows)
        patch.setattr(preparation, "prepare_stream", smaller)
        return prepare(recipe)


def rows_of(split: Any, numbers: np.ndarray) -> list[str]:
    """What the rows of an encoded split hold."""
    return [json.dumps(row, sort_keys=True) for row in split.take(numbers).to_pylist()]


def test_a_stream_gives_the_rows_that_a_table_gives_each_once_a_pass(
    folder: Path, prepared: Prepared
) -> None:
    stream, table = prepared.train["chat"], prepare(tiny_recipe(folder)).train["chat"]
    assert isinstance(stream, StreamedSplit)
    wanted = sorted(rows_of(table, np.arange(len(table))))
    for number in (0, 3, 1):
        places = np.random.default_rng(number).permutation(len(stream)) + number * len(stream)
        found = rows_of(stream, places)
        assert sorted(found) == wanted
        assert [json.loads(one) for one in found] == [
            json.loads(rows_of(stream, places[at : at + 1])[0]) for at in range(len(places))
        ]
    assert sorted(stream.lengths[places].tolist()) == sorted(table.lengths.tolist())
    assert stream.encoder_rows[places].tolist() == table.encoder_rows.tolist()


@settings(max_examples=3, deadline=None)
@given(step=st.integers(0, 60))
def test_plans_of_a_stream_are_the_same_wherever_they_begin(prepared: Prepared, step: int) -> None:
    whole, resumed = prepared.mixture(), prepared.mixture()
    drawn = [whole.plan(number).rows["chat"] for number in range(step, step + 12)]
    again = [resumed.plan(number).rows["chat"] for number in range(step, step + 12)]
    assert [one.tolist() for one in drawn] == [one.tolist() for one in again]
    seen = np.concatenate([whole.plan(number).rows["chat"] for number in range(20)])
    passes = seen[: len(seen) // 60 * 60].reshape(-1, 60)
    assert (np.sort(passes, axis=1) == np.arange(passes.size).reshape(passes.shape)).all()


def test_a_run_on_a_stream_goes_on_as_if_it_had_not_stopped(folder: Path) -> None:
    recipe = tiny_recipe(folder, evaluation__every=100, **STREAMED)
    first, last = folder / "whole", folder / "resumed"
    limits = {"max_steps": 17, "checkpoint_every": 6, "keep_checkpoints": 9}
    whole = small_buffers(recipe, 13)
    tiny_loop(whole, tiny_model(whole), first, **limits).run()
    stopped = checkpoints(first / "checkpoints")[0]
    prepared = small_buffers(recipe, 13)
    model = load_model(stopped.path)
    tiny_loop(prepared, model, last, resume=stopped, **limits).run()
    ends = [load_file(run / "checkpoints/step-000017/model.safetensors") for run in (first, last)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert steps_of(first)[stopped.step :] == steps_of(last)


def test_a_bad_row_in_mid_stream_is_named_and_the_last_checkpoint_is_whole(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=30, training__checkpoint_every=1, **STREAMED)
    prepared = small_buffers(recipe, 13)
    path = tmp_path / "chat-train.jsonl"
    lines = path.read_text().splitlines()
    lines[45] = json.dumps({"tokens": [], "intent": None, "tags": None})
    path.write_text("\n".join(lines) + "\n")
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path / "run", max_steps=30)
    named = re.escape("dataset 'chat', split train, row 45: column tokens: expected words")
    with pytest.raises(DataError, match=rf"{named}.*--resume goes on from the last checkpoint"):
        loop.run()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_killed_runs_on_a_stream_end_as_one_that_was_not(tmp_path: Path, world_size: int) -> None:
    recipe = killed_recipe(tmp_path).with_overrides(["datasets.chat.streaming=true"])
    whole = recipe.with_overrides([f"output={tmp_path / 'whole'}"])
    run_until(whole, world_size=world_size)
    for kill in (Kill("step", 9), Kill("checkpoint", 4), Kill("step", 17)):
        run_until(recipe, kill, world_size)
    run_until(recipe, None, world_size)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert checkpoints(tmp_path / "run" / "checkpoints")


def test_tasks_that_compare_a_whole_step_are_refused(folder: Path) -> None:
    pairs = folder / "pairs.jsonl"
    pairs.write_text('{"a": "the good film", "b": "a great movie"}\n' * 20)
    files = {split: str(pairs) for split in ("train", "validation")}
    columns = {"path": "json", "data_files": files, "text": "a", "text_pair": "b"}
    recipe = tiny_recipe(
        folder,
        datasets={"pairs": {**columns, "streaming": True}},
        tasks={"alike": {"type": "sentence_similarity", "dataset": "pairs"}},
    )
    with pytest.raises(RecipeError, match=r"datasets\.pairs\.streaming: task 'alike' compares all"):
        prepare(recipe)


def test_no_more_is_held_than_two_windows_of_buffers(folder: Path) -> None:
    prepared = small_buffers(tiny_recipe(folder, **STREAMED), 5)
    stream, mixture = prepared.train["chat"], prepared.mixture()
    per_window = -(-68 // 5) + 1  # of 7 steps, which draw up to 68 rows
    for step in range(40):
        stream.take(mixture.plan(step).rows["chat"])
        assert len(stream._held) <= 2 * per_window
