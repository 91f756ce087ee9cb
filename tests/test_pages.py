"""Pages about one subject: each block of YAML is a part of a recipe that is accepted."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_nlp.data.bind_tasks import bind_tasks
from mtl_nlp.recipe import Recipe

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("layer_mix", "regularization")
TASKS: dict[str, Any] = {
    "sentiment": {"type": "text_classification", "dataset": "sst2", "label": "label"},
    "ner": {"type": "token_classification", "dataset": "ewt", "tags": "ner", "scheme": "bio"},
}
BASE: dict[str, Any] = {
    "encoder": "org/encoder",
    "datasets": {
        "sst2": {"path": "org/sst2", "text": "text"},
        "ewt": {"path": "org/ewt", "tokens": "tokens"},
    },
    "tasks": TASKS,
}


def blocks_of(page: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_a_recipe(page: str) -> None:
    assert blocks_of(page)
    for block in blocks_of(page):
        recipe = Recipe(**{**BASE, **yaml.safe_load(block)})
        assert list(bind_tasks(recipe)[0]) == list(recipe.tasks)


@pytest.mark.parametrize("page", PAGES)
def test_its_links_exist(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (DOCS / link).exists(), link
