"""Where encoders and datasets came from, told without a path of the machine."""

from pathlib import Path, PureWindowsPath

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from mtl_nlp.hub.markdown import code, text
from mtl_nlp.hub.run_folder import RunFolder, known
from mtl_nlp.packages import PREFIX
from mtl_nlp.recipe_values import FILE_LOADERS


def starting_point(folder: RunFolder) -> str:
    """The encoder as it was named to begin with; empty if nothing tells."""
    recipe, config = known(lambda: folder.recipe), known(lambda: folder.config)
    if recipe is not None:
        return recipe.encoder
    return str(config.encoder_config._name_or_path) if config is not None else ""


def warm_start(folder: RunFolder) -> str | None:
    """The model of this package that training started from, if any."""
    recipe = known(lambda: folder.recipe)
    return None if recipe is None else recipe.warm_start.model


def hub_id(source: str) -> str | None:
    """The repository that an encoder or dataset is named by; None if it is a file or a loader."""
    name = source.partition("@")[0]
    if not name or name in FILE_LOADERS or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def file_name(source: str) -> str:
    r"""The last part of a path or URL, which tells nothing of the machine it lies on.

    >>> file_name("/home/me/train.jsonl"), file_name("zip://a/b.csv::C:\\c.zip")
    ('train.jsonl', 'b.csv::c.zip')
    """
    return "::".join(_last_part(part) for part in source.split("::"))


def named(place: str, hub: str = "https://huggingface.co") -> str:
    """An encoder or dataset as its page on the Hub, or without its place on the machine."""
    if place.startswith(PREFIX):
        return f"files in the Python package {code(place.removeprefix(PREFIX))}"
    if name := hub_id(place):
        return f"[{text(place)}]({hub}/{name})"
    return f"a local folder, {code(file_name(place))}"


def _last_part(path: str) -> str:
    if "://" in path:
        path = path.partition("?")[0].partition("#")[0]
    return PureWindowsPath(path).name
