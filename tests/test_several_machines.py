"""The page on several machines: its scripts parse, its files are there, its first command runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser

from tests.ranks import PATIENCE
from tests.runs import steps_of, tiny_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "several_machines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("script", [text for language, text in BLOCKS if language == "bash"])
def test_a_script_parses(script: str) -> None:
    parsed = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (parsed.returncode, parsed.stderr) == (0, "")


def test_what_is_named_is_there() -> None:
    files = {path.name for path in (ROOT / "recipes" / "accelerate").iterdir()}
    assert files == set(re.findall(r"(\w+\.yaml)", PAGE)) - {"recipe.yaml"}
    known = {option for one in launch_command_parser()._actions for option in one.option_strings}
    launcher = next(text for _, text in BLOCKS if "--num_machines" in text)
    launcher = launcher[launcher.index("accelerate launch") : launcher.index(" -m mtl_nlp")]
    assert set(re.findall(r"--\w+", launcher)) <= known


@pytest.mark.slow
def test_the_first_command_trains_with_two_processes(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, training__max_steps=2)
    recipe.to_yaml(tmp_path / "recipe.yaml")
    (command,) = [text for language, text in BLOCKS if language == "console"]
    words = [str(tmp_path / w) if w == "recipe.yaml" else w for w in shlex.split(command)]
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", *words[1:]]
    ended = subprocess.run(launch, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    assert len(steps_of(Path(recipe.output))) == 2
    assert ended.stdout.count("topic") == 1, "the main process alone prints the scores"
