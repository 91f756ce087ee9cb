"""Each command on a tiny model: its JSON, what people read, its exit status."""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification

from mtl_nlp.cli import main
from tests.hub_server import WRITER, HubServer
from tests.runs import tiny_recipe

COMMANDS = ["check", "train", "evaluate", "predict", "export", "push", "card", "tasks"]
TEXTS = ["the good city", "Anna 😩 was bad"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with recipe.yaml and a run of it, and what `train --json` printed."""
    folder = tmp_path_factory.mktemp("cli")
    recipe = tiny_recipe(folder, training__max_steps=4, evaluation__every=2)
    recipe.to_yaml(folder / "recipe.yaml")
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert main(["train", str(folder / "recipe.yaml"), "--json"]) == 0
    return folder, json.loads(told.getvalue())


@pytest.fixture
def folder(trained: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained[0])
    return trained[0]


def documents(capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    """What a command that ends well prints with --json, a document a line."""
    assert main([*words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        told = printed(capsys, *words)
        assert all(f"\n  {command} " in told for command in COMMANDS)
    assert printed(capsys, "--version").startswith("mtl-nlp 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_helps(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, command, "--help")
    assert told.startswith(f"usage: mtl-nlp {command} ")
    assert "--json" in told
    assert "--debug" in told


def test_check_prints_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plan,) = documents(capsys, "check", "recipe.yaml")
    assert list(plan) == ["datasets", "tasks", "steps", "parameters", "warnings"]
    assert plan["steps"] == 4
    assert plan["datasets"]["chat"]["rows"] == {"train": 60, "validation": 21, "test": 18}
    assert sum(spec["share"] for spec in plan["datasets"].values()) == pytest.approx(1)
    for task in plan["tasks"].values():
        assert list(task) == ["type", "labels", "missing", "truncated"]
        assert task["labels"].keys() == task["missing"].keys() == {"train", "validation", "test"}
    assert plan["tasks"]["topic"]["labels"]["train"].keys() == {"up", "down"}
    assert plan["parameters"].keys() == {"encoder", "heads"}
    assert plan["parameters"]["heads"].keys() == plan["tasks"].keys()
    assert all(isinstance(warning, str) for warning in plan["warnings"])


def test_check_is_readable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "check", "recipe.yaml", "training.epochs=2", "training.batch_size=10")
    for expected in ("chat", "news", "intent", "praise", "rows without label", "parameters"):
        assert expected in told
    assert "20 steps of 10 rows, 2 passes" in told


def test_train_tells_where_the_model_is(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, told = trained
    assert told["path"] == str(folder / "run")
    assert told["metrics"] == json.loads((folder / "run" / "metrics.json").read_text())
    assert told["metrics"].keys() == {"validation", "test"}
    assert told["metrics"]["test"].keys() == {"intent", "ner", "topic", "mean"}


def test_a_finished_run_is_resumed_at_once(
    folder: Path, trained: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert documents(capsys, "train", "recipe.yaml", "--resume") == [trained[1]]
    told = printed(capsys, "train", "recipe.yaml", "--resume")
    assert 'mtl-nlp predict run "A text."' in told
    assert "mtl-nlp push run org/name --private" in told
    assert "accuracy" in told


@pytest.mark.parametrize("json_words", [[], ["--json"]])
def test_a_run_that_is_not_published_tells_its_scores_before_the_error(
    folder: Path, trained: tuple[Path, dict[str, Any]], hub: HubServer, json_words: list[str]
) -> None:
    words = ["train", "recipe.yaml", "--resume", "hub.repo_id=team/tiny", *json_words]
    ended = subprocess.run(
        [sys.executable, "-m", "mtl_nlp", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    *told, error = ended.stdout.splitlines()
    run = folder / "run"
    again = f"push it again with: mtl-nlp push {run} team/tiny --private"
    assert error.startswith(f"error: {run} was not pushed to team/tiny: no token was found; log in")
    assert error.endswith(again)
    if json_words:
        assert [json.loads(line) for line in told] == [trained[1]]
    else:
        assert "accuracy" in "".join(told)
        assert "mean" in "".join(told)
        assert 'mtl-nlp predict run "A text."' in told[-1]


def test_options_stand_anywhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--resume", "recipe.yaml", "seed=13", "--json", "training.batch_size=16"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(folder / "run")


def test_evaluate_gives_the_runs_scores(
    folder: Path, trained: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (scores,) = documents(capsys, "evaluate", "run", "recipe.yaml")
    assert scores == {"test": trained[1]["metrics"]["test"]}
    told = printed(capsys, "evaluate", "run", "recipe.yaml", "--split", "validation")
    assert "validation" in told
    assert "accuracy" in told


def test_predict_gives_a_line_a_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = documents(capsys, "predict", "run", *TEXTS)
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        assert list(row["predictions"]) == ["intent", "ner", "topic"]
        assert row["predictions"]["intent"].keys() == {"label", "score"}
        for entity in row["predictions"]["ner"]:
            assert list(entity) == ["entity_group", "word", "score", "start", "end"]
            assert row["text"][entity["start"] : entity["end"]] == entity["word"]


def test_predict_is_readable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "predict", "run", "--tasks", "topic,intent", *TEXTS)
    lines = [line.strip() for line in told.splitlines()]
    assert lines[0] == TEXTS[0]
    assert lines[1].split()[0] == "topic"
    assert lines[2].split()[0] == "intent"
    assert TEXTS[1] in lines


def test_a_text_may_look_like_an_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = documents(capsys, "predict", "--tasks=topic", "run", "-1 of 10", "key=value")
    assert [row["text"] for row in rows] == ["-1 of 10", "key=value"]


def test_predict_reads_and_writes_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    source, target = str(tmp_path / "in.txt"), str(tmp_path / "out.jsonl")
    (told,) = documents(capsys, "predict", "run", "--input", source, "--output", target)
    assert told == {"path": target, "rows": 2}
    rows = [json.loads(line) for line in Path(target).read_text().splitlines()]
    assert rows == documents(capsys, "predict", "run", "--input", source)
    again = str(tmp_path / "out.parquet")
    told = printed(capsys, "predict", "run", *TEXTS, "--output", again)
    assert told == f"2 rows with predictions: {again}\n"


def test_predict_keeps_rows_it_has_no_answer_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text,text_pair\ngood city,\n\nbad,good\nbad,bad\n")
    target = tmp_path / "OUT.JSONL.GZ"
    words = ["predict", "run", "--input", str(tmp_path / "in.csv"), "--output", str(target)]
    assert main(words) == 0
    rows = [json.loads(line) for line in gzip.decompress(target.read_bytes()).splitlines()]
    assert [len(row.pop("predictions")) for row in rows] == [3, 0, 0, 0]
    assert rows[1] == {"text": "", "text_pair": ""}
    assert capsys.readouterr().err == (
        f"warning: 1 row has no predictions ({tmp_path}/in.csv, line 3): no text is there\n"
        f"warning: 2 rows have no predictions (the first: {tmp_path}/in.csv, line 4), as no task"
        " reads text + text_pair: intent, ner, topic read tokens\n"
    )
    assert main([*words, "--tasks", "topic"]) == 2
    assert "line 3: column text: expected text, found an empty one" in capsys.readouterr().err


def test_predict_reads_stdin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"tokens": ["good", "city"], "id": 3}\n'))
    monkeypatch.setattr("sys.stdin", stdin)
    (row,) = documents(capsys, "predict", "run", "--input", "-", "--tasks", "topic")
    assert row.keys() == {"tokens", "id", "predictions"}


def test_export_leaves_a_stock_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "run", "--format", "transformers", "--task", "topic", "--output"]
    (told,) = documents(capsys, *words, str(tmp_path / "topic"))
    assert told == {"path": str(tmp_path / "topic"), "format": "transformers", "task": "topic"}
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "topic")
    assert stock.config.id2label == {0: "down", 1: "up"}
    assert "topic" in printed(capsys, *words, str(tmp_path / "again"))


def test_push_and_card(
    folder: Path,
    tmp_path: Path,
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = shutil.copytree(folder / "run", tmp_path / "model")
    (model / "README.md").unlink()
    (card,) = documents(capsys, "card", str(model))
    assert card == {"path": str(model / "README.md"), "problems": []}
    assert (model / "README.md").read_text().startswith("---\n")
    monkeypatch.setenv("HF_TOKEN", WRITER)
    (pushed,) = documents(capsys, "push", str(model), "team/tiny", "--private", "--message", "One")
    assert pushed["url"].endswith("/team/tiny")
    assert len(pushed["commit"]) == 40
    assert printed(capsys, "push", str(model), "team/tiny") == f"published: {pushed['url']}\n"
    assert b'pipeline("team/tiny")' in hub.files("team/tiny")["README.md"]
    (branch,) = documents(capsys, "push", str(model), "team/tiny", "--revision", "try/2")
    assert branch["url"] == f"{pushed['url']}/tree/try/2"
    assert hub.files("team/tiny", "try/2").keys() == hub.files("team/tiny").keys()
    (model / "README.md").write_text("# My own words\n")
    documents(capsys, "push", str(model), "team/tiny")
    assert hub.files("team/tiny")["README.md"] == b"# My own words\n"
    (row,) = documents(capsys, "predict", "team/tiny", "good", "--tasks", "topic")
    assert row["predictions"]["topic"]["label"] in ("up", "down")


def test_a_push_shows_no_bars_where_there_is_no_terminal(folder: Path, hub: HubServer) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mtl_nlp", "push", "run", "team/quiet"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HF_TOKEN": WRITER},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"published: {hub.endpoint}/team/quiet\n"


def test_tasks_lists_types_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    (types,) = documents(capsys, "tasks")
    assert len(types) == 15
    for described in types.values():
        assert described["columns"]
        assert described["metrics"]
    (only,) = documents(capsys, "tasks", "token_classification")
    assert list(only) == ["token_classification"]
    scheme = only["token_classification"]["options"]["scheme"]
    assert scheme["default"] == "bio"
    assert scheme["choices"] == ["none", "bio", "bioes"]
    assert only["token_classification"]["metrics_where"] == {
        "scheme: none": ["accuracy", "macro_f1"]
    }
    told = printed(capsys, "tasks", "token_classification")
    for expected in ("tags", "entities", "scheme", "default bio", "macro_f1"):
        assert expected in told


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "no.yaml", "--debug"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.splitlines()[-1].startswith("error: no.yaml: there is no such recipe")


def stoppable(folder: Path) -> list[str]:
    """Words that train long enough for a signal to come in between."""
    recipe = tiny_recipe(folder, training__max_steps=150, evaluation__every=150)
    recipe.to_yaml(folder / "recipe.yaml")
    return ["train", str(folder / "recipe.yaml")]


def send(signum: int, process: int, run: Path) -> None:
    """Signal a process once its training has made a step."""
    log, deadline = run / "log.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.stat().st_size):
        time.sleep(0.005)
    os.kill(process, signum)


def check_stopped(stderr: str, run: Path) -> None:
    """One checkpoint, no more said than that, and how far it came."""
    (checkpoint,) = (run / "checkpoints").glob("step-*")
    step = int(checkpoint.name.removeprefix("step-"))
    last = f"stopped at step {step}; checkpoint {checkpoint}; go on with --resume"
    assert stderr.splitlines()[-1] == last
    ours = ("note: ", "training ", "step ", "stopped ")
    assert all(line.startswith(ours) for line in stderr.splitlines())


def test_ctrl_c_leaves_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = stoppable(tmp_path)
    sender = threading.Thread(target=send, args=(signal.SIGINT, os.getpid(), tmp_path / "run"))
    sender.start()
    status = main(words)
    sender.join()
    output = capsys.readouterr()
    assert (status, output.out) == (130, "")
    check_stopped(output.err, tmp_path / "run")


@pytest.mark.slow
def test_a_process_that_is_terminated_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = stoppable(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "mtl_nlp", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        send(signal.SIGTERM, running.pid, tmp_path / "run")
        out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (143, "")
    check_stopped(err, tmp_path / "run")
    (told,) = documents(capsys, *words, "--resume")
    assert told["metrics"].keys() == {"validation", "test"}
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(log) == 150 + 1
