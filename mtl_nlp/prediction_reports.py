"""What the command line tells of predictions, and of the file that they are made for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mtl_nlp.inference.input_files import PlacedRow, RowFile
from mtl_nlp.words import overlap


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
