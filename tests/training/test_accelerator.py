from pathlib import Path

import pytest
from accelerate.tracking import get_available_trackers

from mtl_nlp.errors import RecipeError
from mtl_nlp.training.accelerator import build_accelerator, check_trackers
from tests.runs import tiny_recipe


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_each_in_one_program_has_the_precision_of_its_recipe(
    tmp_path: Path, precision: str
) -> None:
    accelerator = build_accelerator(tiny_recipe(tmp_path, training__precision=precision))
    assert accelerator.mixed_precision == {"bf16": "bf16", "fp32": "no"}[precision]


def test_trackers_that_are_not_there_are_refused_with_those_that_are() -> None:
    there = [str(tracker) for tracker in get_available_trackers()]
    check_trackers(there)
    known = ", ".join(there) or "none"
    with pytest.raises(RecipeError, match=rf"'notes' is not installed .*; installed are {known}$"):
        check_trackers([*there, "notes"])
