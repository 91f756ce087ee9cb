"""Files inside installed Python packages, which a recipe names as ``package:NAME``."""

from importlib.util import find_spec
from pathlib import Path

PREFIX = "package:"


def package_folder(name: str) -> Path:
    """The folder of an installed package.

    Args:
        name: Import path, with or without ``package:``.

    Raises:
        LookupError: If no such package is installed.
    """
    package = name.removeprefix(PREFIX)
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"no package {package!r} is installed; install it, or give a folder")
    return Path(next(iter(spec.submodule_search_locations)))
