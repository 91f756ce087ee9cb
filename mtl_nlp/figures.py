"""How a picture looks, whatever it shows: its colours, lines, panels and legend, and its file.

Colours are those of Okabe and Ito (2008), which colour-blind eyes can tell apart; with more
curves than colours the lines' pattern tells them apart.
"""

from collections.abc import Iterable, Iterator
from itertools import cycle, product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from mtl_nlp.curves import Curve, thinned

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A5C99")
_PATTERNS = ("-", "--", ":")
_INK, _GRID = "#333333", "#DDDDDD"
_MOST_MARKERS = 40


def new_figure(title: str, value: str) -> tuple[Figure, Axes]:
    """An empty picture with one panel."""
    figure = Figure(figsize=(9.0, 4.8), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=10)
    axes.set_ylabel(value)
    return figure, axes


def panel_below(figure: Figure, axes: Axes, value: str) -> Axes:
    """A lower panel that shares the steps of the picture's panel."""
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1))
    axes.set_subplotspec(grid[0])
    below = figure.add_subplot(grid[1], sharex=axes)
    below.set_ylabel(value)
    return below


def styled(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Every name once, with its colour and line pattern."""
    styles = cycle(product(_PATTERNS, _COLOURS))
    for name, (pattern, colour) in zip(dict.fromkeys(names), styles, strict=False):
        yield name, colour, pattern


def draw(
    axes: Axes,
    curve: Curve,
    label: str,
    colour: str,
    pattern: str,
    *,
    marker: str = "",
    width: float = 1.8,
) -> Line2D:
    """A curve in a panel; single points and few ones are marked."""
    curve = thinned(curve)
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


def mark(axes: Axes, point: NDArray[np.float64], colour: str) -> None:
    """A star on a point (step, value)."""
    axes.plot(*point, marker="*", markersize=13, color=colour, markeredgecolor="white", zorder=5)


def finish(figure: Figure, path: Path, lines: list[Line2D], *, legend: str) -> None:
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
