"""What commands tell people: the plan of a recipe, predictions, task types."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mtl_nlp.inference.input_files import PlacedRow, RowFile
from mtl_nlp.recipe import Recipe
from mtl_nlp.words import overlap

if TYPE_CHECKING:
    from mtl_nlp.tasks.base import Task

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


def prediction(text: str, predictions: Mapping[str, Any]) -> Iterator[RenderableType]:
    """One text and what each task says of it.

    Args:
        text: The text.
        predictions: By task, as the pipeline gives them.
    """
    yield Text(text, "bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for task, predicted in predictions.items():
        table.add_row(task, _shown(text, predicted))
    yield Padding(table, (0, 0, 1, 2))


@contextmanager
def reading(file: RowFile, *, quiet: bool) -> Iterator[Iterator[PlacedRow]]:
    """The rows of a file, with a progress bar on stderr where that is a terminal.

    Args:
        file: What is read.
        quiet: Show no bar, because stdout is a terminal as well and shows the rows.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=False,  # else the rows would go where the bar is
    ) as bar:
        task = bar.add_task(Path(file.name).name, total=file.total, rows=0)

        def rows() -> Iterator[PlacedRow]:
            for number, row in enumerate(file, start=1):
                yield row
                bar.update(task, completed=file.done, total=file.total, rows=number)

        yield rows()


def describe_type(task_type: "type[Task]") -> dict[str, Any]:
    """A task type as JSON values: what it is, input, columns, metrics, options."""
    from mtl_nlp.tasks.base import options_of

    hints = get_type_hints(task_type)
    summary = (task_type.__doc__ or "").strip().partition("\n")[0]
    options = {
        name: {
            "default": None if field.default is MISSING else field.default,
            "choices": list(_choices(hints[name])),
            "meaning": field.metadata["option"],
        }
        for name, field in options_of(task_type).items()
    }
    return {
        "summary": summary,
        "input": [list(way) for way in task_type.takes],
        "columns": [list(way) for way in task_type.columns],
        "column_meanings": dict(task_type.column_meanings),
        "metrics": list(task_type(name="any").metric_names),
        "metrics_where": {
            f"{name}: {choice}": list(metrics)
            for name in options
            for choice in _choices(hints[name])
            if (metrics := task_type(name="any", **{name: choice}).metric_names)
            != task_type(name="any").metric_names
        },
        "options": options,
    }


def task_types(types: Mapping[str, Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Task types as `describe_type` gives them."""
    for position, (name, described) in enumerate(types.items()):
        yield Text.assemble("" if position == 0 else "\n", (name, "bold cyan"))
        yield Padding(Text(described["summary"]), (0, 0, 0, 2))
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_row("input", "", ", or ".join(map(" + ".join, described["input"])))
        for number, way in enumerate(described["columns"]):
            for place, column in enumerate(way):
                head = "" if place else "or" if number else "columns"
                grid.add_row(head, column, Text(described["column_meanings"].get(column, "")))
            if number and not way:
                grid.add_row("or", "none", "")
        for number, (option, its) in enumerate(described["options"].items()):
            values = " | ".join(map(str, its["choices"]))
            default = "none" if its["default"] in (None, (), "") else its["default"]
            meaning = f"{its['meaning']} ({values}{'; ' if values else ''}default {default})"
            # Not as it is: brackets would be taken for markup.
            grid.add_row("options" if number == 0 else "", option, Text(meaning))
        grid.add_row("metrics", described["metrics"][0], ", ".join(described["metrics"][1:]))
        for where, metrics in described["metrics_where"].items():
            grid.add_row("", metrics[0], f"{', '.join(metrics[1:])} (with {where})")
        yield Padding(grid, (0, 0, 0, 2))
    yield Text(
        "\nEvery task also has type and dataset, and may have labels, map, weight and metrics."
    )


def _split_table(
    head: str,
    splits: Sequence[str],
    last: str,
    rows: Mapping[str, Mapping[str, str]],
    datasets: Mapping[str, Any],
) -> Table:
    table = _table(head)
    for column in (*splits, last):
        table.add_column(column, justify="right", no_wrap=True)
    for name, counts in rows.items():
        share = f"{datasets[name]['share']:.1%}"
        table.add_row(Text(name, "cyan"), *(counts.get(split, "-") for split in splits), share)
    return table


def _task_table(tasks: Mapping[str, Any], splits: Sequence[str]) -> Table:
    table = _table("task", "label")
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
    grid.add_row("output", recipe.output)
    yield grid


def _bullet(text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="yellow")
    grid.add_column(overflow="fold")
    grid.add_row("!", Text(text))
    return grid


def _shown(text: str, predicted: Any) -> Text:
    """A prediction by its shape: spans in the text, tagged words, a label, else its JSON."""
    match predicted:
        case [{"entity_group": _, "start": _, "end": _}, *_] if not _nested(predicted):
            return _marked(text, predicted)
        case []:
            return Text("none", "dim")
        case {"label": label, "score": float(score)}:
            return Text.assemble((str(label), "bold green"), (f"  {score:.2f}", "dim"))
        case {"embedding": numbers}:
            return Text(f"embedding of {len(numbers)} numbers (--json shows them)", "dim")
        case {"words": words, "tags": tags}:
            shown = Text()
            for word, tag in zip(words, tags, strict=True):
                shown.append(f"{word}").append(f"/{tag} ", "green")
            return shown
    return Text(json.dumps(predicted, ensure_ascii=False))


def _nested(entities: Sequence[Mapping[str, Any]]) -> bool:
    return overlap([(entity["start"], entity["end"]) for entity in entities]) is not None


def _marked(text: str, entities: Sequence[Mapping[str, Any]]) -> Text:
    """The text with its entities in brackets, each with its type and score."""
    shown, done = Text(), 0
    for entity in sorted(entities, key=lambda entity: int(entity["start"])):
        shown.append(text[done : entity["start"]], "dim")
        shown.append("[").append(text[entity["start"] : entity["end"]], "bold")
        shown.append(f" {entity['entity_group']}", "green").append(f" {entity['score']:.2f}", "dim")
        shown.append("]")
        done = entity["end"]
    return shown.append(text[done:], "dim")


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


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
