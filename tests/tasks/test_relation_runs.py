"""Relations from a recipe to a model folder: learned, saved, loaded, or the mistake is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp import check, pipeline, train
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import Recipe
from tests.rows import json_dataset
from tests.spans import in_characters, mark, saved_and_loaded
from tests.tiny import tiny_encoder


def _relation(head: int, tail: int, label: str) -> dict[str, Any]:
    return {"head": head, "tail": tail, "label": label}


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    task = {
        "type": "relation_classification",
        "labels": ["a", "b"],
        "span_labels": ["x", "y", "z"],
        "max_width": 4,
        "pooling": "last",
    }
    assert saved_and_loaded(tmp_path, task) == (2, 8, 4 * 3 + 8 * 2 * 2)


ROWS: list[dict[str, Any]] = [
    {"tokens": ["she", "works", "for", "the", "city", "phone", "company"],
     "spans": [mark(4, 7, "org"), mark(4, 5, "place"), mark(0, 1, "person")],
     "relations": [_relation(2, 0, "works_for"), _relation(0, 1, "in")]},
    {"tokens": ["he", "loved", "old", "music"],
     "spans": [mark(0, 1, "person"), mark(2, 4, "art")],
     "relations": [_relation(0, 1, "likes")]},
    {"tokens": ["the", "phone", "company", "loved", "he"],
     "spans": [mark(1, 3, "org"), mark(4, 5, "person")],
     "relations": [_relation(0, 1, "likes"), _relation(1, 0, "works_for")]},
    {"tokens": ["they", "hate", "bad", "music"], "spans": [], "relations": []},
    {"tokens": ["great", "movie"], "spans": [], "relations": None},
]  # fmt: skip


def _recipe(folder: Path, rows: list[dict[str, Any]], length: int = 32, **task: Any) -> Recipe:
    column = "text" if "text" in rows[0] else "tokens"
    data = json_dataset(folder, "rows", train=rows, validation=rows)
    columns = {"spans": "spans", "relations": "relations"}
    return Recipe(
        encoder=str(tiny_encoder(folder / "encoder")),
        output=str(folder / "run"),
        max_length=length,
        long_text="windows",
        stride=2,
        dropout=0.0,
        datasets={"d": {**data, column: column}},
        tasks={"t": {"type": "relation_classification", "dataset": "d", **columns, **task}},
        training={"max_steps": 80, "batch_size": 4, "learning_rate": 1e-2, "precision": "fp32"},
        evaluation={"every": 80},
    )


def _triples(row: dict[str, Any], label: str) -> set[tuple[Any, ...]]:
    """The relations of a row with their spans instead of indices."""
    ends = [(one["start"], one["end"], one[label]) for one in row["spans"]]
    return {(ends[one["head"]], ends[one["tail"]], one["label"]) for one in row["relations"]}


@pytest.mark.parametrize(("unit", "length"), [("words", 32), ("characters", 32), ("words", 7)])
def test_relations_are_learned_with_their_spans(unit: str, length: int, tmp_path: Path) -> None:
    texts = [in_characters(row) for row in ROWS]
    run = train(_recipe(tmp_path, ROWS if unit == "words" else texts, length))
    assert run.metrics["validation"]["t"] == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    pipe = pipeline(run.path)
    for row in texts[:4]:
        found = pipe(row["text"])["t"]
        assert _triples(found, "entity_group") == _triples(row, "label")
        for span in found["spans"]:
            assert row["text"][span["start"] : span["end"]] == span["word"]
    for row, text in zip(ROWS[:4], texts, strict=False):
        for given in (row, text):  # spans count words of tokens, characters of a text
            found = pipe({**given, "relations": None})["t"]
            shown = [(one["start"], one["end"], one["entity_group"]) for one in found["spans"]]
            assert shown == [tuple(span.values()) for span in text["spans"]]
            assert _triples(found, "entity_group") == _triples(text, "label")
            assert json.loads(json.dumps(found)) == found
    odd = {"start": 0, "end": 99, "label": "org"}
    with pytest.raises(DataError, match=r"row 0: .*'org' of .* 0 to 99 .*outside.*; mend or drop"):
        pipe({"text": "old music", "spans": [odd]})


PAIR = [mark(0, 1, "org"), mark(1, 2, "org")]


@pytest.mark.parametrize(
    ("rows", "task", "message"),
    [
        ([{"tokens": ["a"], "spans": [mark(0, 2, "x")], "relations": []}], {},
         r"expected some relations in train, found none; check the column"),
        ([{"tokens": ["a", "b"], "spans": PAIR, "relations": [_relation(0, 2, "in")]}], {},
         r"split train, row 0, column spans, relations: .* relation 0 points at span 2, but there"),
        ([{"tokens": ["a"], "spans": PAIR, "relations": [_relation(0, 1, "in")]}], {},
         r"row 0, column spans, relations: task 't': span 'org' of words 1 to 2 is empty or lies"),
        ([{"tokens": ["a", "b"], "spans": PAIR, "relations": [_relation(0, 1, "in")]}],
         {"labels": ["of"]}, r"split train, row 0: task 't' has no label 'in'; its labels are of"),
        ([{"tokens": ["a", "b"], "spans": PAIR, "relations": [_relation(0, 1, "in")]}],
         {"span_labels": ["x"]}, r"split train, row 0, .*: there is no span label 'org'; they are"),
    ],
)  # fmt: skip
def test_a_wrong_row_stops_before_training(
    rows: list[dict[str, Any]], task: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        check(_recipe(tmp_path, rows, **task))
