"""What importing the package and asking for help load; how long they take is for benchmarks/."""

import subprocess
import sys
from pathlib import Path

import pytest

import mtl_nlp

HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "pyarrow",
    "pandas",
    "numpy",
}
_TELL = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules in a fresh Python that ran the code."""
    told = subprocess.run(
        [sys.executable, "-c", code + _TELL],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import mtl_nlp")
    assert "mtl_nlp" in loaded
    assert not loaded & (HEAVY | {"rich", "pydantic", "yaml"})


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["trian"]])
def test_the_command_line_answers_without_loading_anything_heavy(words: list[str]) -> None:
    loaded = loaded_by(f"from mtl_nlp.cli import main; main({words!r})")
    assert "argparse" in loaded
    assert not loaded & (HEAVY | {"rich", "pydantic", "yaml"})


def test_evaluate_is_loaded_only_where_a_recipe_names_a_metric() -> None:
    loaded = loaded_by("import mtl_nlp.run, mtl_nlp.training.further_metrics")
    assert {"torch", "datasets"} <= loaded
    assert "evaluate" not in loaded


def test_peft_is_loaded_only_where_a_model_has_adapters() -> None:
    loaded = loaded_by("import mtl_nlp.inference.pipeline")  # training: transformers itself
    assert "transformers" in loaded
    assert "peft" not in loaded


@pytest.mark.parametrize("name", sorted(set(mtl_nlp.__all__)))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mtl_nlp, name) is not None
    assert name in dir(mtl_nlp)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        mtl_nlp.Trainer  # noqa: B018
