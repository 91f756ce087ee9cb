"""The README's blocks run as they stand, in a folder where the quickstart has just run."""

import csv
import re
import runpy
import shlex
from pathlib import Path

import pytest

from mtl_nlp.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def after_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a short quickstart run and a user's own files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["quickstart.py", "training.max_steps=2"])
    runpy.run_path(str(ROOT / "recipes" / "quickstart.py"), run_name="__main__")
    Path("texts.txt").write_text("Anna loved Berlin.\nSo slow.\n", encoding="utf-8")
    with Path("tickets.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["message", "urgency", "team"])
        for i in range(24):
            words = ["The printer is on fire", "Where is my invoice", "Please reset my password"]
            rows.writerow([f"{words[i % 3]}, case {i}", ["high", "low"][i % 2], "ABC"[i % 3]])
    return tmp_path


def run_block(language: str, text: str, names: dict[str, object]) -> None:
    if language == "python":
        exec(compile(text, "README.md", "exec"), names)
    elif language == "yaml":
        name = re.match(r"# (\S+)\n", text)
        assert name, "a YAML block begins with the name of its file"
        Path(name[1]).write_text(text, encoding="utf-8")
    elif language == "bash":
        for line in text.splitlines():
            words = shlex.split(line)
            assert words[0] == "mtl-nlp"
            assert main(words[1:]) == 0, line


@pytest.mark.slow
@pytest.mark.usefixtures("after_quickstart")
def test_every_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for language, text in BLOCKS:
        run_block(language, text, names)
    assert Path("predictions.jsonl").read_text(encoding="utf-8").count("\n") == 2
    assert Path("runs/ner_alone/model.safetensors").is_file()
    assert "topic" in Path("runs/with_topic/config.json").read_text(encoding="utf-8")
    assert "urgency" in capsys.readouterr().out


def test_blocks_are_of_known_kinds() -> None:
    assert {language for language, _ in BLOCKS} <= {"python", "bash", "yaml", "console", "text"}


def test_readme_is_short_and_its_links_exist() -> None:
    assert README.count("\n") <= 250
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
