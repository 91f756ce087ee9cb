"""Markdown as the Hub shows it, of values that may hold anything."""

import html
import re
from collections.abc import Iterable, Sequence


def text(value: str) -> str:
    r"""Plain text on one line, with nothing that Markdown or HTML would read as its own.

    >>> print(text("a|b <i>"))
    a\|b \<i\>
    """
    special = r"[\\`*\[\]<>|~$#&]|(?<![^\W_])_|_(?![^\W_])"  # within a word `_` is only itself
    return re.sub(special, r"\\\g<0>", " ".join(value.split()))


def code(value: str) -> str:
    """A name in the typewriter's letters, or as text if it cannot stand in them."""
    plain = " ".join(value.split())
    return f"`{plain}`" if plain and not re.search(r"[`|]", plain) else text(value)


def block(language: str, lines: Iterable[str]) -> str:
    """Lines of code."""
    return "\n".join([f"```{language}", *lines, "```"])


def fold(title: str, content: str) -> str:
    """Content that shows at a click on its title, which is plain text."""
    heading = html.escape(title, quote=False)
    return f"<details>\n<summary>{heading}</summary>\n\n{content}\n\n</details>"


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table whose last columns, so many as ``numbers``, are right-aligned."""
    rule = ["---"] * (len(header) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
