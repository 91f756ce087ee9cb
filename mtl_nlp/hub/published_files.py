"""What of a model folder is published: nothing private, and no path of the machine."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from mtl_nlp.errors import HubError

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}  # run code when they are loaded
TEMPORARY = {".tmp", ".temp", ".part", ".incomplete", ".lock", ".swp"}
PRIVATE_FOLDERS = {"checkpoints", "__pycache__"}
PRIVATE_FILES = {"log.jsonl", "state.json"}  # at the top: the log, and a checkpoint's own state


def published_files(folder: Path) -> dict[str, Path | bytes]:
    """Path in the repository, to the file or to its content.

    Left out are checkpoints, the log, what only resuming needs, pickles, hidden and temporary
    files; ``recipe.yaml`` has its local paths reduced to file names.

    Raises:
        HubError: If the recipe cannot be read, so that its paths would go out.
    """
    files: dict[str, Path | bytes] = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not path.is_file() or _kept_back(place):
            continue
        files[place.as_posix()] = path
    if isinstance(recipe := files.get("recipe.yaml"), Path):
        files["recipe.yaml"] = _published_recipe(recipe)
    return files


def _kept_back(place: Path) -> bool:
    return (
        any(part.startswith(".") for part in place.parts)
        or not PRIVATE_FOLDERS.isdisjoint(place.parts[:-1])
        or str(place) in PRIVATE_FILES
        or place.suffix.lower() in PICKLES | TEMPORARY
        or place.name.endswith("~")
    )


def _published_recipe(path: Path) -> bytes:
    """The recipe with its absolute paths reduced to file names, in `tasks` of types and metrics."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HubError(
            f"{path} is not readable as YAML, so the local paths in it cannot be taken out: "
            "mend it or delete it"
        ) from error
    if not isinstance(recipe, dict):
        raise HubError(f"{path} is no recipe, but {type(recipe).__name__}: mend it or delete it")
    published = {
        key: _without_own_folders(value) if key == "tasks" else _without_folders(value)
        for key, value in recipe.items()
    }
    return yaml.safe_dump(published, sort_keys=False, allow_unicode=True).encode()


def _without_own_folders(tasks: Any) -> Any:
    """Tasks with the files of types and metrics reduced to their names; all else are names."""
    if not isinstance(tasks, dict):
        return tasks
    return {
        name: {
            key: _without_folders(value) if key in ("type", "metrics") else value
            for key, value in task.items()
        }
        if isinstance(task, dict)
        else task
        for name, task in tasks.items()
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    # "zip://train.jsonl::/home/me/all.zip" is how datasets writes a file inside an archive
    return "::".join(_file_name(part) for part in value.split("::"))


def _file_name(part: str) -> str:
    path = part.removeprefix("file://")
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return PureWindowsPath(path).name if absolute or path.startswith("~") else part
