"""Scores as tables for people, drawn by rich on whatever console they are printed to."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

LOWER_IS_BETTER = frozenset({"perplexity", "rmse", "kl_divergence"})

Scores: TypeAlias = Mapping[str, Mapping[str, Any]]  # task -> metric -> value


def format_score(value: float | None) -> str:
    """A score in few characters: counts as they are, a dash for none, else four decimals.

    >>> format_score(0.87654), format_score(1234), format_score(None), format_score(1234.5)
    ('0.8765', '1,234', '-', '1,234.5')
    """
    if value is None or value != value:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def metrics_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """The content of a ``metrics.json``, a column per split, a row per metric of each task.

    Of a metric that is a mapping (``per_type``) each entry is an indented row: its ``f1`` where
    it has one, else its first number.

    Args:
        metrics: {split: {task: {metric: value}, "mean": value}}, the primary metric first.
    """
    splits = list(metrics)
    table = plain_table("task", "metric")
    for split in splits:
        table.add_column(split, justify="right", no_wrap=True)
    for task in _in_order(metrics[split] for split in splits):
        if task == "mean":
            continue
        scores = [metrics[split].get(task, {}) for split in splits]
        for position, metric in enumerate(_in_order(scores)):
            style = "bold" if position == 0 else ""
            values = [score.get(metric) for score in scores]
            name = Text(task if position == 0 else "", "cyan")
            if any(isinstance(value, Mapping) for value in values):
                _add_entries(table, metric, [value or {} for value in values])
            else:
                table.add_row(name, Text(metric, style), *(_cell(value, style) for value in values))
        table.add_section()
    if any("mean" in metrics[split] for split in splits):
        means = [metrics[split].get("mean") for split in splits]
        table.add_row(Text("mean", "bold"), "", *(_cell(mean, "bold") for mean in means))
    return table


def evaluation_table(
    scores: Scores,
    primary: Mapping[str, str],
    mean: float | None,
    earlier: Iterable[tuple[int, Scores]] = (),
    *,
    star: str = "★",
) -> Table:
    """One evaluation: each task's primary metric beside the best of the earlier evaluations.

    Args:
        scores: The evaluation's metrics, of every task in ``primary``.
        primary: The metric by which each task is judged; lower is better for those in
            ``LOWER_IS_BETTER``, else higher.
        mean: The mean over the tasks, shown in the last row; None for none.
        earlier: Steps and metrics of the evaluations before.
        star: Marks a score that no earlier evaluation reached.
    """
    table = plain_table("task", "metric")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("best before", justify="right")
    table.add_column("", no_wrap=True)
    history = list(earlier)
    for task, metric in primary.items():
        score = scores.get(task, {}).get(metric)
        sign = -1 if metric in LOWER_IS_BETTER else 1
        before = [
            (sign * value, step)
            for step, old in history
            if (value := old.get(task, {}).get(metric)) is not None and value == value
        ]
        best, step = max(before, key=lambda pair: pair[0], default=(None, None))
        reached = score is not None and score == score and (best is None or sign * score > best)
        table.add_row(
            Text(task, "cyan"),
            metric,
            _cell(score, "bold" if reached else ""),
            "" if best is None else f"{format_score(sign * best)}  (step {step:,})",
            Text(star if reached else "", "yellow"),
        )
    if mean is not None and len(primary) > 1:
        table.add_section()
        table.add_row(Text("mean", "bold"), "", _cell(mean, "bold"), "", "")
    return table


def plain_table(*columns: str) -> Table:
    """A table with a line below its head and no others, whose columns fold."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _in_order(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every key once, in the order of first sight."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _add_entries(table: Table, metric: str, values: list[Mapping[str, Any]]) -> None:
    has_f1 = any(
        isinstance(entry, Mapping) and "f1" in entry for value in values for entry in value.values()
    )
    table.add_row("", Text(metric.replace("_", " ") + (", f1" if has_f1 else ""), "dim"))
    for entry in _in_order(values):
        cells = [_cell(_headline(value.get(entry)), "dim") for value in values]
        table.add_row("", Text(f"  {entry}", "dim"), *cells)


def _headline(entry: float | Mapping[str, float] | None) -> float | None:
    if not isinstance(entry, Mapping):
        return entry
    return entry.get("f1", next(iter(entry.values()), None))


def _cell(value: float | None, style: str) -> Text:
    return Text(format_score(value), style, justify="right")
