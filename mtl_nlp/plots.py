"""Pictures of a training from the lines of its log: losses, metrics and draws, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from mtl_nlp.curves import Curve, best, curves_of, smoothed, thinned
from mtl_nlp.figures import draw, finish, mark, new_figure, panel_below, styled
from mtl_nlp.tables import LOWER_IS_BETTER

_MEAN = "mean"


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
    figure, axes = new_figure("Training loss per task", "loss, mean over labelled items")
    raw = curves_of((line["step"], line["losses"]) for line in steps)
    smooth = {task: smoothed(curve) for task, curve in raw.items()}
    lines = []
    for task, colour, pattern in styled([*tasks, *raw]):
        if task in raw:
            faint = thinned(raw[task])
            alpha = min(0.25, 1.5 / (len(raw) + 2))
            axes.plot(faint[:, 0], faint[:, 1], color=colour, alpha=alpha, linewidth=0.7, zorder=1)
            lines.append(draw(axes, smooth[task], task, colour, pattern))
    _scale_losses(axes, np.concatenate([[], *(curve[:, 1] for curve in smooth.values())]))
    finish(figure, path, lines, legend="task, smoothed\n(faint: single steps)")


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
    figure, axes = new_figure("Primary metric per task on validation", "score")
    below = axes
    if apart:
        below = panel_below(figure, axes, ", ".join(sorted({primary[task] for task in apart})))
    lines = []
    for task, colour, pattern in styled(primary):
        if task in curves:
            panel, lower = below if task in apart else axes, primary[task] in LOWER_IS_BETTER
            label = f"{task}  ({primary[task]})"
            lines.append(draw(panel, curves[task], label, colour, pattern, marker="o"))
            mark(panel, best(curves[task], lower=lower), colour)
    if mean is not None and len(primary) > 1:
        lines.append(draw(axes, mean, _MEAN, "black", "-", marker="o", width=2.6))
        mark(axes, best(mean), "black")
    if best_step is None and mean is not None:
        best_step = int(best(mean)[0])
    if best_step is not None:
        for panel in figure.axes:
            line = panel.axvline(best_step, color="#777777", linestyle=":", linewidth=1.2, zorder=1)
        line.set_label(f"selected: step {best_step:,}")
        lines.append(line)
    finish(figure, path, lines, legend="task  (metric),  ★ its best")


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
    figure, axes = new_figure("Share of rows drawn per dataset", "share of all rows so far")
    lines, highest = [], 0.0
    for name, colour, pattern in styled(names):
        share = planned.get(name, 0) / (sum(planned.values()) or 1)
        axes.axhline(share, color=colour, linewidth=4, alpha=0.25, zorder=1)
        highest = max(highest, share)
        if len(steps):
            curve = np.column_stack([numbers, rows[name] / np.maximum(total, 1)])
            passes = f",  {rows[name][-1] / sizes[name]:,.1f} passes" if name in sizes else ""
            label = f"{name}  {curve[-1, 1]:.1%}  ({share:.1%}){passes}"
            lines.append(draw(axes, curve, label, colour, pattern))
            highest = max(highest, curve[len(steps) // 20 :, 1].max())  # the first steps are noise
    axes.set_ylim(0, min(1.15 * highest, 1.02) or 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    drawn = f"{total[-1]:,.0f} rows in all" if len(steps) else ""
    finish(figure, path, lines, legend=f"{drawn}\ndataset  drawn  (planned: broad line),  passes")


def _metric_curves(
    evaluations: Sequence[Mapping[str, Any]], primary: Mapping[str, str]
) -> dict[str, Curve]:
    """The curve of each task's primary metric, and of the mean."""
    scores = [(line["step"], line["evaluation"].get("validation", {})) for line in evaluations]
    return curves_of(
        (step, {task: split.get(task, {}).get(metric) for task, metric in primary.items()})
        for step, split in scores
    ) | curves_of((step, {_MEAN: split.get(_MEAN)}) for step, split in scores)


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
