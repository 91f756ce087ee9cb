"""What the command line tells of a recipe: its plan, and where its trained model is."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mtl_nlp.recipe import Recipe
from mtl_nlp.tables import plain_table

_SPLITS = ("train", "validation", "test")
_LABELS = 12  # of a task; more are counted together


def plan(report: Mapping[str, Any], recipe: Recipe) -> Iterator[RenderableType]:
    """What training a recipe would do.

    Args:
        report: What ``check`` gives.
        recipe: The recipe that was checked.
    """
    datasets, tasks = report["datasets"], report["tasks"]
    rows = {
        name: {split: f"{count:,}" for split, count in spec["rows"].items()}
        for name, spec in datasets.items()
    }
    splits = [split for split in _SPLITS if any(split in counts for counts in rows.values())]
    yield _split_table("dataset", splits, "share of steps", rows, datasets)
    yield ""
    yield _task_table(tasks, splits)
    yield ""
    yield from _budget(report, recipe)
    warnings = report["warnings"]
    if warnings:
        yield Text(f"\n{len(warnings)} warning{'s' if len(warnings) > 1 else ''}", "bold yellow")
        for warning in warnings:
            yield _bullet(warning)
    else:
        yield Text("\nno warnings", "green")


def trained(folder: Path, recipe: Recipe) -> Iterator[RenderableType]:
    """Where a trained model is and what to do with it.

    Args:
        folder: The run folder.
        recipe: Of the run; where it has the run published, that was done.
    """
    place, hub = _shortest(folder), recipe.hub
    plain = any(spec.inputs.keys() <= {"text", "tokens"} for spec in recipe.datasets.values())
    given = '"A text."' if plain else "--input rows.jsonl"
    yield Text.assemble("\nmodel     ", (place, "bold"))
    yield Text(f"predict   mtl-nlp predict {place} {given}")
    if hub.repo_id is None or hub.push == "never":
        private = " --private" if hub.private else ""
        yield Text(f"publish   mtl-nlp push {place} {hub.repo_id or 'org/name'}{private}")


def _split_table(
    head: str,
    splits: Sequence[str],
    last: str,
    rows: Mapping[str, Mapping[str, str]],
    datasets: Mapping[str, Any],
) -> Table:
    table = plain_table(head)
    for column in (*splits, last):
        table.add_column(column, justify="right", no_wrap=True)
    for name, counts in rows.items():
        share = f"{datasets[name]['share']:.1%}"
        table.add_row(Text(name, "cyan"), *(counts.get(split, "-") for split in splits), share)
    return table


def _task_table(tasks: Mapping[str, Any], splits: Sequence[str]) -> Table:
    table = plain_table("task", "label")
    for split in splits:
        table.add_column(split, justify="right", no_wrap=True)
    for name, task in tasks.items():
        table.add_row(Text(name, "bold cyan"), Text(task["type"], "dim"))
        for label, counts in _label_rows(task["labels"]):
            table.add_row("", label, *(_count(counts.get(split)) for split in splits))
        missing = task["missing"]
        if any(missing.values()):
            cells = [Text(_count(missing.get(split)), "dim") for split in splits]
            table.add_row("", Text("rows without label", "dim"), *cells)
        if task["truncated"]:
            share = Text(f"{task['truncated']:.1%}", "dim")
            table.add_row("", Text("rows that are cut", "dim"), share)
        table.add_section()
    return table


def _label_rows(
    labels: Mapping[str, Mapping[str, int]],
) -> list[tuple[str | Text, Mapping[str, int]]]:
    """Labels with their counts per split, the commonest of train first."""
    names = list(dict.fromkeys(name for counts in labels.values() for name in counts))
    names.sort(key=lambda name: -labels.get("train", {}).get(name, 0))
    rows: list[tuple[str | Text, Mapping[str, int]]] = [
        (Text(name), {split: counts.get(name, 0) for split, counts in labels.items()})
        for name in names
    ]
    if len(rows) <= _LABELS + 1:
        return rows
    rest = {split: sum(counts[split] for _, counts in rows[_LABELS:]) for split in labels}
    return [*rows[:_LABELS], (Text(f"{len(rows) - _LABELS} more", "dim italic"), rest)]


def _budget(report: Mapping[str, Any], recipe: Recipe) -> Iterator[RenderableType]:
    training, parameters = recipe.training, report["parameters"]
    length = "" if training.epochs is None else f", {_many(training.epochs, 'pass', 'passes')}"
    heads = ", ".join(f"{name} {_size(count)}" for name, count in parameters["heads"].items())
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    steps = _many(report["steps"], "step", "steps")
    grid.add_row("training", f"{steps} of {training.batch_size} rows{length}")
    grid.add_row("encoder", f"{recipe.encoder}, {_size(parameters['encoder'])} parameters")
    grid.add_row("heads", f"{heads} parameters")
    if "decoder" in parameters:
        grid.add_row("decoder", f"{_size(parameters['decoder'])} parameters")
    if "adapters" in parameters:
        adapters = ", ".join(f"{n} {_size(count)}" for n, count in parameters["adapters"].items())
        learning = f"{_size(parameters['learning'])} parameters learn in all"
        grid.add_row("adapters", f"{recipe.sharing.method}: {adapters} parameters; {learning}")
    elif "learning" in parameters:
        grid.add_row("learning", f"{_size(parameters['learning'])} parameters; the rest is frozen")
    grid.add_row("output", recipe.output)
    yield grid


def _bullet(text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="yellow")
    grid.add_column(overflow="fold")
    grid.add_row("!", Text(text))
    return grid


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _many(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _size(parameters: int) -> str:
    """A number of parameters in few characters."""
    for unit, name in ((1e9, " B"), (1e6, " M")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}{name}"
    return f"{parameters:,}"


def _shortest(folder: Path) -> str:
    """The folder from here, if it lies below, else whole; quoted for a shell where it must be."""
    import shlex

    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
