"""Tasks that read other tasks: what they read, what they teach, and what stays as it was."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_nlp import Recipe, train
from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.reading import ReadingHead
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.inference.pipeline import pipeline
from mtl_nlp.model.modeling import MultiTaskModel
from tests.rows import json_dataset
from tests.runs import FILLERS
from tests.tiny import tiny_encoder

NEW: dict[str, Any] = {"type": "text_classification", "labels": ["a", "b"]}


def row_of(source: random.Random) -> dict[str, Any]:
    words = source.choices(FILLERS, k=source.randint(2, 8))
    return {
        "words": words,
        "upos": [word[0] for word in words],
        "ner": ["B-x" if len(word) > 4 else "O" for word in words],
        "mood": "long" if sum(map(len, words)) > 20 else "short",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("after")
    tiny_encoder(folder / "encoder")
    source = random.Random(3)
    rows = [row_of(source) for _ in range(40)]
    json_dataset(folder, "all", train=rows, validation=rows[:12])
    return folder


def recipe_of(folder: Path, output: str, *, gradient: bool = False, **training: Any) -> Recipe:
    files = {split: str(folder / f"all-{split}.jsonl") for split in ("train", "validation")}
    return Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / output),
        dropout=0.0,
        datasets={"all": {"path": "json", "data_files": files, "tokens": "words"}},
        tasks={
            "upos": {
                "type": "token_classification",
                "dataset": "all",
                "tags": "upos",
                "scheme": "none",
            },
            "mood": {"type": "text_classification", "dataset": "all", "label": "mood"},
            "ner": {
                "type": "token_classification",
                "dataset": "all",
                "tags": "ner",
                "after": ["upos", "mood"],
                "after_gradient": gradient,
            },
        },
        training={
            "max_steps": 4,
            "epochs": None,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "checkpoint_every": 2,
            "keep_checkpoints": 9,
            **training,
        },
    )


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    return train(recipe_of(folder, "whole")).path


def weights(run: Path) -> dict[str, torch.Tensor]:
    return MultiTaskModel.from_pretrained(run).state_dict()


def test_a_reader_is_saved_and_loaded_with_what_it_reads(trained: Path) -> None:
    model = MultiTaskModel.from_pretrained(trained)
    head = model.heads["ner"]
    assert isinstance(head, ReadingHead)
    assert [*head.vectors] == ["upos", "mood"]
    text = "good city day old new"
    alone = pipeline(trained)(text, tasks=["ner"])
    assert alone["ner"] == pipeline(trained)(text)["ner"]


def test_what_is_read_matters(trained: Path) -> None:
    model = MultiTaskModel.from_pretrained(trained)
    batch = {"input_ids": torch.tensor([[2, 9, 8, 3]]), "attention_mask": torch.ones(1, 4).long()}
    with torch.no_grad():
        before = model(**batch, tasks=["ner"]).logits["ner"]
        for weight in model.heads["upos"].parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        assert not torch.allclose(model(**batch, tasks=["ner"]).logits["ner"], before)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_reader_teaches_what_it_reads_only_if_it_may(folder: Path, gradient: bool) -> None:
    model = MultiTaskModel.from_encoder(folder / "encoder", {"mood": NEW})
    model.add_task("topic", {**NEW, "after": ["mood"], "after_gradient": gradient})
    batch = {"input_ids": torch.tensor([[2, 9, 8, 3]]), "attention_mask": torch.ones(1, 4).long()}
    model(**batch, tasks=["topic"]).logits["topic"].square().sum().backward()
    taught = [p.grad is not None for p in model.heads["mood"].parameters()]
    assert any(taught) is gradient
    assert all(p.grad is not None for p in model.heads["topic"].parameters())


@pytest.mark.parametrize("gradient", [False, True])
def test_how_a_step_is_cut_changes_nothing(folder: Path, gradient: bool) -> None:
    whole = train(recipe_of(folder, f"w{gradient}", gradient=gradient)).path
    cut = train(recipe_of(folder, f"c{gradient}", gradient=gradient, micro_batch_size=3)).path
    ours = weights(cut)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-5)


def test_a_resumed_training_ends_bit_for_bit_the_same(folder: Path, trained: Path) -> None:
    recipe = recipe_of(folder, "stopped")
    train(recipe)
    run = folder / "stopped"
    (run / "checkpoints" / "step-000004").rename(folder / "gone")
    (run / "metrics.json").unlink()
    train(recipe, resume=True)
    ours = weights(run)
    assert all(torch.equal(ours[name], weight) for name, weight in weights(trained).items())
    scores = [json.loads((one / "metrics.json").read_text()) for one in (run, trained)]
    assert scores[0] == scores[1]


def test_a_task_reads_only_tasks_above_it(folder: Path) -> None:
    recipe = recipe_of(folder, "x")
    spec = {name: task.model_dump(exclude_unset=True) for name, task in recipe.tasks.items()}
    for change, message in (
        ({"upos": {**spec["upos"], "after": ["ner"]}}, "tasks.upos.after: no task 'ner' stands"),
        ({"mood": {**spec["mood"], "after": ["mood"]}}, "tasks.mood.after: no task 'mood' stands"),
        ({"mood": {**spec["mood"], "after": ["upos", "upos"]}}, "names 'upos' twice; keep one"),
        ({"mood": {**spec["mood"], "after": "upos"}}, "tasks.mood.after: should be a valid tuple"),
    ):
        changed = Recipe(**{**recipe.model_dump(), "tasks": {**spec, **change}})
        with pytest.raises(RecipeError, match=message):
            train(changed)


def test_a_task_without_a_distribution_cannot_be_read(folder: Path) -> None:
    model = MultiTaskModel.from_encoder(folder / "encoder", {"age": {"type": "regression"}})
    with pytest.raises(RecipeError, match="'age' is a regression task, which has no distribution"):
        model.add_task("topic", {**NEW, "after": ["age"]})


def test_a_task_that_is_read_is_not_removed(trained: Path) -> None:
    model = MultiTaskModel.from_pretrained(trained)
    with pytest.raises(ValueError, match="task 'ner' reads task 'upos'; remove that one first"):
        model.remove_task("upos")
    model.remove_task("ner")
    model.remove_task("upos")
    assert [*model.tasks] == ["mood"]


def test_a_reader_is_no_stock_model(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its head reads those of other tasks"):
        export_transformers(MultiTaskModel.from_pretrained(trained), "ner", tmp_path / "out")
