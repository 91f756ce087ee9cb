"""Nested spans from a recipe to a model folder: learned, saved, loaded, or the mistake is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp import check, pipeline, train
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import Recipe
from tests.spans import in_characters, mark, saved_and_loaded
from tests.tiny import tiny_encoder


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    task = {
        "type": "span_classification",
        "labels": ["a", "b"],
        "max_width": 4,
        "pooling": "last",
    }
    assert saved_and_loaded(tmp_path, task) == (2, 8, 4, 2)


def _write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _recipe(folder: Path, rows: list[dict[str, Any]], **task: Any) -> Recipe:
    file = _write(folder / "rows.jsonl", rows)
    column = "text" if "text" in rows[0] else "tokens"
    return Recipe(
        encoder=str(tiny_encoder(folder / "encoder")),
        output=str(folder / "run"),
        max_length=32,
        dropout=0.0,
        datasets={"d": {"path": "json", "data_files": dict.fromkeys(("train", "validation"), file),
                        column: column}},
        tasks={"t": {"type": "span_classification", "dataset": "d", "spans": "spans", **task}},
        training={"max_steps": 80, "batch_size": 4, "learning_rate": 1e-2, "precision": "fp32"},
        evaluation={"every": 80},
    )  # fmt: skip


NESTED: list[dict[str, Any]] = [
    {"tokens": ["she", "works", "for", "the", "city", "phone", "company"],
     "spans": [mark(3, 7), mark(4, 6), mark(4, 5, "place")]},
    {"tokens": ["old", "city", "music", "visited", "the", "city"],
     "spans": [mark(0, 3), mark(1, 2, "place"), mark(5, 6), mark(5, 6, "place")]},
    {"tokens": ["he", "hate", "bad", "music"], "spans": []},
    {"tokens": ["great", "movie"], "spans": None},
]  # fmt: skip


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_nested_spans_are_learned(unit: str, tmp_path: Path) -> None:
    texts = [in_characters(row) for row in NESTED]
    run = train(_recipe(tmp_path, NESTED if unit == "words" else texts))
    assert run.metrics["validation"]["t"]["f1"] == 1.0
    pipe = pipeline(run.path)
    assert pipe.predictor.model.tasks["t"].max_width == 4
    for row in texts[:3]:
        assert [
            {"start": one["start"], "end": one["end"], "label": one["entity_group"]}
            for one in pipe(row["text"])["t"]
        ] == row["spans"]


@pytest.mark.parametrize(
    ("rows", "task", "message"),
    [
        ([{"tokens": ["a"], "spans": [mark(0, 2)]}], {},
         r"split train, row 0, column spans: task 't': span 'org' of words 0 to 2 is empty or"),
        ([{"tokens": ["a"], "spans": [mark(0, 1), mark(0, 1, "new")]}], {"labels": ["org"]},
         r"split train, row 0: task 't' has no label 'new'; its labels are org; mend the row"),
        ([{"text": "a b", "spans": [mark(0, 9)]}], {},
         r"row 0, column spans: task 't': entity 'org' of characters 0 to 9 lies outside the"),
        ([{"text": "a b", "spans": "none"}], {},
         r"split train, row 0, column spans: task 't': expected a list of entities, found 'none'"),
    ],
)  # fmt: skip
def test_a_wrong_row_stops_before_training(
    rows: list[dict[str, Any]], task: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        check(_recipe(tmp_path, rows, **task))
