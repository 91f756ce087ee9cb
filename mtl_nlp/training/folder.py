"""The output folder of a training: refused, begun, finished; then it is a model folder."""

import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mtl_nlp.errors import DataError, UserError
from mtl_nlp.hub.run_folder import LOG, METRICS, PLOTS, RECIPE
from mtl_nlp.plots import plot_draws, plot_losses, plot_metrics
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.log import read_log

CHECKPOINTS = "checkpoints"
_PART = f".{RECIPE}.*.part"
"""What a process leaves that is killed while it writes the recipe, which comes first."""
_SEEN_WITHIN = 60.0
"""Seconds after which a shared file system shows every machine what one of them wrote."""
_MAY_CHANGE = (
    "output",
    "tasks.*.metrics",
    "training.micro_batch_size",
    "training.micro_batch_tokens",
    "training.gradient_checkpointing",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.early_stopping",
    "training.max_skipped",
    "training.trackers",
    "evaluation.every",
    "hub.*",
)
"""What may change between a run and its resumption, and leave the rest its meaning."""


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        path: The run folder, which loads with ``from_pretrained``.
        metrics: ``{split: {task: {metric: value}, "mean": value}}``.
    """

    path: Path
    metrics: dict[str, Any]


class OutputFolder:
    """Where one run is written; what it holds is read by `mtl_nlp.hub.run_folder`.

    Args:
        path: Where it is or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> list[str]:
        """Refuse a folder that must not be written to.

        Returns:
            What has changed in the recipe of a run that is resumed, and may have.

        Raises:
            UserError: If it holds a run and neither is wanted, holds other things, or would be
                resumed under a recipe that changes what was done so far.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"output: {self.path} is a file; name a folder")
        above = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        if not above.is_dir():
            raise UserError(
                f"output: {self.path} lies below {above}, which is a file; name another"
            )
        if not os.access(above, os.W_OK):
            raise UserError(f"output: the folder {above} may not be written to; name another")
        if not self.path.is_dir() or all(path.match(_PART) for path in self.path.iterdir()):
            return []
        if not (self.path / RECIPE).is_file():
            raise UserError(
                f"output: {self.path} is not empty and holds no run; name another folder with"
                " output=…"
            )
        if resume:
            return self._changes(recipe)
        if not overwrite:
            raise UserError(
                f"output: {self.path} holds a run; go on with --resume, replace it with"
                " --overwrite, or name another folder with output=…"
            )
        return []

    def _changes(self, recipe: Recipe) -> list[str]:
        """What a recipe changes in that of the run, or a refusal where it must not."""
        changes = Recipe.from_yaml(self.path / RECIPE).describe_difference(recipe)
        if harmful := [line for line in changes if not _may_change(line.partition(":")[0])]:
            raise UserError(
                f"--resume: the recipe is not the one of {self.path}: {'; '.join(harmful)};"
                " resume with the same recipe, or start anew with --overwrite"
            )
        return changes

    def begin(self, recipe: Recipe, *, overwrite: bool) -> None:
        """Make the folder, empty it of an old run if asked, and keep the recipe in it."""
        if overwrite and (self.path / RECIPE).is_file():
            # Killed in between it must neither look finished nor be taken for something else.
            entries = sorted(
                self.path.iterdir(), key=lambda path: (path.name != METRICS, path.name == RECIPE)
            )
            for entry in entries:  # the folder may be a link, or one that is mounted
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        for part in self.path.glob(_PART):
            part.unlink()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            recipe.to_yaml(self.path / RECIPE)
        except OSError as error:
            raise UserError(
                f"output: {self.path} cannot be written to: {error.strerror or error}; name another"
            ) from error

    def check_seen(self) -> None:
        """Refuse a folder that this process, of several machines, does not share with the main one.

        Raises:
            UserError: If the recipe that the main process has kept in it is not there.
        """
        end = time.monotonic() + _SEEN_WITHIN
        while not (self.path / RECIPE).is_file():
            if time.monotonic() < end:
                time.sleep(1)
                continue
            raise UserError(
                f"output: the main process writes {self.path}, which {platform.node()} does not"
                " see; name a folder on a file system that all machines share"
            )

    def finished(self) -> Run | None:
        """The run, if it is finished."""
        try:
            content = (self.path / METRICS).read_text(encoding="utf-8")
        except OSError:
            return None
        return Run(self.path, json.loads(content))

    def finish(
        self,
        best: Path,
        metrics: Mapping[str, Any],
        primary: Mapping[str, str],
        best_step: int,
        shares: Mapping[str, Any],
        sizes: Mapping[str, int],
    ) -> None:
        """Put the selected model, plots and, last of all, the metrics in place.

        Args:
            best: Folder of the selected checkpoint.
            metrics: The run's scores.
            primary: Name of each task's primary metric.
            best_step: The step of the selected checkpoint.
            shares: Planned share of each dataset.
            sizes: Rows that each dataset holds.
        """
        for file in sorted(path for path in best.rglob("*") if path.is_file()):
            if file.name not in ("state.json", "optimizer.pt"):
                _put(file, self.path / file.relative_to(best))
        planned = {name: float(share) for name, share in shares.items()}
        self._plot(primary, best_step, planned, sizes)
        temporary = self.path / f".{METRICS}.tmp"
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path / METRICS)

    def _plot(
        self,
        primary: Mapping[str, str],
        best_step: int,
        shares: Mapping[str, float],
        sizes: Mapping[str, int],
    ) -> None:
        plots = self.path / PLOTS
        plots.mkdir(exist_ok=True)
        try:
            records = read_log(self.path / LOG)
        except DataError:
            return  # a log that was lost or edited costs the pictures, not the model
        plot_losses(records.steps, plots / "losses.png", tasks=list(primary))
        plot_metrics(records.evaluations, plots / "metrics.png", dict(primary), best_step=best_step)
        plot_draws(records.steps, plots / "draws.png", shares, sizes)


def _may_change(place: str) -> bool:
    """Whether a key, by its dotted path, may change; a star stands for one part of a path."""
    parts = place.split(".")
    return any(
        len(parts) == len(kept) and all(map(fnmatchcase, parts, kept))
        for kept in (pattern.split(".") for pattern in _MAY_CHANGE)
    )


def _put(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
