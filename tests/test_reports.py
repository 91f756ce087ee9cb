"""What people read: plain text where there is no terminal, nothing lost in it."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mtl_nlp.inference.input_files import RowFile
from mtl_nlp.prediction_reports import prediction, reading
from mtl_nlp.recipe import HubSpec, Recipe
from mtl_nlp.reports import plan, trained
from mtl_nlp.tasks import TASK_TYPES
from mtl_nlp.type_reports import describe_type, task_types

RECIPE = Recipe(
    encoder="org/encoder",
    output="runs/x",
    datasets={"reviews": {"path": "org/reviews", "text": "text"}},
    tasks={"mood": {"type": "text_classification", "dataset": "reviews", "label": "mood"}},
)
PLAN: dict[str, Any] = {
    "datasets": {"reviews": {"rows": {"train": 3200, "test": 10}, "share": 1.0}},
    "tasks": {
        "mood": {
            "type": "text_classification",
            "labels": {"train": {"bad": 1200, "good": 1990}, "test": {"bad": 4, "fine": 6}},
            "missing": {"train": 10, "test": 0},
            "truncated": 0.25,
        }
    },
    "steps": 300,
    "parameters": {"encoder": 22_713_216, "heads": {"mood": 770}},
    "warnings": ["[label] 'fine' is only in test"],
}


def shown(parts: Iterable[RenderableType], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_decoder_is_told_of_beside_the_heads() -> None:
    parameters = {**PLAN["parameters"], "decoder": 1_234_567}
    told = shown(plan({**PLAN, "parameters": parameters}, RECIPE))
    assert ["decoder", "1.2", "M", "parameters"] in rows_of(told)
    assert "decoder" not in shown(plan(PLAN, RECIPE))


def test_an_embedding_is_not_spelt_out() -> None:
    told = shown(prediction("A text.", {"alike": {"embedding": [0.25] * 384}}))
    assert rows_of(told)[1][:5] == ["alike", "embedding", "of", "384", "numbers"]
    assert "0.25" not in told


def test_a_default_of_nothing_is_none() -> None:
    told = shown(task_types({"x": describe_type(TASK_TYPES["text_generation"])}))
    assert "(default ())" not in told
    assert "(default )" not in told


def test_brackets_in_meanings_are_no_markup() -> None:
    described = describe_type(TASK_TYPES["question_answering"])
    described["column_meanings"]["answers"] = "lists [text] of {text: [a]}"
    described["options"]["max_answer"]["meaning"] = "at most [bold] words"
    told = shown(task_types({"question_answering": described}))
    assert "lists [text] of {text: [a]}" in told
    assert "at most [bold] words" in told


def test_a_plan_has_every_number() -> None:
    rows = rows_of(shown(plan(PLAN, RECIPE)))
    for expected in (
        ["reviews", "3,200", "10", "100.0%"],
        ["mood", "text_classification"],
        ["good", "1,990", "0"],
        ["bad", "1,200", "4"],
        ["fine", "0", "6"],
        ["rows", "without", "label", "10", "0"],
        ["rows", "that", "are", "cut", "25.0%"],
        ["training", "300", "steps", "of", "32", "rows,", "3", "passes"],
        ["encoder", "org/encoder,", "22.7", "M", "parameters"],
        ["heads", "mood", "770", "parameters"],
        ["output", "runs/x"],
        ["1", "warning"],
        ["!", "[label]", "'fine'", "is", "only", "in", "test"],
    ):
        assert expected in rows
    assert rows.index(["good", "1,990", "0"]) < rows.index(["bad", "1,200", "4"])


def test_a_plan_counts_rare_labels_together() -> None:
    counts = {f"label{i:03}": 200 - i for i in range(100)}
    task = {**PLAN["tasks"]["mood"], "labels": {"train": counts, "test": {}}}
    rows = rows_of(shown(plan({**PLAN, "tasks": {"mood": task}, "warnings": []}, RECIPE)))
    assert ["label011", "189", "0"] in rows
    assert ["88", "more", f"{sum(200 - i for i in range(12, 100)):,}", "0"] in rows
    assert ["no", "warnings"] in rows


def test_entities_are_marked_where_they_stand() -> None:
    text = "Anna [sic] loved 😩 Berlin."
    entities = [
        {"entity_group": "person", "word": "Anna", "score": 0.987, "start": 0, "end": 4},
        {"entity_group": "place", "word": "Berlin", "score": 0.5, "start": 19, "end": 25},
    ]
    told = shown(prediction(text, {"mood": {"label": "good", "score": 0.9}, "ner": entities}))
    lines = [line.strip() for line in told.splitlines()]
    assert lines[:2] == [text, "mood  good  0.90"]
    assert lines[2] == "ner   [Anna person 0.99] [sic] loved 😩 [Berlin place 0.50]."


@pytest.mark.parametrize(
    ("predicted", "told"),
    [
        ([], "none"),
        ({"words": ["a", "b"], "tags": ["DET", "[X]"]}, "a/DET b/[X]"),
        ({"score": 0.5}, '{"score": 0.5}'),
    ],
)
def test_a_prediction_is_shown_by_its_shape(predicted: Any, told: str) -> None:
    assert (
        shown(prediction("a b", {"it": predicted})).splitlines()[1].split("it", 1)[1].strip()
        == told
    )


def test_a_run_tells_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    never, open_ = HubSpec(repo_id="org/x", push="never"), HubSpec(private=False)

    def told(folder: Path, **changes: Any) -> str:
        return shown(trained(folder, RECIPE.model_copy(update=changes)), width=300)

    assert "mtl-nlp predict 'my run' \"A text.\"" in told(tmp_path / "my run", hub=never)
    assert "mtl-nlp push 'my run' org/x --private" in told(tmp_path / "my run", hub=never)
    assert told(tmp_path / "run", hub=open_).rstrip().endswith("mtl-nlp push run org/name")
    assert "mtl-nlp push" not in told(tmp_path / "run", hub=HubSpec(repo_id="org/x"))
    assert "/elsewhere/run" in told(Path("/elsewhere/run"))
    pairs = RECIPE.datasets["reviews"].model_copy(update={"text_pair": "other"})
    assert "mtl-nlp predict run --input rows.jsonl\n" in told(
        tmp_path / "run", datasets={"nli": pairs}
    )
    both = {**RECIPE.datasets, "nli": pairs}
    assert '"A text."' in told(tmp_path / "run", datasets=both)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_every_task_type_is_described(name: str) -> None:
    described = describe_type(TASK_TYPES[name])
    told = shown(task_types({name: described}), width=200)
    assert described["summary"] in told
    columns = [column for way in described["columns"] for column in way]
    inputs = [" + ".join(way) for way in described["input"]]
    assert inputs
    for word in (*described["metrics"], *described["options"], *columns, *inputs):
        assert word in told
    meanings = [option["meaning"] for option in described["options"].values()]
    for meaning in (*described["column_meanings"].values(), *meanings):
        assert meaning in told.replace("\n", " ") or len(meaning) > 150  # those are wrapped


def test_a_bar_does_not_swallow_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    for quiet in (False, True):
        with reading(RowFile(str(tmp_path / "in.txt")), quiet=quiet) as rows:
            for row in rows:
                print(row.record["text"])
        output = capsys.readouterr()
        assert output.out == "one\ntwo\n"
        assert ("in.txt" in output.err) != quiet
