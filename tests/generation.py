"""Text generation in two directions on one decoder, beside tasks with heads of other kinds."""

import random
from pathlib import Path
from typing import Any

from mtl_nlp import Recipe
from tests.rows import json_dataset
from tests.runs import FILLERS

TASKS: dict[str, dict[str, Any]] = {
    "same": {"type": "text_generation", "target": "same", "prefix": "say: ", "max_new_tokens": 9},
    "back": {
        "type": "text_generation",
        "target": "back",
        "prefix": "turn: ",
        "max_new_tokens": 9,
        "num_beams": 3,
    },
    "topic": {"type": "text_classification", "label": "topic"},
    "tags": {"type": "token_classification", "tags": "tags", "scheme": "none"},
}


WRITERS = ("same", "back")


TEXTS = ["good film", "music", "bad company of the city and of the day it is"]


def generation_recipe(folder: Path, output: str, steps: int = 4, **training: Any) -> Recipe:
    """A recipe on a tiny T5, which lies in the folder as its files and its output do."""
    source = random.Random(13)
    rows = {split: [_row(source) for _ in range(24)] for split in ("train", "validation")}
    return Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / output),
        dropout=0.0,
        max_length=32,
        datasets={"all": {**json_dataset(folder, "all", **rows), "tokens": "tokens"}},
        tasks={name: {**task, "dataset": "all"} for name, task in TASKS.items()},
        training={
            "max_steps": steps,
            "epochs": None,
            "batch_size": 12,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "checkpoint_every": 2,
            "keep_checkpoints": 9,
            **training,
        },
        evaluation={"every": steps},
    )


def _row(source: random.Random) -> dict[str, Any]:
    words = source.choices(FILLERS, k=source.randint(2, 7))
    words[0] = source.choice(["good", "bad"])
    row = {
        "tokens": words,
        "same": " ".join(words),
        "back": " ".join(words[::-1]),
        "topic": "up" if words[0] == "good" else "down",
        "tags": ["X" if len(word) > 3 else "Y" for word in words],
    }
    for column in set(row) - {"tokens"}:
        if source.random() < 0.2:
            row[column] = None
    return row
