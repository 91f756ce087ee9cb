"""Pictures of a training from the lines of its log: losses, metrics and draws, as PNG files.

Colours are those of Okabe and Ito (2008), which colour-blind eyes can tell apart; with more
curves than colours the lines' pattern tells them apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    EngFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)
from numpy.typing import NDArray

from mtl_nlp.tables import LOWER_IS_BETTER

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A5C99")
_PATTERNS = ("-", "--", ":")
_INK, _GRID = "#333333", "#DDDDDD"
_MOST_POINTS = 1000  # of one curve, as many as a picture has columns
_MOST_MARKERS = 40
_MEAN = "mean"

Curve = NDArray[np.float64]  # (points, 2): optimizer step, value


def plot_losses(
    steps: Sequence[Mapping[str, Any]], path: Path, *, tasks: Sequence[str] = ()
) -> None:
    """Draw each task's training loss over the optimizer steps, raw (faint) and smoothed.

    Args:
        steps: The step lines of a log; a task may be missing from a step, or its loss be null.
        path: The PNG file, written whole or not at all; its folder is made if need be.
        tasks: Tasks that come first in the legend and in the order of colours, so that these are
            the same in all pictures of a run; the others follow as the log names them.
    """
    figure, axes = _figure("Training loss per task", "loss, mean over labelled items")
    raw = _curves((line["step"], line["losses"]) for line in steps)
    smooth = {task: _smoothed(curve) for task, curve in raw.items()}
    lines = []
    for task, colour, pattern in _styled([*tasks, *raw]):
        if task in raw:
            faint = _thinned(raw[task])
            alpha = min(0.25, 1.5 / (len(raw) + 2))
            axes.plot(faint[:, 0], faint[:, 1], color=colour, alpha=alpha, linewidth=0.7, zorder=1)
            lines.append(_draw(axes, smooth[task], task, colour, pattern))
    _scale_losses(axes, np.concatenate([[], *(curve[:, 1] for curve in smooth.values())]))
    _finish(figure, path, lines, legend="task, smoothed\n(faint: single steps)")


def plot_metrics(
    evaluations: Sequence[Mapping[str, Any]],
    path: Path,
    primary: Mapping[str, str],
    *,
    best_step: int | None = None,
) -> None:
    """Draw each task's primary metric and their mean on validation, the best ones marked.

    Metrics that are no fractions, such as perplexity, have a panel of their own.

    Args:
        evaluations: The evaluation lines of a log; those without ``validation`` are left out.
        path: The PNG file, written whole or not at all; its folder is made if need be.
        primary: The metric drawn of each task.
        best_step: The step whose model was selected; None for the one with the best mean.
    """
    curves = _metric_curves(evaluations, primary)
    mean = curves.pop(_MEAN, None)
    apart = [
        task
        for task, curve in curves.items()
        if primary[task] in LOWER_IS_BETTER or np.abs(curve[:, 1]).max() > 1
    ]
    figure, axes = _figure("Primary metric per task on validation", "score")
    below = axes
    if apart:
        below = _panel_below(figure, axes, ", ".join(sorted({primary[task] for task in apart})))
    lines = []
    for task, colour, pattern in _styled(primary):
        if task in curves:
            panel, lower = below if task in apart else axes, primary[task] in LOWER_IS_BETTER
            label = f"{task}  ({primary[task]})"
            lines.append(_draw(panel, curves[task], label, colour, pattern, marker="o"))
            _mark(panel, _best(curves[task], lower=lower), colour)
    if mean is not None and len(primary) > 1:
        lines.append(_draw(axes, mean, _MEAN, "black", "-", marker="o", width=2.6))
        _mark(axes, _best(mean), "black")
    if best_step is None and mean is not None:
        best_step = int(_best(mean)[0])
    if best_step is not None:
        for panel in figure.axes:
            line = panel.axvline(best_step, color="#777777", linestyle=":", linewidth=1.2, zorder=1)
        line.set_label(f"selected: step {best_step:,}")
        lines.append(line)
    _finish(figure, path, lines, legend="task  (metric),  ★ its best")


def plot_draws(
    steps: Sequence[Mapping[str, Any]],
    path: Path,
    planned: Mapping[str, float],
    sizes: Mapping[str, int],
) -> None:
    """Draw which share of the rows so far came from each dataset, beside the planned share.

    The legend tells how often each dataset was gone through.

    Args:
        steps: The step lines of a log.
        path: The PNG file, written whole or not at all; its folder is made if need be.
        planned: Rows or shares planned of each dataset; only their proportions count.
        sizes: Rows that each dataset holds.
    """
    numbers = np.array([line["step"] for line in steps])
    names = dict.fromkeys([*planned, *(name for line in steps for name in line["rows"])])
    rows = {
        name: np.cumsum([line["rows"].get(name, 0) for line in steps], dtype=np.float64)
        for name in names
    }
    total = sum(rows.values(), np.zeros(len(steps)))
    figure, axes = _figure("Share of rows drawn per dataset", "share of all rows so far")
    lines, highest = [], 0.0
    for name, colour, pattern in _styled(names):
        share = planned.get(name, 0) / (sum(planned.values()) or 1)
        axes.axhline(share, color=colour, linewidth=4, alpha=0.25, zorder=1)
        highest = max(highest, share)
        if len(steps):
            curve = np.column_stack([numbers, rows[name] / np.maximum(total, 1)])
            passes = f",  {rows[name][-1] / sizes[name]:,.1f} passes" if name in sizes else ""
            label = f"{name}  {curve[-1, 1]:.1%}  ({share:.1%}){passes}"
            lines.append(_draw(axes, curve, label, colour, pattern))
            highest = max(highest, curve[len(steps) // 20 :, 1].max())  # the first steps are noise
    axes.set_ylim(0, min(1.15 * highest, 1.02) or 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    drawn = f"{total[-1]:,.0f} rows in all" if len(steps) else ""
    _finish(figure, path, lines, legend=f"{drawn}\ndataset  drawn  (planned: broad line),  passes")


def _figure(title: str, value: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.0, 4.8), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=10)
    axes.set_ylabel(value)
    return figure, axes


def _panel_below(figure: Figure, axes: Axes, value: str) -> Axes:
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1))
    axes.set_subplotspec(grid[0])
    below = figure.add_subplot(grid[1], sharex=axes)
    below.set_ylabel(value)
    return below


def _curves(
    records: Iterator[tuple[int, Mapping[str, float | None]]],
) -> dict[str, Curve]:
    """By name, the steps at which it has a finite value, with the value."""
    points: dict[str, list[tuple[int, float]]] = {}
    for step, values in records:
        for name, value in values.items():
            if value is not None and np.isfinite(value):
                points.setdefault(name, []).append((step, value))
    return {name: np.array(pairs, dtype=np.float64) for name, pairs in points.items()}


def _metric_curves(
    evaluations: Sequence[Mapping[str, Any]], primary: Mapping[str, str]
) -> dict[str, Curve]:
    """The curve of each task's primary metric, and of the mean."""
    scores = [(line["step"], line["evaluation"].get("validation", {})) for line in evaluations]
    return _curves(
        (step, {task: split.get(task, {}).get(metric) for task, metric in primary.items()})
        for step, split in scores
    ) | _curves((step, {_MEAN: split.get(_MEAN)}) for step, split in scores)


def _best(curve: Curve, *, lower: bool = False) -> NDArray[np.float64]:
    """The point (step, value) of the first best value."""
    values = curve[:, 1]
    point: NDArray[np.float64] = curve[values.argmin() if lower else values.argmax()]
    return point


def _smoothed(curve: Curve) -> Curve:
    """Running mean, taken twice, over a twentieth of the points, or a few if they are few."""
    half = max(len(curve) // 40, min(8, len(curve) // 4))
    at = np.arange(len(curve))
    first, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(curve))
    values = curve[:, 1]
    for _ in range(2):
        sums = np.concatenate([[0.0], np.cumsum(values)])
        values = (sums[end] - sums[first]) / (end - first)
    return np.column_stack([curve[:, 0], values])


def _thinned(curve: Curve) -> Curve:
    """At most ``_MOST_POINTS`` points of a curve, evenly picked, with its ends."""
    if len(curve) <= _MOST_POINTS:
        return curve
    picked: Curve = curve[np.linspace(0, len(curve) - 1, _MOST_POINTS).round().astype(int)]
    return picked


def _styled(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Every name once, with its colour and line pattern."""
    styles = cycle(product(_PATTERNS, _COLOURS))
    for name, (pattern, colour) in zip(dict.fromkeys(names), styles, strict=False):
        yield name, colour, pattern


def _draw(
    axes: Axes,
    curve: Curve,
    label: str,
    colour: str,
    pattern: str,
    *,
    marker: str = "",
    width: float = 1.8,
) -> Line2D:
    curve = _thinned(curve)
    if len(curve) == 1:
        marker = "o"
    elif len(curve) > _MOST_MARKERS:
        marker = ""
    (line,) = axes.plot(
        curve[:, 0],
        curve[:, 1],
        label=label,
        color=colour,
        linestyle=pattern,
        linewidth=width,
        marker=marker,
        markersize=4,
    )
    return line


def _scale_losses(axes: Axes, values: NDArray[np.float64]) -> None:
    """Fit the axis to the smoothed losses; raw ones may leave the picture."""
    if not len(values):
        return
    lowest, highest = values.min(), values.max()
    if lowest > 0 and highest > 30 * lowest:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(lowest / 2, highest * 2)
    else:
        floor = min(0.0, lowest)
        axes.set_ylim(floor, highest + 0.25 * (highest - floor) or 1.0)


def _mark(axes: Axes, point: NDArray[np.float64], colour: str) -> None:
    axes.plot(*point, marker="*", markersize=13, color=colour, markeredgecolor="white", zorder=5)


def _finish(figure: Figure, path: Path, lines: list[Line2D], *, legend: str) -> None:
    """Dress the panels, set the legend beside them, write the file."""
    last_step = max(axes.dataLim.x1 for axes in figure.axes) if lines else 1.0
    for axes in figure.axes:
        axes.grid(color=_GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.set_xlim(0, 1.02 * last_step)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#999999")
        axes.tick_params(which="both", colors=_INK, labelsize=9)
        axes.yaxis.label.set_color(_INK)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.label_outer()
    figure.axes[-1].set_xlabel("optimizer step", color=_INK)
    if lines:
        # Handed over one by one, as Matplotlib finds no label that begins with an underscore.
        labels = [str(line.get_label()) for line in lines]
        box = figure.legend(
            lines,
            labels,
            loc="outside right upper",
            title=legend,
            frameon=False,
            fontsize=9,
            handlelength=3,
        )
        box.get_title().set_color(_INK)
        box.set_alignment("left")
    else:
        place = figure.axes[0].transAxes
        figure.axes[0].text(0.5, 0.5, "nothing was logged", ha="center", transform=place)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
