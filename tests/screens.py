"""What a person sees of something that rich prints."""

import io
from collections.abc import Iterable

from rich.console import Console, RenderableType


def shown(parts: Iterable[RenderableType], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]
