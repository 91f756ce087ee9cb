"""The model card of a run or model folder, made from what the folder holds."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from mtl_nlp.errors import ModelError
from mtl_nlp.hub import card_sections as sections
from mtl_nlp.hub import card_usage
from mtl_nlp.hub.card_metadata import LIBRARY, card_metadata, kept_from
from mtl_nlp.hub.markdown import text
from mtl_nlp.hub.run_folder import CONFIG, METRICS, RECIPE, RunFolder, UnreadableError, known
from mtl_nlp.model.configuration import MultiTaskConfig

CARD = "README.md"
MARKER = "<!-- Written by `mtl-nlp card`, which writes it anew while this line stands here. -->"


@dataclass(frozen=True)
class Card:
    """A card that was written.

    Attributes:
        path: The file.
        problems: What the card could not tell and why, a sentence each.
    """

    path: Path
    problems: tuple[str, ...]


def write_card(folder: Path, *, repo_id: str | None = None, overwrite: bool = False) -> Card:
    """Writes ``README.md`` from what a run, checkpoint or model folder holds.

    Every section fails alone: one whose files are missing or broken says so in the card, and the
    reason comes back. Nothing in the card tells a path of the machine. Licence and language that a
    person has written into the metadata of an earlier card are kept.

    Args:
        folder: Holds ``config.json`` and whatever else training left.
        repo_id: Repository on the Hub that the card's code names; by default the recipe's.
        overwrite: Whether a card that is a person's own is replaced.

    Raises:
        ModelError: If the folder holds nothing of a model, or another model than one of this
            package, the card in it is a person's own, or it cannot be written; then the folder is
            as it was.
    """
    source = RunFolder(Path(folder))
    if not source.holds_a_piece():
        raise ModelError(
            f"{folder} is no model folder: expected {CONFIG}, {RECIPE} or {METRICS} in it, found"
            " none; name the folder that training left, or one of its checkpoints"
        )
    if other := source.holds_another_model():
        raise ModelError(
            f"{folder} is no model of this package: expected model_type"
            f" {MultiTaskConfig.model_type!r} in its {CONFIG}, found {other}; name a folder that"
            " `mtl-nlp train` or save_pretrained left"
        )
    path = source.path / CARD
    if not overwrite and path.exists() and not _is_ours(path):
        raise ModelError(
            f"{path} is a person's own text: the comment that marks a card of mtl_nlp is not in it;"
            " move it away to have a card written"
        )
    filled, problems = _filled(source, repo_id or _planned_id(source), kept_from(path))
    _replace(path, filled)
    return Card(path, tuple(problems))


def _is_ours(path: Path) -> bool:
    try:
        return MARKER in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _planned_id(source: RunFolder) -> str | None:
    recipe = known(lambda: source.recipe)
    return recipe.hub.repo_id if recipe is not None and recipe.hub.push != "never" else None


def _filled(
    source: RunFolder, repo_id: str | None, declared: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """The card's text, and the problems, each once."""
    title = repo_id.rpartition("/")[2] if repo_id else source.name
    address = repo_id or f"path/to/{source.path.resolve().name}"
    makers: dict[str, Callable[[], str]] = {
        "metadata": lambda: _yaml(card_metadata(source, title, declared)),
        "summary": lambda: sections.summary(source),
        "tasks": lambda: sections.tasks(source),
        "usage": lambda: card_usage.usage(source, address),
        "commands": lambda: card_usage.commands(source, address),
        "export": lambda: card_usage.export(source, address),
        "scores": lambda: sections.scores(source),
        "data": lambda: sections.data(source),
        "training": lambda: sections.training(source),
        "settings": lambda: sections.settings(source),
        "plots": lambda: sections.plots(source),
        "limits": lambda: sections.limits(source, declared),
        "versions": sections.versions,
    }
    slots = {"marker": MARKER, "title": text(title)}
    problems: dict[str, None] = {}
    for name, make in makers.items():
        try:
            slots[name] = make()
        except UnreadableError as error:
            slots[name] = f"*{error.shown}*"
            problems[str(error)] = None
        except Exception as error:  # a card never costs a run
            bare = _yaml({"library_name": LIBRARY})
            slots[name] = bare if name == "metadata" else "*This part could not be made.*"
            problems[f"{name} of the card: {type(error).__name__}: {error}"] = None
    template = files("mtl_nlp.hub").joinpath("card_template.md").read_text(encoding="utf-8")
    return Template(template).substitute(slots), list(problems)


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).strip()


def _replace(path: Path, content: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_bytes(content.encode("utf-8", "replace"))
        part.replace(path)
    except OSError as error:
        raise ModelError(
            f"{path}: the card cannot be written: {error.strerror or error}; the rest of the folder"
            " is as it was; mend that, and write the card with `mtl-nlp card`"
        ) from error
    finally:
        part.unlink(missing_ok=True)
