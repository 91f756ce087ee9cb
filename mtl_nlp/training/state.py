"""What a checkpoint holds beside the model: all that a bit-identical continuation needs."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mtl_nlp.errors import ModelError
from mtl_nlp.training.selection import Selection
from mtl_nlp.training.sharding import spread
from mtl_nlp.training.skipping import NONE_SKIPPED, Skips

_STATE, _OPTIMIZER = "state.json", "optimizer.pt"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after some optimizer steps.

    Random numbers need no state: each step seeds its own.

    Attributes:
        step: Steps done.
        mixture: As `Mixture.state` gives it for the next step.
        selection: The best evaluation so far.
        rows: Rows drawn from each dataset.
        skips: Steps that were skipped.
        data: A number for each dataset that changes with its training rows; empty where not known.
    """

    step: int
    mixture: dict[str, Any]
    selection: Selection
    rows: dict[str, int]
    skips: Skips = NONE_SKIPPED
    data: dict[str, int] = field(default_factory=dict)


def save_state(
    folder: Path,
    state: TrainingState,
    optimizer: Mapping[str, Any],
    schedule: LambdaLR,
    scaler: torch.amp.GradScaler | None,
    balancing: Mapping[str, Any],
    average: Mapping[str, Any] | None = None,
) -> None:
    """Write the state beside a checkpoint's model.

    Raises:
        OSError: If the disk will not take it.
    """
    (folder / _STATE).write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    content = {
        "optimizer": dict(optimizer),
        "schedule": schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "balancing": dict(balancing),
        **({"average": dict(average)} if average else {}),
    }
    try:
        torch.save(content, folder / _OPTIMIZER)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{_OPTIMIZER} could not be written ({error})") from error


def check_readable(folder: Path) -> None:
    """Refuse a checkpoint that lacks a part, as a fault of the disk may leave it.

    The files are opened and their tables of contents read, which shows what was cut off.

    Raises:
        ModelError: Naming the file.
    """
    load_state(folder)
    name = ""
    try:
        for path in sorted(folder.glob("*.json")):
            name = path.name
            json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.safetensors")) or [folder / "model.safetensors"]:
            name = path.name
            with safe_open(path, framework="pt"):
                pass
        name = _OPTIMIZER
        zipfile.ZipFile(folder / name).close()
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
        raise ModelError(f"checkpoint {folder}: {name} cannot be read ({error})") from error


def load_state(folder: Path) -> TrainingState:
    """The state that a checkpoint holds.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        content = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return TrainingState(
            content["step"],
            content["mixture"],
            Selection(**content["selection"]),
            content["rows"],
            Skips(**content.get("skips", {})),
            content.get("data", {}),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"checkpoint {folder}: {_STATE} cannot be read ({error}); delete this folder to resume"
            " from the checkpoint before it"
        ) from error


def load_optimizer(
    folder: Path,
    optimizer: Optimizer,
    schedule: LambdaLR,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put optimizer, schedule and gradient scaler where they stood at a checkpoint."""
    content = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(spread(content["optimizer"], optimizer))
    schedule.load_state_dict(content["schedule"])
    if scaler is not None:
        scaler.load_state_dict(content["scaler"])


def load_balancing(folder: Path) -> dict[str, Any]:
    """What balancing remembered at a checkpoint."""
    content = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    state: dict[str, Any] = content["balancing"]
    return state


def load_average(folder: Path) -> dict[str, Any]:
    """What an average of the weights needs beside the averaged model."""
    content = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    state: dict[str, Any] = content["average"]
    return state
