"""What a recipe says of sharing: options by method, adapters by task, and the page about it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe

PAGE = (Path(__file__).parents[1] / "docs" / "sharing.md").read_text(encoding="utf-8")


def recipe(sharing: dict[str, Any], training: dict[str, Any] | None = None, **named: str) -> Recipe:
    return Recipe(
        encoder="org/encoder",
        datasets={"d": {"path": "org/d", "text": "text"}},
        tasks={
            name: {"type": "regression", "dataset": "d", "label": "x", "sharing": named.get(name)}
            for name in ("a", "b", "c")
        },
        sharing=sharing,
        training=training or {},
    )


@pytest.mark.parametrize(
    ("sharing", "named", "adapters"),
    [
        ({}, {}, {}),
        ({"method": "lora"}, {}, {"a": "shared", "b": "shared", "c": "shared"}),
        ({"method": "lora"}, {"b": "own"}, {"a": "shared", "b": "own", "c": "shared"}),
        ({"method": "ia3", "per_task": True}, {"c": "a"}, {"a": "a", "b": "b", "c": "a"}),
    ],
)
def test_every_task_has_the_adapter_that_is_said_and_it_comes_back_from_a_file(
    sharing: dict[str, Any], named: dict[str, str], adapters: dict[str, str], tmp_path: Path
) -> None:
    made = recipe(sharing, **named)
    assert made.sharing.adapters(made.tasks) == adapters
    made.to_yaml(tmp_path / "recipe.yaml")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml").sharing == made.sharing


@pytest.mark.parametrize(
    ("sharing", "message"),
    [
        ({"rank": 4}, "sharing: `rank: 4` goes with `method: lora`, not with `full`"),
        ({"method": "ia3", "alpha": 2}, r"`alpha: 2\.0` goes with `method: lora`, not with `ia3`"),
        ({"method": "lora", "rank": 0}, "sharing.rank: should be greater than or equal to 1"),
        ({"method": "lora", "targets": []}, "sharing.targets: should be all-linear or a list of n"),
        ({"method": "lorra"}, "sharing.method: should be .*did you mean `lora`"),
        ({"method": "houlsby"}, "found 'houlsby': PEFT has no bottleneck adapters"),
        ({"method": "prefix_tuning"}, "it puts learned sub-words before every row"),
        ({"method": "dora"}, "PEFT computes no batch whose rows have different adapters"),
    ],
)
def test_what_does_not_fit_is_told(sharing: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(sharing)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"unfreeze": "epoch"}, "training.unfreeze: .*freezes the encoder"),
        ({"layer_decay": 0.9}, "training.layer_decay: .*freezes the encoder"),
        ({"regularization": {"method": "smart"}}, "smart moves the embeddings of each row"),
    ],
)
def test_what_adapters_leave_nothing_of_is_told(training: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe({"method": "lora", "per_task": True}, training=training)


def test_the_blocks_of_the_page_are_recipes() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        content = {
            "encoder": "org/encoder",
            "datasets": {"reviews": {"path": "org/reviews", "tokens": "tokens"}},
            "tasks": {"a": {"type": "text_classification", "dataset": "reviews", "label": "x"}},
            **yaml.safe_load(block),
        }
        made = Recipe(**content)
        assert made.sharing.adapters(made.tasks)
