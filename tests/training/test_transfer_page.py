"""docs/transfer.md says what happens."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_nlp import check, train
from mtl_nlp.recipe import Recipe
from mtl_nlp.run import Run
from tests.runs import tiny_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "transfer.md").read_text(encoding="utf-8")
BLOCKS = [
    yaml.safe_load(block)
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def first(folder: Path) -> Run:
    """What the page calls ``runs/first``."""
    tasks = ("intent", "ner", "topic")
    recipe = tiny_recipe(folder, output=str(folder / "first"), training__max_steps=1)
    assert tuple(recipe.tasks) == tasks
    return train(recipe)


def of_page(folder: Path, block: dict[str, Any]) -> Recipe:
    changes = {
        f"{section}__{key}": str(folder / "first") if value == "runs/first" else value
        for section, content in block.items()
        for key, value in content.items()
    }
    return tiny_recipe(folder, training__max_steps=2, **changes)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: "-".join(next(iter(block.values()))))
def test_each_block_is_checked(folder: Path, first: Run, block: dict[str, Any]) -> None:
    report = check(of_page(folder, block))
    parameters = report["parameters"]
    everything = parameters["encoder"] + sum(parameters["heads"].values())
    assert ("learning" in parameters) == ("frozen" in block.get("training", {}))
    assert parameters.get("learning", everything) <= everything
    notes = [one for one in report["warnings"] if one.startswith(("warm start", "training."))]
    if "warm_start" in block:
        assert notes == [
            "warm start: the encoder and the heads of intent, ner, topic are those of"
            f" {folder / 'first'}"
        ]
    elif "unfreeze" in block["training"]:
        (note,) = notes
        assert "only 0 of the encoder's 2 layers ever learn" in note
    else:
        assert notes == []


def test_they_go_together(folder: Path, first: Run, tmp_path: Path) -> None:
    together: dict[str, Any] = {}
    for block in BLOCKS:
        for section, content in block.items():
            together[section] = {**together.get(section, {}), **content}
    recipe = of_page(folder, together).with_overrides([f"output={tmp_path / 'run'}"])
    assert train(recipe).metrics.keys() == first.metrics.keys()


def test_every_key_has_a_block() -> None:
    keys = {key for block in BLOCKS for content in block.values() for key in content}
    assert keys >= {"learning_rates", "layer_decay", "frozen", "unfreeze", "ema", "model", "heads"}
