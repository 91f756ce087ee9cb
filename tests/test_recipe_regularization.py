"""The regularization of a recipe: which options go with which method."""

from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe


def recipe(**regularization: Any) -> Recipe:
    return Recipe(
        encoder="org/encoder",
        datasets={"sst2": {"path": "org/sst2", "text": "text"}},
        tasks={"mood": {"type": "text_classification", "dataset": "sst2", "label": "label"}},
        training={"regularization": regularization or None},
    )


def test_nothing_is_added_by_default() -> None:
    assert recipe().training.regularization is None


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"norm": "inf", "radius": 0.003, "step_size": 0.3, "noise": 0.0003}),
        ({"norm": "l2"}, {"norm": "l2", "radius": 0.1, "step_size": 10.0, "noise": 0.01}),
        ({"radius": 0.5}, {"norm": "inf", "radius": 0.5, "step_size": 50.0, "noise": 0.05}),
        (
            {"radius": 0.5, "step_size": 1, "noise": 2.0},
            {"norm": "inf", "radius": 0.5, "step_size": 1.0, "noise": 2.0},
        ),
    ],
)
def test_what_is_left_out_follows_from_the_norm_and_the_radius(
    given: dict[str, Any], options: dict[str, Any]
) -> None:
    spec = recipe(method="smart", **given).training.regularization
    assert spec is not None
    assert spec.options == pytest.approx(options)


@pytest.mark.parametrize(
    "given",
    [
        {"method": "r_drop", "weight": {"mood": 0.5}},
        {"method": "smart", "weight": 2, "norm": "l2", "radius": None},
    ],
)
def test_it_comes_back_from_a_file(given: dict[str, Any], tmp_path: Path) -> None:
    recipe(**given).to_yaml(tmp_path / "recipe.yaml")
    read = Recipe.from_yaml(tmp_path / "recipe.yaml").training
    assert read == recipe(**given).training.model_copy()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "rdrop"}, r"training\.regularization\.method: .*'r_drop' or 'smart'"),
        ({"weight": 1}, r"training\.regularization\.method: missing; give r_drop or smart"),
        ({"method": "r_drop", "radius": 1}, "`radius: 1.0` goes with `method: smart`, not with `r"),
        ({"method": "r_drop", "weight": {}}, "`weight` names no task; give a number"),
        ({"method": "smart", "weight": 0}, "greater than 0"),
        ({"method": "smart", "norm": "l1"}, "'inf' or 'l2'"),
        ({"method": "smart", "epsilon": 1}, r"training\.regularization\.epsilon: unknown key"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**given)
