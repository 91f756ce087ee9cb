"""What validation teaches a task stays with the weights that it was taught for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_nlp import MultiTaskModel, Recipe, evaluate, pipeline, train
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.run import prepare
from mtl_nlp.tasks.multi_label_classification import MultiLabelClassification
from mtl_nlp.tasks.question_answering import QuestionAnswering
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.views import PLAIN
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.evaluation import evaluate_rows
from mtl_nlp.training.folder import Run
from mtl_nlp.training.tuning import set_tasks, tune_tasks
from tests.ranks import Ranks, told
from tests.runs import log_of, tiny_model, tiny_recipe

ABOUT = ("city", "film", "movie")  # in the order of the alphabet, as they are learned


def recipe_in(folder: Path, **changes: Any) -> Recipe:
    """The tiny recipe with subjects for tags; every fifth row of ``chat`` lacks them."""
    about = {"type": "multi_label_classification", "dataset": ["chat", "news"], "labels": "about"}
    intent = {"type": "text_classification", "dataset": "chat", "label": "intent"}
    recipe = tiny_recipe(folder, tasks={"about": about, "intent": intent}, **changes)
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            found = [word for word in ABOUT if word in row["tokens"]]
            row["about"] = None if number % 5 == 0 and path.name.startswith("chat") else found
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipe_in(
        tmp_path_factory.mktemp("tuning"),
        training__max_steps=12,
        training__learning_rate=1e-2,
        training__keep_checkpoints=9,
        evaluation__every=2,
    )


@pytest.fixture(scope="module")
def run(recipe: Recipe) -> Run:
    return train(recipe)


def thresholds(folder: Path) -> tuple[float, ...]:
    task = MultiTaskModel.from_pretrained(folder).tasks["about"]
    assert isinstance(task, MultiLabelClassification)
    return task.thresholds


def test_a_task_without_anything_to_tune_costs_no_pass() -> None:
    answered = QuestionAnswering(name="qa")
    assert not answered.tunes
    assert replace(answered, null_threshold=0.0).tunes
    assert MultiLabelClassification(name="about", labels=ABOUT).tunes
    assert not TextClassification(name="intent", labels=ABOUT).tunes


def test_a_task_is_tuned_on_all_labelled_rows_of_all_datasets(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(recipe)
    model = tiny_model(prepared)
    rows = prepared.labelled("validation")
    whole, seen = MultiLabelClassification.tune, []

    def tune(task: Any, logits: np.ndarray, encodings: Any, references: Any) -> Any:
        seen.append((logits, encodings, references))
        return whole(task, logits, encodings, references)

    monkeypatch.setattr(MultiLabelClassification, "tune", tune)
    predictor = Predictor(model, prepared.encoder, 4)
    before = evaluate_rows(predictor, rows)["about"]["micro_f1"]
    tune_tasks(predictor, rows)
    ((logits, encodings, references),) = seen
    right = [one for each in rows for one in each.references["about"]]
    assert references == [one for one in right if one is not None]
    assert 0 < len(references) < len(right)
    texts = [row.words.text for each in rows for row in each.encoded[PLAIN].rows]
    known = [text for text, one in zip(texts, right, strict=True) if one is not None]
    assert [one.row.words.text for one in encodings] == known
    scores = [one["about"] for one in Predictor(model, prepared.encoder).predict(
        [{"text": text} for text in known], ["about"]
    )]  # fmt: skip
    above = [
        {
            name
            for name, p, t in zip(ABOUT, row, model.tasks["about"].thresholds, strict=True)
            if p > t
        }
        for row in 1 / (1 + np.exp(-logits))
    ]
    assert [{one["label"] for one in row} for row in scores] == above
    assert evaluate_rows(predictor, rows)["about"]["micro_f1"] > before


def test_tuning_leaves_the_order_of_tasks_and_what_is_not_tuned(recipe: Recipe) -> None:
    prepared = prepare(recipe)
    model = tiny_model(prepared)
    intent = model.tasks["intent"]
    tune_tasks(Predictor(model, prepared.encoder), prepared.labelled("validation"))
    assert list(model.tasks) == [task["name"] for task in model.config.tasks] == ["about", "intent"]
    assert model.tasks["intent"] is intent
    assert model.config.build_tasks() == model.tasks
    assert model.tasks["about"].thresholds


def test_types_that_do_not_tune_cost_no_pass(recipe: Recipe) -> None:
    prepared = prepare(recipe)
    model = tiny_model(prepared)
    model.remove_task("about")
    before = dict(model.tasks)
    predictor = Predictor(model, prepared.encoder)
    model.register_forward_hook(lambda *_: pytest.fail("a forward"))
    tune_tasks(predictor, prepared.labelled("validation"))
    set_tasks(model, {})
    assert model.tasks == before


def test_every_checkpoint_and_the_run_keep_their_own_thresholds(run: Run, recipe: Recipe) -> None:
    found = {one.step: thresholds(one.path) for one in checkpoints(run.path / "checkpoints")}
    assert len(found) > 1
    assert len(set(found.values())) > 1
    scores = {
        record["step"]: record["evaluation"]["validation"]
        for record in log_of(run.path)
        if "evaluation" in record
    }
    best = max(scores, key=lambda step: (scores[step]["mean"], -step))
    assert thresholds(run.path) == found[best]
    assert run.metrics["validation"] == scores[best]
    for split in ("validation", "test"):
        assert evaluate(run.path, recipe, split=split) == {split: run.metrics[split]}


def test_the_run_predicts_lists_of_labels(run: Run) -> None:
    limits = dict(zip(ABOUT, thresholds(run.path), strict=True))
    predictions = pipeline(run.path)(["good city film movie", "bad day"], tasks=["about"])
    assert all(one["score"] > limits[one["label"]] for row in predictions for one in row["about"])
    assert any(row["about"] for row in predictions)


@pytest.mark.slow
def test_two_processes_tune_alike(recipe: Recipe, run: Run) -> None:
    ranks = Ranks(recipe.with_overrides([f"output={run.path.parent / 'two'}"]))
    assert ranks.join() == [0, 0], told(ranks.folder)
    found = {one.step: thresholds(one.path) for one in checkpoints(ranks.folder / "checkpoints")}
    alone = {one.step: thresholds(one.path) for one in checkpoints(run.path / "checkpoints")}
    assert found.keys() == alone.keys()
    for step in found:
        assert found[step] == pytest.approx(alone[step], abs=1e-3)
    # Every process scored its share of the rows by the thresholds that were then saved.
    model = ranks.folder
    for split in ("validation", "test"):
        scores = json.loads((model / "metrics.json").read_text())[split]
        found_alone = evaluate(model, recipe, split=split)[split]
        assert found_alone["about"] == pytest.approx(scores["about"])


def test_a_resumed_run_has_the_same_thresholds_and_scores(recipe: Recipe, run: Run) -> None:
    folder = run.path.parent / "resumed"
    half = recipe.with_overrides([f"output={folder}"])
    train(half)
    # As if it had been killed after its fourth step, within checkpoints and not finished.
    for name in ("metrics.json", "model.safetensors", "config.json", "README.md"):
        (folder / name).unlink()
    for one in checkpoints(folder / "checkpoints"):
        if one.step > 4:
            for path in one.path.iterdir():
                path.unlink()
            one.path.rmdir()
    resumed = train(half, resume=True)
    assert log_of(folder) == log_of(run.path)
    assert resumed.metrics == run.metrics
    for one, other in zip(
        checkpoints(folder / "checkpoints"), checkpoints(run.path / "checkpoints"), strict=True
    ):
        for name in ("config.json", "model.safetensors", "state.json"):
            assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
