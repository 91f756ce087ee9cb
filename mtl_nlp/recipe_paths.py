"""The relative paths in a recipe, made independent of the folder that they start from."""

import contextlib
import os
from pathlib import Path
from typing import Any

from mtl_nlp.local_files import absolute, is_url
from mtl_nlp.recipe_file import unshared
from mtl_nlp.recipe_values import FILE_LOADERS


def absolute_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of a recipe's mapping whose local files and folders no longer depend on `folder`.

    Concerned are `data_files` of the loaders of files (glob patterns are kept, URLs are left), and
    the encoder, the warm start's `model`, the datasets' `path` and the tasks' `metrics` where they
    name folders, or scripts of metrics, that exist, and modules of the user's own task types.
    Shapes are not checked.
    """
    result: dict[str, Any] = unshared(content)
    _make_folder_absolute(result, "encoder", folder)
    if isinstance(result.get("warm_start"), dict):
        _make_folder_absolute(result["warm_start"], "model", folder)
    datasets = result.get("datasets")
    for dataset in datasets.values() if isinstance(datasets, dict) else ():
        if not isinstance(dataset, dict):
            continue
        if dataset.get("path") in FILE_LOADERS:
            if "data_files" in dataset:
                dataset["data_files"] = _absolute_files(dataset["data_files"], folder)
        else:
            _make_folder_absolute(dataset, "path", folder)
    tasks = result.get("tasks")
    for task in tasks.values() if isinstance(tasks, dict) else ():
        if isinstance(task, dict):
            _find_module(task, folder)
            if isinstance(task.get("metrics"), list):
                task["metrics"] = [_absolute_metric(name, folder) for name in task["metrics"]]
    return result


def _absolute_files(files: Any, folder: Path) -> Any:
    if isinstance(files, dict):
        return {split: _absolute_files(value, folder) for split, value in files.items()}
    if isinstance(files, list):
        return [_absolute_files(value, folder) for value in files]
    return absolute(files, folder) if isinstance(files, str) else files


def _make_folder_absolute(content: dict[str, Any], key: str, folder: Path) -> None:
    value = content.get(key)
    if isinstance(value, str) and value and not is_url(value):
        joined = absolute(value, folder)
        with contextlib.suppress(OSError, ValueError):  # too long, or a null byte: no folder's name
            if Path(joined).is_dir():
                content[key] = joined


def _find_module(task: dict[str, Any], folder: Path) -> None:
    """Point a type `module:Class` at the file `module.py` where that lies in the folder."""
    name = task.get("type")
    if isinstance(name, str) and ":" in name:
        module, _, class_name = name.rpartition(":")
        file = folder / (module if module.endswith(".py") else f"{module.replace('.', '/')}.py")
        with contextlib.suppress(OSError, ValueError):
            if file.is_file():
                task["type"] = f"{os.path.normpath(file)}:{class_name}"


def _absolute_metric(name: Any, folder: Path) -> Any:
    if isinstance(name, str) and name:
        joined = Path(absolute(name, folder))
        script = joined if joined.suffix == ".py" else joined / f"{joined.name}.py"
        with contextlib.suppress(OSError, ValueError):
            return str(joined) if script.is_file() else name
    return name
