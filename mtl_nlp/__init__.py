"""One pretrained encoder shared by many NLP tasks: train, load, predict, export, publish.

The public names are imported when they are first used, so importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_nlp.errors import UserError as UserError
    from mtl_nlp.inference.pipeline import MultiTaskPipeline as MultiTaskPipeline
    from mtl_nlp.inference.pipeline import pipeline as pipeline
    from mtl_nlp.model.configuration import MultiTaskConfig as MultiTaskConfig
    from mtl_nlp.model.modeling import MultiTaskModel as MultiTaskModel
    from mtl_nlp.recipe import Recipe as Recipe
    from mtl_nlp.run import check as check
    from mtl_nlp.run import evaluate as evaluate
    from mtl_nlp.run import run_script as run_script
    from mtl_nlp.run import train as train
    from mtl_nlp.tasks.base import Task as Task

__version__ = "0.1.0"

_PUBLIC = {
    "MultiTaskConfig": "mtl_nlp.model.configuration",
    "MultiTaskModel": "mtl_nlp.model.modeling",
    "MultiTaskPipeline": "mtl_nlp.inference.pipeline",
    "Recipe": "mtl_nlp.recipe",
    "Task": "mtl_nlp.tasks.base",
    "UserError": "mtl_nlp.errors",
    "check": "mtl_nlp.run",
    "evaluate": "mtl_nlp.run",
    "pipeline": "mtl_nlp.inference.pipeline",
    "run_script": "mtl_nlp.run",
    "train": "mtl_nlp.run",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
