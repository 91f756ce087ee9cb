import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_hook
from transformers import AutoModel

from mtl_nlp import MultiTaskModel, check, evaluate, pipeline, run_script, train
from mtl_nlp.errors import DataError, ModelError, RecipeError, UserError
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.folder import Run
from mtl_nlp.training.interruption import Stopped
from mtl_nlp.training.publication import UnpublishedError
from tests.hub_server import READER, WRITER, HubServer
from tests.runs import log_of, steps_of, tiny_recipe
from tests.tiny import NOT_LIFTABLE, tiny_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Recipe:
    return tiny_recipe(folder, training__max_steps=4, evaluation__every=2)


@pytest.fixture(scope="module")
def run(recipe: Recipe) -> Run:
    return train(recipe)


def at(recipe: Recipe, output: Path, *changes: str) -> Recipe:
    return recipe.with_overrides([f"output={output}", *changes])


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_folder_is_whole(run: Run) -> None:
    names = set(content(run.path))
    assert names >= {
        *("README.md", "config.json", "log.jsonl", "metrics.json", "model.safetensors"),
        *("plots/draws.png", "plots/losses.png", "plots/metrics.png", "recipe.yaml"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert not [name for name in names if Path(name).name.startswith(".")]
    assert json.loads((run.path / "metrics.json").read_text()) == run.metrics
    assert run.metrics.keys() == {"validation", "test"}
    assert run.metrics["test"].keys() == {"intent", "ner", "topic", "mean"}


def test_the_log_has_the_keys_of_the_interface(run: Run) -> None:
    records = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    assert [record["step"] for record in steps] == [1, 2, 3, 4]
    for record in steps:
        assert record.keys() == {
            *("step", "loss", "losses", "grad_norm", "learning_rate", "rows", "tokens", "seconds")
        }
        assert record["rows"].keys() == {"chat", "news"}
        assert record["losses"].keys() == {"intent", "ner", "topic"}
        assert record["seconds"] > 0
    evaluations = [record for record in records if "evaluation" in record]
    assert [record["step"] for record in evaluations] == [2, 4]
    for record in evaluations:
        assert record.keys() == {"step", "evaluation", "shares"}
        assert record["shares"].keys() == {"chat", "news"}
        assert record["evaluation"]["validation"].keys() == {"intent", "ner", "topic", "mean"}


def test_the_selected_model_is_what_was_scored(run: Run, recipe: Recipe) -> None:
    assert evaluate(run.path, recipe) == {"test": run.metrics["test"]}
    assert evaluate(run.path, recipe, split="validation") == {
        "validation": run.metrics["validation"]
    }
    scores = {
        record["step"]: record["evaluation"]["validation"]
        for record in log_of(run.path)
        if "evaluation" in record
    }
    best = max(scores, key=lambda step: (scores[step]["mean"], -step))
    assert run.metrics["validation"] == scores[best]
    assert (run.path / "model.safetensors").read_bytes() == (
        run.path / "checkpoints" / f"step-{best:06d}" / "model.safetensors"
    ).read_bytes()


def test_it_loads_and_predicts(run: Run) -> None:
    assert isinstance(AutoModel.from_pretrained(run.path), MultiTaskModel)
    predictions = pipeline(run.path)("good city day")
    assert predictions.keys() == {"intent", "ner", "topic"}
    assert predictions["intent"]["label"] in ("praise", "blame")


def test_its_recipe_reproduces_it(run: Run, tmp_path: Path) -> None:
    again = train(Recipe.from_yaml(run.path / "recipe.yaml", [f"output={tmp_path / 'again'}"]))
    assert log_of(again.path) == log_of(run.path)
    assert again.metrics == run.metrics
    one, other = (load_file(path / "model.safetensors") for path in (run.path, again.path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_is_another_run(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    other = train(at(recipe, tmp_path / "other", "seed=14"))
    assert [step["losses"] for step in steps_of(other.path)] != [
        step["losses"] for step in steps_of(run.path)
    ]


def test_a_run_is_not_written_over_by_mistake(run: Run, recipe: Recipe) -> None:
    before = content(run.path)
    with pytest.raises(UserError, match="holds a run; go on with --resume, replace it with"):
        train(recipe)
    assert content(run.path) == before


def test_a_finished_run_is_given_back_at_once(run: Run, recipe: Recipe) -> None:
    before = content(run.path)
    assert train(recipe, resume=True) == run
    assert content(run.path) == before


def test_a_run_killed_before_its_card_gets_it_when_resumed(run: Run, recipe: Recipe) -> None:
    (run.path / "README.md").unlink()
    assert train(recipe, resume=True) == run
    assert "mtl_nlp" in (run.path / "README.md").read_text(encoding="utf-8")


def test_resuming_with_another_recipe_is_refused(run: Run, recipe: Recipe) -> None:
    changed = recipe.with_overrides(["seed=14", "training.learning_rate=0.5"])
    with pytest.raises(UserError, match=r"seed: 13 -> 14; training\.learning_rate: 0\.001 -> 0\.5"):
        train(changed, resume=True)


def test_resume_starts_afresh_where_there_is_nothing(
    run: Run, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = train(at(recipe, tmp_path / "fresh"), resume=True)
    assert "no checkpoint to resume from: starting afresh" in capsys.readouterr().err
    assert log_of(fresh.path) == log_of(run.path)


def test_overwrite_replaces_a_run_but_not_for_a_mistake(recipe: Recipe, tmp_path: Path) -> None:
    short = at(recipe, tmp_path / "run", "training.max_steps=1")
    train(short)
    (tmp_path / "run" / "old.txt").touch()
    before = content(tmp_path / "run")
    missing = short.with_overrides([f"encoder={tmp_path / 'nowhere'}"])
    with pytest.raises(ModelError, match="nowhere"):
        train(missing, overwrite=True)
    assert content(tmp_path / "run") == before
    train(short, overwrite=True)
    assert not (tmp_path / "run" / "old.txt").exists()
    assert len(steps_of(tmp_path / "run")) == 1


def test_a_mistake_leaves_no_folder(recipe: Recipe, tmp_path: Path) -> None:
    wrong = at(recipe, tmp_path / "run", "evaluation.select=ner.accuracy")
    with pytest.raises(RecipeError, match="task 'ner' has no metric 'accuracy'; it has f1"):
        train(wrong)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not empty and holds no run"):
        train(at(recipe, tmp_path), overwrite=True)


def test_a_tracker_that_is_not_installed_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    wrong = at(recipe, tmp_path / "run", "training.trackers=[notes]")
    with pytest.raises(RecipeError, match=r"training\.trackers: 'notes' is not installed or not"):
        train(wrong)
    assert not (tmp_path / "run").exists()


def test_two_runs_in_one_program_may_differ_in_precision(recipe: Recipe, tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        change = f"training.precision={precision}"
        one = train(at(recipe, tmp_path / precision, change, "training.max_steps=2"))
        losses[precision] = [step["loss"] for step in steps_of(one.path)]
    assert losses["fp32"] != losses["bf16"]
    assert losses["fp32"] == pytest.approx(losses["bf16"], rel=0.05)
    weights = load_file(tmp_path / "bf16" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_dropout_of_the_recipe_is_that_of_encoder_and_heads(recipe: Recipe, tmp_path: Path) -> None:
    one = train(at(recipe, tmp_path / "run", "dropout=0.25", "training.max_steps=1"))
    model = MultiTaskModel.from_pretrained(one.path)
    found = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert found == {0.25}


def test_check_tells_the_plan_without_a_trace(recipe: Recipe, tmp_path: Path) -> None:
    report = check(at(recipe, tmp_path / "run"))
    assert report.keys() == {"datasets", "tasks", "steps", "parameters", "warnings"}
    assert report["steps"] == 4
    assert report["datasets"]["chat"]["rows"] == {"train": 60, "validation": 21, "test": 18}
    assert report["datasets"]["chat"]["share"] == pytest.approx(0.6)
    assert report["tasks"]["ner"]["type"] == "token_classification"
    assert report["parameters"]["heads"].keys() == {"intent", "ner", "topic"}
    assert json.loads(json.dumps(report)) == report
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sampling", "share"),  # of chat, which has 60 rows; news has 40
    [
        ("{strategy: uniform}", 0.5),
        ("{strategy: weights, weights: {news: 2, chat: 1}}", 1 / 3),
        ("{strategy: capped, cap: 50}", 5 / 9),
        ("{strategy: main, main: news, ratio: 0.25}", 0.2),
        ("{strategy: annealed}", (0.6 + 60**0.2 / (60**0.2 + 40**0.2)) / 2),
    ],
)
def test_check_tells_the_shares_of_the_strategy(
    recipe: Recipe, tmp_path: Path, sampling: str, share: float
) -> None:
    two_passes = "training.max_steps=14"
    report = check(at(recipe, tmp_path / "run", f"sampling={sampling}", two_passes))
    assert report["datasets"]["chat"]["share"] == pytest.approx(share)
    assert report["datasets"]["news"]["share"] == pytest.approx(1 - share)


def test_sampling_that_changes_goes_on_where_it_was(recipe: Recipe, tmp_path: Path) -> None:
    changes = ["sampling.strategy=annealed", "training.max_steps=21", "training.checkpoint_every=9"]
    changes += ["evaluation.every=21"]
    whole = train(at(recipe, tmp_path / "whole", *changes)).path
    rows = [step["rows"]["chat"] for step in steps_of(whole)]
    assert sum(rows[:7]) > sum(rows[7:14]) > sum(rows[14:])
    stopped = Path(shutil.copytree(whole, tmp_path / "stopped"))
    for checkpoint in checkpoints(stopped / "checkpoints"):
        if checkpoint.step > 18:
            shutil.rmtree(checkpoint.path)
    for file in ("metrics.json", "model.safetensors", "README.md"):
        (stopped / file).unlink()
    written = (whole / "recipe.yaml").read_text().replace(str(whole), str(stopped))
    (stopped / "recipe.yaml").write_text(written)
    assert train(at(recipe, stopped, *changes), resume=True).path == stopped
    assert log_of(stopped) == log_of(whole)
    one, other = (load_file(path / "model.safetensors") for path in (stopped, whole))
    assert all(one[name].equal(other[name]) for name in other)


def test_check_counts_the_parameters_that_training_makes(run: Run, recipe: Recipe) -> None:
    model = MultiTaskModel.from_pretrained(run.path)
    assert check(recipe)["parameters"] == {
        "encoder": sum(p.numel() for p in model.encoder.parameters()),
        "heads": {
            name: sum(p.numel() for p in head.parameters()) for name, head in model.heads.items()
        },
    }


@pytest.mark.parametrize("architecture", NOT_LIFTABLE)
def test_check_counts_the_heads_that_training_falls_back_to(
    architecture: str, recipe: Recipe, tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", architecture)
    counted = check(at(recipe, tmp_path / "run", f"encoder={encoder}"))["parameters"]
    words = [f"encoder={encoder}", "training.max_steps=1", "training.precision=fp32"]
    model = MultiTaskModel.from_pretrained(train(at(recipe, tmp_path / "run", *words)).path)
    assert counted["encoder"] == sum(p.numel() for p in model.encoder.parameters())
    assert counted["heads"] == {
        name: sum(p.numel() for p in head.parameters()) for name, head in model.heads.items()
    }


def test_evaluate_refuses_tasks_and_splits_that_are_not_there(
    run: Run, recipe: Recipe, folder: Path
) -> None:
    spec = recipe.tasks["topic"]
    other = recipe.model_copy(update={"tasks": {**recipe.tasks, "subject": spec}})
    with pytest.raises(RecipeError, match=r"tasks\.subject: the model has no text_classification"):
        evaluate(run.path, other)
    files = {"train": [str(folder / "news-train.jsonl")]}
    news = recipe.datasets["news"].model_copy(update={"data_files": files})
    only = recipe.model_copy(update={"datasets": {"news": news}, "tasks": {"topic": spec}})
    with pytest.raises(RecipeError, match="none of the recipe's datasets has the split 'test'"):
        evaluate(run.path, only)


def test_evaluate_needs_no_train_split_but_labels(
    run: Run, recipe: Recipe, folder: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (folder / "news-test.jsonl").read_text().splitlines()]
    path = tmp_path / "test.jsonl"
    news = recipe.datasets["news"].model_copy(update={"data_files": {"test": [str(path)]}})
    tasks = {"topic": recipe.tasks["topic"]}
    only = recipe.model_copy(update={"datasets": {"news": news}, "tasks": tasks})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate(run.path, only)["test"]["topic"] == run.metrics["test"]["topic"]
    path.write_text("".join(json.dumps({**row, "topic": None}) + "\n" for row in rows))
    with pytest.raises(DataError, match="no row of test has a label of topic"):
        evaluate(run.path, only)


def test_evaluate_tells_labels_that_the_model_lacks(
    run: Run,
    recipe: Recipe,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [json.loads(line) for line in (folder / "news-test.jsonl").read_text().splitlines()]
    odd = [{**row, "topic": "aside"} for row in rows[:2]] + rows[2:]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in odd))
    news = recipe.datasets["news"].model_copy(update={"data_files": {"test": [str(path)]}})
    tasks = {"topic": recipe.tasks["topic"]}
    only = recipe.model_copy(update={"datasets": {"news": news}, "tasks": tasks})
    found = evaluate(run.path, only)["test"]["topic"]["accuracy"]
    output = capsys.readouterr()
    assert found <= 1 - 2 / len(rows)
    assert output.err.count("task 'topic': labels that the model lacks") == 1
    assert "aside (2)" in output.err
    assert output.out == ""


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)


@pytest.mark.usefixtures("logged_in")
def test_a_run_is_published_at_its_end(recipe: Recipe, hub: HubServer, tmp_path: Path) -> None:
    one = train(at(recipe, tmp_path / "run", "hub={repo_id: tester/model}"))
    published = hub.files("tester/model")
    for name in ("model.safetensors", "config.json", "tokenizer.json", "metrics.json", "README.md"):
        assert published[name] == (one.path / name).read_bytes()
    assert "plots/losses.png" in published
    assert not [name for name in published if name.startswith(("checkpoints", "log"))]
    assert str(tmp_path) not in published["recipe.yaml"].decode()
    assert len(hub.commits("tester/model")) == 2  # the Hub's own, and ours


@pytest.mark.usefixtures("logged_in")
def test_checkpoints_are_published_as_they_come(
    recipe: Recipe, hub: HubServer, tmp_path: Path
) -> None:
    hub_words = "hub={repo_id: tester/model, push: checkpoint}"
    train(at(recipe, tmp_path / "run", hub_words, "training.checkpoint_every=1"))
    titles = [commit.title for commit in hub.commits("tester/model")][1:]
    assert titles == ["Step 1", "Step 2", "Step 3", "Step 4", "Upload model"]
    assert not [name for name in hub.files("tester/model") if "optimizer" in name]


def test_what_is_not_to_be_published_stays(recipe: Recipe, hub: HubServer, tmp_path: Path) -> None:
    words = "hub={repo_id: tester/model, push: never}"
    train(at(recipe, tmp_path / "run", words, "training.max_steps=1"))
    assert hub.requests == []


@pytest.mark.parametrize("push", ["end", "checkpoint"])
def test_a_push_that_fails_costs_no_run_and_says_how_to_push_again(
    recipe: Recipe,
    run: Run,
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    push: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    published = at(recipe, tmp_path / "run", f"hub={{repo_id: tester/model, push: {push}}}")
    again = r"push it again with: mtl-nlp push .*run tester/model"
    with pytest.raises(UnpublishedError, match=again) as failure:
        train(published)
    assert failure.value.run == Run(tmp_path / "run", run.metrics)
    told = capsys.readouterr().err.count("this checkpoint was not published")
    assert told == (0 if push == "end" else len(checkpoints(tmp_path / "run" / "checkpoints")))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == run.metrics
    assert content(tmp_path / "run").keys() >= content(run.path).keys() - {"log.jsonl"}
    with pytest.raises(UnpublishedError, match="push it again with") as failure:
        train(published, resume=True)
    assert failure.value.run.metrics == run.metrics
    monkeypatch.setenv("HF_TOKEN", WRITER)
    assert train(published, resume=True).metrics == run.metrics
    assert "metrics.json" in hub.files("tester/model")
    assert ".published" not in hub.files("tester/model")
    hub.requests.clear()
    assert train(published, resume=True).metrics == run.metrics
    assert not hub.requests


def test_a_script_takes_the_words_of_the_command_line(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [f"output={tmp_path / 'run'}", "training.max_steps=1"]
    monkeypatch.setattr(sys, "argv", ["recipe.py", *words])
    assert run_script(recipe).path == tmp_path / "run"
    assert "accuracy" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^2$"):
        run_script(recipe)
    told = capsys.readouterr().err
    assert "error: output: " in told
    assert "holds a run" in told
    assert "Traceback" not in told
    monkeypatch.setattr(sys, "argv", ["recipe.py", *words, "--resume"])
    assert len(steps_of(run_script(recipe).path)) == 1
    capsys.readouterr()
    sys.argv.append("hub.repo_id=tester/model")
    with pytest.raises(SystemExit, match=r"^2$"):
        run_script(recipe)
    output = capsys.readouterr()
    assert "accuracy" in output.out
    assert "error: " in output.err


def test_a_script_with_a_misspelt_word_is_told_the_nearest(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe.py", "training.epoch=1"])
    with pytest.raises(SystemExit, match=r"^2$"):
        run_script(recipe)
    assert "error: training.epoch: unknown key; did you mean `epochs`?" in capsys.readouterr().err


@pytest.mark.parametrize("step", [1, 3, 4], ids=["first", "third", "last"])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    recipe: Recipe, run: Run, tmp_path: Path, step: int
) -> None:
    interrupted = at(recipe, tmp_path / "run")
    seen = 0

    def press(module: Any, *_: Any) -> None:
        nonlocal seen
        if isinstance(module, MultiTaskModel) and module.training:
            seen += 1
            if seen == step:
                signal.raise_signal(signal.SIGTERM)

    handle = register_module_forward_hook(press)
    try:
        with pytest.raises(
            Stopped, match=rf"at step {step}; checkpoint .*step-00000{step}"
        ) as raised:
            train(interrupted)
    finally:
        handle.remove()
    assert raised.value.signum == signal.SIGTERM
    assert len(steps_of(tmp_path / "run")) == step
    assert not (tmp_path / "run" / "metrics.json").exists()
    resumed = train(interrupted, resume=True)
    assert log_of(resumed.path) == log_of(run.path)
    assert resumed.metrics == run.metrics
