"""Whole trainings small enough for a test: three tasks over two datasets, labels missing."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from rich.console import Console

from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.checkpoints import Checkpoint
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import Prepared
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.training_data import TrainingData
from tests.tiny import WORDS, tiny_encoder

FILLERS = [word for word in WORDS if not word.startswith("##")][:40]
_PLACES, _ORGS = ("city", "day", "film"), ("company", "phone", "music")


def tiny_recipe(folder: Path, **changes: Any) -> Recipe:
    """A recipe on a tiny encoder; its files and its output lie in the folder.

    ``chat`` has rows with an intent, with tags, with both and with neither; ``news`` has topics
    and tags, so ``ner`` is learned from both. A change names its key's path, ``training__epochs``.
    """
    if not (folder / "encoder").exists():
        tiny_encoder(folder / "encoder")
        write_data(folder)
    content: dict[str, Any] = {
        "encoder": str(folder / "encoder"),
        "output": str(folder / "run"),
        "max_length": 32,
        "dropout": 0.0,
        "datasets": {
            name: {
                "path": "json",
                "data_files": {
                    split: str(folder / f"{name}-{split}.jsonl")
                    for split in ("train", "validation", "test")
                },
                "tokens": "tokens",
            }
            for name in ("chat", "news")
        },
        "tasks": {
            "intent": {"type": "text_classification", "dataset": "chat", "label": "intent"},
            "ner": {
                "type": "token_classification",
                "dataset": ["chat", "news"],
                "tags": "tags",
                "scheme": "bio",
                "weight": 0.5,
            },
            "topic": {"type": "text_classification", "dataset": "news", "label": "topic"},
        },
        "training": {"batch_size": 16, "learning_rate": 1e-3, "precision": "fp32"},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    if "max_steps" in content["training"]:
        content["training"].pop("epochs", None)
    return Recipe(**content)


def tiny_model(prepared: Prepared) -> MultiTaskModel:
    """A fresh model of a prepared recipe, the same each time, far from where weights start."""
    torch.manual_seed(1)
    model = MultiTaskModel.from_encoder(prepared.recipe.encoder, {}, dropout=0.0)
    for task in prepared.tasks.values():
        model.set_head(task)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def fp32_accelerator() -> Accelerator:
    """On the CPU, whatever precision a training before had."""
    AcceleratorState._reset_state()
    return Accelerator(cpu=True, mixed_precision="no")


def tiny_loop(
    prepared: Prepared,
    model: MultiTaskModel,
    folder: Path,
    console: Console | None = None,
    *,
    resume: Checkpoint | None = None,
    **training: Any,
) -> TrainingLoop:
    """The training of a model in a folder; keys of the recipe's ``training`` may be changed."""
    if "max_steps" in training:
        training["epochs"] = None
    spec = prepared.recipe.training.model_copy(update=training)
    return TrainingLoop(
        prepared.recipe.model_copy(update={"training": spec}),
        model,
        prepared.encoder.tokenizer,
        Predictor(model, prepared.encoder),
        TrainingData(prepared.train, prepared.datasets_of_tasks(), prepared.labelled("validation")),
        accelerator=fp32_accelerator(),
        folder=folder,
        progress=TrainingProgress(console or Console(quiet=True)),
        resume=resume,
    )


def write_data(folder: Path, *, train: int = 60) -> None:
    """Write the files of both datasets; news has two thirds of chat's rows."""
    for name, share in (("chat", 1.0), ("news", 2 / 3)):
        for split, rows in (("train", train), ("validation", 21), ("test", 18)):
            source = random.Random(f"{name} {split}")
            lines = [json.dumps(_row(name, source)) for _ in range(round(rows * share))]
            (folder / f"{name}-{split}.jsonl").write_text("\n".join(lines) + "\n")


def steps_of(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log for steps, without the seconds."""
    return [record for record in log_of(run) if "loss" in record]


def log_of(run: Path) -> list[dict[str, Any]]:
    """All lines of a run's log, without the seconds."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def _row(dataset: str, source: random.Random) -> dict[str, Any]:
    tokens = source.choices(FILLERS, k=source.randint(1, 24))
    good = source.random() < 0.5
    tokens.insert(0, "good" if good else "bad")
    tags = ["B-place" if word in _PLACES else "B-org" if word in _ORGS else "O" for word in tokens]
    if dataset == "news":
        return {"tokens": tokens, "topic": "up" if good else "down", "tags": tags}
    intent = source.choice(["praise" if good else "blame"] * 3 + [None])
    return {"tokens": tokens, "intent": intent, "tags": source.choice([tags, tags, None])}
