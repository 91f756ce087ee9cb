import subprocess
import sys
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from mtl_nlp.figures import _COLOURS, styled
from mtl_nlp.plots import plot_draws, plot_losses, plot_metrics

BLUE, ORANGE, GREEN = _COLOURS[:3]
SIZES = {"sst2": 440, "wnut17": 16}
TASKS = [f"task_{number}" for number in range(12)]


def steps(losses: list[dict[str, float | None]]) -> list[dict[str, Any]]:
    rows = {"sst2": 22, "wnut17": 10}
    return [{"step": n, "losses": line, "rows": rows} for n, line in zip(count(1), losses)]


def evaluations(*scores: dict[str, float | None], metric: str = "f1") -> list[dict[str, Any]]:
    return [
        {
            "step": 100 * number,
            "evaluation": {
                "validation": {task: {metric: value} for task, value in line.items()}
                | {"mean": 0.5}
            },
        }
        for number, line in zip(count(1), scores)
    ]


def picture(path: Path) -> NDArray[np.float64]:
    pixels = matplotlib.image.imread(path)[..., :3]
    assert pixels.shape == (720, 1350, 3)
    return pixels


def shows(pixels: NDArray[np.float64], colour: str) -> bool:
    return bool((np.abs(pixels - to_rgb(colour)).max(axis=2) < 0.01).any())


def test_each_task_has_its_own_colour_in_picture_and_legend(tmp_path: Path) -> None:
    lines = steps([{"a": 1 / n, "_b": 2 / n} for n in range(1, 50)])
    plot_losses(lines, tmp_path / "plots" / "losses.png")
    pixels = picture(tmp_path / "plots" / "losses.png")
    assert [shows(pixels[:, :1000], colour) for colour in _COLOURS[:3]] == [True, True, False]
    assert [shows(pixels[:, 1140:], colour) for colour in _COLOURS[:3]] == [True, True, False]
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["losses.png"]


def test_a_task_keeps_its_colour_in_all_pictures_of_a_run(tmp_path: Path) -> None:
    plot_losses(steps([{"b": 1.0}, {"b": 0.5}]), tmp_path / "losses.png", tasks=["a", "b"])
    plot_metrics(evaluations({"b": 0.5}), tmp_path / "metrics.png", {"a": "f1", "b": "f1"})
    for name in ("losses.png", "metrics.png"):
        pixels = picture(tmp_path / name)
        assert shows(pixels, ORANGE)
        assert not shows(pixels, BLUE)


def test_a_single_point_is_seen(tmp_path: Path) -> None:
    plot_losses(steps([{"a": 0.5}]), tmp_path / "losses.png")
    plot_metrics(evaluations({"a": 0.5}), tmp_path / "metrics.png", {"a": "f1"})
    plot_draws(steps([{}]), tmp_path / "draws.png", {"sst2": 22, "wnut17": 10}, SIZES)
    for name, legend_from in [("losses.png", 1135), ("metrics.png", 1060), ("draws.png", 930)]:
        assert shows(picture(tmp_path / name)[:, :legend_from], BLUE)


def test_values_that_are_missing_leave_no_trace(tmp_path: Path) -> None:
    losses = [{"a": 1.0}, {"b": 1.0, "a": None}, {}, {"a": float("nan"), "c": None}, {"a": 0.5}]
    plot_losses(steps(losses), tmp_path / "holes.png")
    plot_losses(
        [line for line in steps([*losses[:2], {}, {}, losses[4]]) if line["losses"]],
        tmp_path / "none.png",
    )
    assert (tmp_path / "holes.png").read_bytes() == (tmp_path / "none.png").read_bytes()
    assert not shows(picture(tmp_path / "holes.png"), GREEN)

    plot_metrics(
        evaluations({"a": 0.5, "b": None}, {"b": None}), tmp_path / "m.png", {"a": "f1", "b": "f1"}
    )
    assert shows(picture(tmp_path / "m.png"), BLUE)
    assert not shows(picture(tmp_path / "m.png"), ORANGE)


def test_nothing_logged_makes_a_picture_too(tmp_path: Path) -> None:
    plot_losses([], tmp_path / "losses.png")
    plot_metrics([{"step": 3, "evaluation": {"test": {}}}], tmp_path / "metrics.png", {"a": "f1"})
    plot_draws([], tmp_path / "draws.png", {}, {})
    for name in ("losses.png", "metrics.png", "draws.png"):
        pixels = picture(tmp_path / name)
        assert np.ptp(pixels, axis=2).max() < 0.01, "a colour was drawn"
        assert pixels.min() < 0.5, "nothing was said"


@pytest.mark.parametrize(
    ("metric", "values", "panels"),
    [("f1", [0.2, 0.4], 1), ("perplexity", [90.0, 30.0], 2), ("rmse", [0.4, 0.2], 2)],
)
def test_metrics_that_are_no_fractions_have_their_own_panel(
    tmp_path: Path, metric: str, values: list[float], panels: int
) -> None:
    scores = evaluations(*({"lm": value} for value in values), metric=metric)
    plot_metrics(scores, tmp_path / "metrics.png", {"lm": metric}, best_step=200)
    left_spine = picture(tmp_path / "metrics.png")[60:650].mean(axis=2)
    columns = (left_spine < 0.7).mean(axis=0)
    spine = left_spine[:, int(columns[:200].argmax())] < 0.7
    assert int((np.diff(spine.astype(int)) == 1).sum() + spine[0]) == panels


def test_the_same_numbers_make_the_same_file_and_plans_count_by_proportion(tmp_path: Path) -> None:
    lines = steps([{"a": 1.0}] * 30)
    plot_draws(lines, tmp_path / "rows.png", {"sst2": 2200, "wnut17": 1000}, SIZES)
    plot_draws(lines, tmp_path / "shares.png", {"sst2": 0.6875, "wnut17": 0.3125}, SIZES)
    plot_draws(lines, tmp_path / "other.png", {"sst2": 0.5, "wnut17": 0.5}, SIZES)
    files = {name: (tmp_path / f"{name}.png").read_bytes() for name in ("rows", "shares", "other")}
    assert files["rows"] == files["shares"] != files["other"]


def test_the_legend_of_draws_tells_the_passes(tmp_path: Path) -> None:
    for name, wnut17 in (("one", 100), ("same", 100), ("two", 200), ("small", 7)):
        sizes = {"sst2": 440, "wnut17": wnut17}
        plot_draws(steps([{}] * 30), tmp_path / f"{name}.png", {"sst2": 22, "wnut17": 10}, sizes)
    one, same, two, small = (
        picture(tmp_path / f"{name}.png") for name in ("one", "same", "two", "small")
    )
    assert np.array_equal(one, same)
    rows, columns = np.nonzero(np.abs(one - two).max(axis=2))
    assert rows.max() - rows.min() < 20, "only one line of the legend says it"
    assert columns.min() > 700
    assert not np.array_equal(one, small)


def test_a_dataset_that_was_not_planned_is_shown(tmp_path: Path) -> None:
    plot_draws(steps([{}] * 3), tmp_path / "draws.png", {"sst2": 1.0}, {})
    assert shows(picture(tmp_path / "draws.png"), ORANGE)


def test_twelve_tasks_are_told_apart(tmp_path: Path) -> None:
    line = {task: 1.0 + number for number, task in enumerate(TASKS)}
    plot_losses(steps([line] * 5), tmp_path / "losses.png")
    assert all(shows(picture(tmp_path / "losses.png"), colour) for colour in _COLOURS)
    assert len({(colour, pattern) for _, colour, pattern in styled(TASKS)}) == 12


def test_a_long_run_is_drawn_fast(tmp_path: Path) -> None:
    lines = steps([{"a": 0.5, "b": 0.7}] * 100_000)
    began = process_time()
    plot_losses(lines, tmp_path / "losses.png")
    plot_draws(lines, tmp_path / "draws.png", {"sst2": 22, "wnut17": 10}, SIZES)
    assert process_time() - began < 10


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "losses.png").mkdir()
    (tmp_path / "losses.png" / "kept").touch()
    with pytest.raises(OSError, match=r"losses\.png"):
        plot_losses(steps([{"a": 1.0}]), tmp_path / "losses.png")
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]


def test_drawing_needs_no_global_state_of_matplotlib() -> None:
    code = "import sys, mtl_nlp.plots; print({'matplotlib.pyplot', 'torch'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
