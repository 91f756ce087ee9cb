"""What a run or model folder holds, each piece read for itself when it is asked for."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open

from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Task

Piece = TypeVar("Piece")
Scores = dict[str, Any]
"""Of one split: {task: {metric: value}, "mean": value}."""

CONFIG, RECIPE, METRICS, LOG, PLOTS = (
    "config.json",
    "recipe.yaml",
    "metrics.json",
    "log.jsonl",
    "plots",
)
_JUDGED_BY = ("test", "validation")  # the split whose score stands for a task, the better first
_PNG = b"\x89PNG\r\n\x1a\n"


class UnreadableError(Exception):
    """A piece of the folder that is missing or broken.

    Attributes:
        shown: A sentence about it without a path of the machine; the message may hold some.
    """

    def __init__(self, piece: str, reason: str | None = None) -> None:
        fault = "is not in the folder" if reason is None else "could not be read"
        super().__init__(f"{piece}: {' '.join((reason or fault).split())}")
        self.shown = f"Nothing to tell here: `{piece}` {fault}."


@dataclass(frozen=True)
class Training:
    """The sums of a training's log.

    Attributes:
        steps: Optimizer steps.
        tokens: Sub-words read, without padding.
        seconds: Time in the steps, without evaluations.
        rows: Rows drawn of each dataset.
        planned: Planned share of each dataset up to the last evaluation; empty where not known.
    """

    steps: int
    tokens: int
    seconds: float
    rows: dict[str, int]
    planned: dict[str, float]


class RunFolder:
    """A folder with a model and perhaps what training left; any piece may be missing or broken.

    Every property raises `UnreadableError` where its piece is.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """What to call the model: the folder's name, of a checkpoint also its run's."""
        place = self.path.resolve()
        if place.parent.name == "checkpoints" and place.parent.parent.name:
            return f"{place.parent.parent.name} {place.name}"
        return place.name or "model"

    def holds_a_piece(self) -> bool:
        """Whether there is anything that a card could speak of."""
        return any((self.path / piece).is_file() for piece in (CONFIG, RECIPE, METRICS))

    def holds_another_model(self) -> str | None:
        """What ``config.json`` says where it is no model of this package, nor a run's folder."""
        if (self.path / RECIPE).is_file():
            return None
        try:
            content = json.loads((self.path / CONFIG).read_bytes())
        except (OSError, ValueError):
            return None  # missing or broken: told in the card
        found = content.get("model_type") if isinstance(content, dict) else None
        return None if found == MultiTaskConfig.model_type else f"model_type {found!r}"

    @cached_property
    def config(self) -> MultiTaskConfig:
        """The model's configuration."""
        with self._reading(CONFIG) as path:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["model_type"] != MultiTaskConfig.model_type:
                raise ValueError(f"model_type is {content['model_type']!r}, not 'mtl_nlp'")
            return MultiTaskConfig(**content)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The model's tasks, by name, but for those of somebody's own types."""
        config = self.config
        with self._reading(CONFIG), warnings.catch_warnings(action="ignore"):
            return config.build_tasks()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the training."""
        with self._reading(RECIPE) as path:
            return Recipe.from_yaml(path)

    @cached_property
    def metrics(self) -> dict[str, Scores]:
        """The scores, by split."""
        with self._reading(METRICS) as path:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not content or not all(_are_scores(scores) for scores in content.values()):
                raise ValueError('expected {split: {task: {metric: value}, "mean": value}}')
            metrics: dict[str, Scores] = content
            return metrics

    def judged_by(self, task: str) -> str | None:
        """The split whose scores stand for a task: test, else validation, else none."""
        return next((split for split in _JUDGED_BY if task in self.metrics.get(split, {})), None)

    @cached_property
    def training(self) -> Training:
        """The sums of the log."""
        with self._reading(LOG) as path:
            lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn
            whole = [json.loads(line) for line in lines]
            records = [record for record in whole if "loss" in record]
            if not records:
                raise ValueError("it holds no step")
            told = [record["shares"] for record in whole if "shares" in record]
            last = told[-1] if told else {}
            planned = {name: float(share["planned"]) for name, share in last.items()}
            rows: Counter[str] = Counter()
            for record in records:
                rows.update(record["rows"])
            return Training(
                steps=int(records[-1]["step"]),
                tokens=sum(int(record["tokens"]) for record in records),
                seconds=sum(float(record["seconds"]) for record in records),
                rows=dict(rows),
                planned=planned,
            )

    @cached_property
    def plots(self) -> list[str]:
        """The pictures, relative to the folder."""
        with self._reading(PLOTS) as folder:
            files = [path for path in sorted(folder.glob("*.png")) if path.name[0] != "."]
            if broken := [path.name for path in files if path.read_bytes()[:8] != _PNG]:
                raise ValueError(f"{', '.join(broken)}: expected PNG files")
            if not files:
                raise ValueError("it holds no PNG files")
            return [f"{PLOTS}/{path.name}" for path in files]

    @cached_property
    def parameters(self) -> int:
        """The numbers in the saved weights, tied ones once."""
        with self._reading("model.safetensors", exists=False):
            total = 0
            for file in sorted(self.path.glob("model*.safetensors")):
                with safe_open(file, framework="numpy") as weights:
                    for name in weights.keys():  # noqa: SIM118 - it cannot be iterated over
                        size = 1
                        for length in weights.get_slice(name).get_shape():
                            size *= length
                        total += size
            if not total:
                raise ValueError("no weights were found")
            return total

    @contextmanager
    def _reading(self, piece: str, *, exists: bool = True) -> Iterator[Path]:
        path = self.path / piece
        if exists and not path.exists():
            raise UnreadableError(piece)
        try:
            yield path
        except UnreadableError:
            raise
        except Exception as error:  # whatever a damaged file does to the libraries that read it
            raise UnreadableError(piece, f"{type(error).__name__}: {error}") from error


def known(read: Callable[[], Piece]) -> Piece | None:
    """A piece of the folder, or None where it cannot be had."""
    with suppress(UnreadableError):
        return read()
    return None


def _are_scores(scores: Any) -> bool:
    return isinstance(scores, dict) and all(
        isinstance(value, dict) or name == "mean" for name, value in scores.items()
    )
