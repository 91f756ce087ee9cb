"""Every kind of label a text can have, from files to predictions, in one small run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mtl_nlp import MultiTaskModel, Recipe, check, evaluate, pipeline, train
from mtl_nlp.heads.stock import lay_anew, probe
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.run import prepare
from mtl_nlp.training.folder import Run
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

TASKS: dict[str, dict[str, Any]] = {
    "about": {"type": "multi_label_classification", "labels": "about", "class_weights": "balanced"},
    "length": {"type": "regression", "label": "length", "bounds": [0, 30], "criterion": "huber"},
    "mood": {"type": "soft_classification", "label": "mood"},
    "intent": {
        "type": "text_classification",
        "label": "intent",
        "class_weights": "balanced",
        "label_smoothing": 0.1,
        "focal": 1.0,
    },
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("texts")
    made = tiny_recipe(
        folder,
        tasks={name: {**task, "dataset": "chat"} for name, task in TASKS.items()},
        datasets={"chat": tiny_recipe(folder).model_dump()["datasets"]["chat"]},
        training__max_steps=8,
        training__learning_rate=1e-2,
        evaluation__every=4,
    )
    for path in folder.glob("chat-*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            good = row["tokens"][0] == "good"
            row["about"] = [word for word in ("city", "film") if word in row["tokens"]]
            row["length"] = len(row["tokens"])
            row["mood"] = {"up": 0.75 if good else 0.25, "down": 0.25 if good else 0.75}
            for task in ("about", "length", "mood"):
                row[task] = row[task] if number % 7 else None
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture(scope="module")
def run(recipe: Recipe) -> Run:
    return train(recipe)


def test_the_plan_tells_of_them(recipe: Recipe) -> None:
    report = check(recipe)
    assert report["tasks"]["length"]["labels"]["train"] == {}
    assert report["tasks"]["about"]["labels"]["train"].keys() == {"city", "film"}
    assert report["tasks"]["mood"]["missing"]["train"] == 9
    assert report["parameters"]["heads"].keys() == TASKS.keys()


def test_they_are_scored_saved_and_loaded(run: Run, recipe: Recipe) -> None:
    for name, scores in run.metrics["test"].items():
        if name != "mean":
            assert (
                tuple(scores) == MultiTaskModel.from_pretrained(run.path).tasks[name].metric_names
            )
    assert run.metrics["test"]["length"]["spearman"] > 0.5
    found = evaluate(run.path, recipe)["test"]
    for name in TASKS:
        assert found[name] == pytest.approx(run.metrics["test"][name], abs=1e-6)


def test_they_predict_what_pipelines_do(run: Run) -> None:
    found = pipeline(run.path)("good city film day")
    assert {type(one["label"]) for one in found["about"]} <= {str}
    assert found["length"].keys() == {"score"}
    assert 0 <= found["length"]["score"] <= 30
    assert found["mood"]["label"] in ("up", "down")
    assert 0.5 <= found["mood"]["score"] <= 1
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("task", TASKS)
def test_they_are_exported_as_what_they_are(run: Run, task: str, tmp_path: Path) -> None:
    model = MultiTaskModel.from_pretrained(run.path)
    export_transformers(model, task, tmp_path / "out")
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    kinds = {"about": "multi_label_classification", "length": "regression"}
    assert stock.config.problem_type == kinds.get(task)
    assert tuple(stock.config.id2label.values()) == model.tasks[task].logit_names
    lay_anew(stock)
    batch = probe(model.encoder)
    with torch.no_grad():
        logits = model(**batch, tasks=[task]).logits[task]
        assert torch.equal(stock(**batch).logits, logits)
    taken = MultiTaskModel.from_transformers(tmp_path / "out", name="again")
    same = "text_classification" if task == "mood" else model.tasks[task].type
    assert taken.tasks["again"].type == same


def test_a_step_is_the_same_however_it_is_cut(recipe: Recipe, tmp_path: Path) -> None:
    prepared = prepare(recipe)
    for cut in (16, 5):
        model = tiny_model(prepared)
        tiny_loop(prepared, model, tmp_path / str(cut), micro_batch_size=cut, max_steps=3).run()
    for one, other in zip(steps_of(tmp_path / "16"), steps_of(tmp_path / "5"), strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
