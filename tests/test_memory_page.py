"""The page on memory and speed: its keys are the recipe's."""

import re
from pathlib import Path

import yaml

from mtl_nlp.recipe_training import TrainingSpec

PAGE = Path(__file__).parents[1] / "docs" / "memory_and_speed.md"


def test_its_keys_are_the_recipes_and_change_something() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    shown = yaml.safe_load(block)["training"]
    spec = TrainingSpec(**shown)
    assert {key: getattr(spec, key) for key in shown} == shown
    assert set(re.findall(r"`training\.(\w+)", PAGE.read_text())) <= set(TrainingSpec.model_fields)
