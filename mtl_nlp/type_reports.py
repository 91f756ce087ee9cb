"""What the command line tells of task types."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mtl_nlp.tasks.base import Task


def describe_type(task_type: "type[Task]") -> dict[str, Any]:
    """A task type as JSON values: what it is, input, columns, metrics, options."""
    from mtl_nlp.tasks import options_of

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


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()
