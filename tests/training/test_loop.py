import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from mtl_nlp.errors import UserError
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import log_of, steps_of, tiny_loop, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def by_step(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("loop"), sampling__mix="step"))


def with_evaluation(prepared: Prepared, **changes: Any) -> Prepared:
    evaluation = prepared.recipe.evaluation.model_copy(update=changes)
    recipe = prepared.recipe.model_copy(update={"evaluation": evaluation})
    return Prepared(**{**vars(prepared), "recipe": recipe})


def kept(folder: Path) -> list[int]:
    return [one.step for one in checkpoints(folder / "checkpoints")]


def evaluated(folder: Path) -> list[int]:
    return [record["step"] for record in log_of(folder) if "evaluation" in record]


def test_every_step_has_its_line(by_step: Prepared, tmp_path: Path) -> None:
    tiny_loop(by_step, tiny_model(by_step), tmp_path, max_steps=5).run()
    steps = steps_of(tmp_path)
    assert [record["step"] for record in steps] == [1, 2, 3, 4, 5]
    for record in steps:
        assert list(record) == [
            *("step", "loss", "losses", "grad_norm", "learning_rate", "rows", "tokens")
        ]
        weights = {"intent": 1.0, "ner": 0.5, "topic": 1.0}
        expected = sum(weights[name] * mean for name, mean in record["losses"].items())
        assert record["loss"] == pytest.approx(expected)
        assert sum(record["rows"].values()) == 16
        assert record["grad_norm"] > 0
    assert steps[0]["learning_rate"] == 1e-3  # a tenth of five steps is no warm-up
    assert {name for record in steps for name in record["rows"]} == {"chat", "news"}


def test_it_evaluates_every_so_many_steps_and_at_the_end(by_step: Prepared, tmp_path: Path) -> None:
    prepared = with_evaluation(by_step, every=3)
    tiny_loop(prepared, tiny_model(prepared), tmp_path, max_steps=7).run()
    assert evaluated(tmp_path) == [3, 6, 7]
    assert kept(tmp_path)[-1] == 7


def test_a_pass_is_an_epoch(by_step: Prepared, tmp_path: Path) -> None:
    tiny_loop(by_step, tiny_model(by_step), tmp_path, epochs=2).run()
    assert evaluated(tmp_path) == [7, 14]  # 100 rows by 16
    assert len(steps_of(tmp_path)) == 14


def test_checkpoints_come_as_often_as_said_and_when_the_model_is_the_best(
    by_step: Prepared, tmp_path: Path
) -> None:
    prepared = with_evaluation(by_step, every=3)
    loop = tiny_loop(
        prepared,
        tiny_model(prepared),
        tmp_path,
        max_steps=8,
        checkpoint_every=5,
        keep_checkpoints=9,
    )
    best = loop.run().step
    assert set(kept(tmp_path)) >= {3, 5, best}
    assert set(kept(tmp_path)) <= {3, 5, 6, 8}
    assert loop.best_checkpoint() == tmp_path / "checkpoints" / f"step-{best:06d}"


def test_the_best_checkpoint_outlives_the_newest(by_step: Prepared, tmp_path: Path) -> None:
    # A rate of next to nothing: the first evaluation stays the best.
    prepared = with_evaluation(by_step, every=1)
    loop = tiny_loop(
        prepared,
        tiny_model(prepared),
        tmp_path,
        max_steps=5,
        learning_rate=1e-30,
        keep_checkpoints=1,
        schedule="constant",
    )
    assert loop.run().step == 1
    assert kept(tmp_path) == [1, 5]


def test_it_stops_early_after_so_many_evaluations_that_are_no_better(
    by_step: Prepared, tmp_path: Path
) -> None:
    prepared = with_evaluation(by_step, every=2)
    loop = tiny_loop(
        prepared,
        tiny_model(prepared),
        tmp_path,
        max_steps=40,
        learning_rate=1e-30,
        early_stopping=3,
    )
    selection = loop.run()
    assert (selection.step, selection.since) == (2, 3)
    assert evaluated(tmp_path) == [2, 4, 6, 8]
    assert len(steps_of(tmp_path)) == 8


def test_heads_that_a_step_does_not_use_stay_as_they_are(by_step: Prepared, tmp_path: Path) -> None:
    tiny_loop(
        by_step,
        tiny_model(by_step),
        tmp_path,
        max_steps=6,
        checkpoint_every=1,
        keep_checkpoints=9,
        weight_decay=0.5,
    ).run()
    used = [set(record["losses"]) for record in steps_of(tmp_path)]
    assert {"intent", "ner"} in used
    assert {"topic", "ner"} in used
    paths = [one.path / "model.safetensors" for one in checkpoints(tmp_path / "checkpoints")]
    found = [load_file(path) for path in paths]
    for before, after, tasks in zip(found, found[1:], used[1:], strict=False):
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert {name.split(".")[1] for name in moved if name.startswith("heads.")} == tasks


def test_the_same_seed_gives_the_same_bits(by_step: Prepared, tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny_loop(by_step, tiny_model(by_step), tmp_path / name, max_steps=4).run()
    assert log_of(tmp_path / "one") == log_of(tmp_path / "two")
    weights = [
        load_file(tmp_path / name / "checkpoints" / "step-000004" / "model.safetensors")
        for name in ("one", "two")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_dataset_that_starts_again_is_told(by_step: Prepared, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    tiny_loop(by_step, tiny_model(by_step), tmp_path, console, max_steps=40).run()
    file = console.file
    assert isinstance(file, io.StringIO)
    told = file.getvalue()
    for name in ("news", "chat"):
        first = (
            rf"dataset '{name}' starts again, reshuffled: pass 2 at step \d+; it will do so about"
        )
        assert len(re.findall(first, told)) == 1
        assert told.count(f"'{name}' starts again") == 1
    drawn = re.findall(r"(\w+) (\d+)/\2 \([\d.]+%, planned [\d.]+%, (\d+\.\d) passes\)", told)
    sizes = {name: len(split) for name, split in by_step.train.items()}
    assert {name: passes for name, _, passes in drawn} == {
        name: f"{int(rows) / sizes[name]:.1f}" for name, rows, _ in drawn
    }
    assert {name for name, *_ in drawn} == {"news", "chat"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.data.fill_(float("nan")), r"the loss of task '\w+' is nan at step 1; lower"),
        (
            lambda p: p.register_hook(lambda g: g * float("inf")),
            r"the gradient's norm is (nan|inf) at step 1; lower training\.learning_rate",
        ),
    ],
    ids=["loss", "gradient"],
)
def test_what_is_not_finite_stops_it_before_the_model_is_spoilt(
    by_step: Prepared, tmp_path: Path, spoil: Any, message: str
) -> None:
    model = tiny_model(by_step)
    spoil(model.encoder.get_input_embeddings().weight)
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(UserError, match=message):
        tiny_loop(by_step, model, tmp_path, max_steps=3, max_skipped=0).run()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=0, equal_nan=True)
    assert kept(tmp_path) == []


def test_other_training_rows_are_not_resumed_upon(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    first = prepare(recipe)
    tiny_loop(first, tiny_model(first), tmp_path / "run", max_steps=2).run()
    rows = (tmp_path / "news-train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "news-train.jsonl").write_text("".join(reversed(rows)))
    other = prepare(recipe)
    start = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    with pytest.raises(UserError, match=r"training rows of dataset 'news' are not those that"):
        tiny_loop(other, tiny_model(other), tmp_path / "run", resume=start, max_steps=2)
