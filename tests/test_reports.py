"""What people read: plain text where there is no terminal, nothing lost in it."""

from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.recipe import HubSpec, Recipe
from mtl_nlp.reports import plan, trained
from tests.screens import rows_of, shown

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


def test_a_decoder_is_told_of_beside_the_heads() -> None:
    parameters = {**PLAN["parameters"], "decoder": 1_234_567}
    told = shown(plan({**PLAN, "parameters": parameters}, RECIPE))
    assert ["decoder", "1.2", "M", "parameters"] in rows_of(told)
    assert "decoder" not in shown(plan(PLAN, RECIPE))


def test_how_many_parameters_learn_is_told_where_some_do_not() -> None:
    parameters = {**PLAN["parameters"], "learning": 1_234_567}
    told = shown(plan({**PLAN, "parameters": parameters}, RECIPE))
    assert "1.2 M parameters; the rest is frozen" in told
    assert "frozen" not in shown(plan(PLAN, RECIPE))


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
