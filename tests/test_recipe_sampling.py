"""The sampling of a recipe: which options go with which strategy."""

from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe


def recipe(**sampling: Any) -> Recipe:
    return Recipe(
        encoder="org/encoder",
        datasets={name: {"path": f"org/{name}", "text": "text"} for name in ("sst2", "wnut17")},
        tasks={
            name: {"type": "text_classification", "dataset": name, "label": "label"}
            for name in ("sst2", "wnut17")
        },
        sampling=sampling,
    )


GOOD: list[dict[str, Any]] = [
    {"strategy": "proportional", "cap": None},
    {"strategy": "uniform", "mix": "step"},
    {"strategy": "annealed"},
    {"strategy": "weights", "weights": {"sst2": 2, "wnut17": 0.5}},
    {"strategy": "temperature", "temperature": 5},
    {"strategy": "capped", "cap": 1000},
    {"strategy": "main", "main": "wnut17", "ratio": 0.4},
    {"strategy": "dynamic", "targets": {"sst2": 0.9, "wnut17": 0.4}},
]


@pytest.mark.parametrize("sampling", GOOD, ids=lambda sampling: sampling["strategy"])
def test_a_strategy_and_its_options_come_back_from_a_file(
    sampling: dict[str, Any], tmp_path: Path
) -> None:
    spec = recipe(**sampling).sampling
    options = {key: sampling[key] for key in sampling.keys() - {"strategy", "mix", "cap"}}
    assert spec.options == options | ({"cap": 1000} if spec.strategy == "capped" else {})
    recipe(**sampling).to_yaml(tmp_path / "recipe.yaml")
    assert "null" not in (tmp_path / "recipe.yaml").read_text().partition("sampling:")[2][:80]
    assert Recipe.from_yaml(tmp_path / "recipe.yaml").sampling == spec


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"strategy": "capped"}, "sampling: `strategy: capped` needs `cap`"),
        ({"strategy": "weights", "weights": {}}, "`strategy: weights` needs `weights`"),
        ({"strategy": "main", "main": "sst2"}, "`strategy: main` needs `main` and `ratio`"),
        ({"cap": 9}, "sampling: `cap: 9` goes with `strategy: capped`, not with `proportional`"),
        (
            {"strategy": "capped", "cap": 9, "ratio": 1},
            r"`ratio: 1\.0` goes with `strategy: main`, not with `capped`",
        ),
        ({"strategy": "capped", "cap": 0}, "sampling.cap: should be greater than or equal to 1"),
        ({"strategy": "temperature", "temperature": 0}, "temperature: should be greater than 0"),
        (
            {"strategy": "weights", "weights": {"sst2": 0, "wnut17": 1}},
            "sampling.weights.sst2: should be greater than 0, found 0",
        ),
        (
            {"strategy": "weights", "weights": {"sst2": 1}},
            "sampling.weights: dataset `wnut17` has no weight, so nothing would be drawn from it",
        ),
        (
            {"strategy": "weights", "weights": {"sst": 1, "wnut17": 1}},
            "sampling.weights: there is no dataset `sst`; did you mean `sst2`?",
        ),
        (
            {"strategy": "main", "main": "wnut", "ratio": 1},
            "sampling.main: there is no dataset `wnut`; did you mean `wnut17`?",
        ),
        ({"temperatur": 1}, "sampling.temperatur: unknown key; did you mean `temperature`?"),
        ({"strategy": "dynamic"}, "`strategy: dynamic` needs `targets`"),
        (
            {"strategy": "dynamic", "targets": {"sst2": 90.0, "wnut17": 0.4}},
            "sampling.targets.sst2: should be less than or equal to 1",
        ),
        (
            {"strategy": "dynamic", "targets": {"sst2": 0.9}},
            "sampling.targets: no task of dataset `wnut17` has a target .* give one to `wnut17`",
        ),
        (
            {"strategy": "dynamic", "targets": {"sst": 0.9}},
            "sampling.targets: there is no task `sst`; did you mean `sst2`?",
        ),
        ({"strategy": "active"}, "sampling.strategy: should be 'proportional', 'round_robin', 'u"),
    ],
)
def test_what_does_not_fit_is_told(sampling: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**sampling)
