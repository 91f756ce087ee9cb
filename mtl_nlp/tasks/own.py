"""Task types of the user's own, by import path; only a recipe of the user's names them.

A path in a model's ``config.json`` is never imported: who loads such a model hands the type over.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks.base import Task


def is_own(type_name: str) -> bool:
    """Whether a task type's name is an import path, ``module:Class`` or ``file.py:Class``."""
    return ":" in type_name


def own_types(tasks: Mapping[str, Task]) -> dict[str, type[Task]]:
    """The types among those of these tasks that are not this package's, by name."""
    return {task.type: type(task) for task in tasks.values() if is_own(task.type)}


def load_own_type(path: str, *, where: str) -> type[Task]:
    """The class that an import path names; its module is run.

    Args:
        path: ``module:Class``, a module that Python finds, or ``folder/module.py:Class``.
        where: The place that an error names.

    Raises:
        RecipeError: If it cannot be imported, is no task type, or bears another name.
    """
    module_name, _, class_name = path.rpartition(":")
    file = Path(module_name) if module_name.endswith(".py") else None
    try:
        module = importlib.import_module(module_name) if file is None else _run(file)
    except Exception as error:  # the module is the user's, and fails in its own way
        raise RecipeError(
            f"{where}: {module_name!r} cannot be imported: {type(error).__name__}: {error}; put the"
            " module beside the recipe or install it"
        ) from error
    found = vars(module).get(class_name)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise RecipeError(
            f"{where}: {module_name!r} has no task type {class_name!r}; expected a class there that"
            " extends mtl_nlp.Task"
        )
    name = f"{module.__name__}:{class_name}"
    if found.type != name:
        raise RecipeError(
            f"{where}: expected {class_name}.type to be {name!r}, by which a saved model knows it,"
            f" found {found.type!r}; write type: ClassVar[str] = {name!r} in the class"
        )
    return found


def _run(file: Path) -> ModuleType:
    loaded = sys.modules.get(file.stem)
    if loaded is not None and loaded.__file__ == str(file):
        return loaded
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or loaded is not None:
        raise ImportError(f"there is another module {file.stem!r}; give the file another name")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return module
