"""Shares planned and drawn as they are told, and shares that follow scores."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mtl_nlp.data.strategies import STRATEGIES
from mtl_nlp.errors import RecipeError
from mtl_nlp.hub.run_folder import RunFolder
from mtl_nlp.run import check
from mtl_nlp.training.draws import lags_behind
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import log_of, tiny_loop, tiny_model, tiny_recipe

OPTIONS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 3.0},
    "main": {"main": "news", "ratio": 0.5},
    "dynamic": {"targets": {"intent": 0.9, "topic": 0.5}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("draws")


def prepared(folder: Path, strategy: str) -> Prepared:
    sampling = {"strategy": strategy, **OPTIONS.get(strategy, {})}
    return prepare(tiny_recipe(folder, sampling=sampling, evaluation__every=4))


@pytest.mark.parametrize("strategy", ["main", "temperature", "annealed", "dynamic"])
def test_screen_log_and_card_tell_what_was_planned_and_drawn(
    folder: Path, tmp_path: Path, strategy: str
) -> None:
    recipe, screen = prepared(folder, strategy), io.StringIO()
    loop = tiny_loop(
        recipe, tiny_model(recipe), tmp_path, Console(file=screen, width=300), max_steps=16
    )
    loop.run()
    rows = dict.fromkeys(recipe.train, 0)
    for record in log_of(tmp_path):
        for name, number in record.get("rows", {}).items():
            rows[name] += number
        if "evaluation" not in record:
            continue
        for name, share in record["shares"].items():
            assert share["drawn"] == rows[name] / sum(rows.values())
            assert abs(share["drawn"] - share["planned"]) * sum(rows.values()) < 1
    last = log_of(tmp_path)[-1]["shares"]
    assert RunFolder(tmp_path).training.planned == {n: s["planned"] for n, s in last.items()}
    final = screen.getvalue().rsplit("rows ", 1)[1]
    told = re.findall(r"(\w+) (\d+)/\d+ \(([\d.]+)%, planned ([\d.]+)%, ", final)
    assert [(name, int(number)) for name, number, *_ in told] == list(rows.items())
    for name, _, drawn, planned in told:
        assert drawn == f"{100 * last[name]['drawn']:.1f}"
        assert float(planned) == pytest.approx(100 * last[name]["planned"], abs=0.5)
    if STRATEGIES[strategy].follows == "lags":
        moves = [line for line in screen.getvalue().splitlines() if line.startswith("shares of")]
        assert len(set(moves)) > 1


def test_a_dataset_lags_as_far_as_its_worst_task() -> None:
    datasets = {"ner": ["news", "chat"], "topic": ["news"], "intent": ["chat"]}
    scores = {"ner": 0.3, "topic": 0.9, "intent": 0.0}
    lags = lags_behind({"ner": 0.4, "topic": 0.9}, scores, datasets)
    assert lags == pytest.approx({"news": 0.25, "chat": 0.25})
    lags = lags_behind({"topic": 0.9, "intent": 0.5, "ner": 0.4}, scores, datasets)
    assert lags == pytest.approx({"news": 0.25, "chat": 1.0})


def test_a_target_needs_a_score_on_validation(folder: Path) -> None:
    files = {"train": str(folder / "news-train.jsonl"), "validation": str(folder / "bare.jsonl")}
    (folder / "bare.jsonl").write_text('{"tokens": ["good"], "topic": null, "tags": null}\n')
    sampling = {"strategy": "dynamic", "targets": {"intent": 0.9, "topic": 0.5}}
    recipe = tiny_recipe(folder, sampling=sampling, datasets__news__data_files=files)
    with pytest.raises(RecipeError, match=r"sampling\.targets: task 'topic' has no labelled row"):
        check(recipe)
    hidden = {"type": "masked_language_modeling", "dataset": "news"}
    sampling["targets"] = {"intent": 0.9, "hidden": 0.5}
    with pytest.raises(RecipeError, match=r"perplexity of task 'hidden' is no score between 0"):
        check(tiny_recipe(folder, sampling=sampling, tasks__hidden=hidden))
