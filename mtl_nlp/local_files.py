"""Files as recipes name them: paths, glob patterns and URLs, and what is like a missing one."""

import glob
import os
import re
from pathlib import Path

from mtl_nlp.suggest import did_you_mean


def absolute(file: str, folder: Path) -> str:
    """A local path or glob pattern joined to `folder`; URLs and absolute paths are left.

    >>> absolute("a/*.jsonl", Path("/data")), absolute("hf://datasets/x/y.csv", Path("/data"))
    ('/data/a/*.jsonl', 'hf://datasets/x/y.csv')
    """
    if is_url(file) or not file:
        return file
    home = Path.home() / file[2:] if file.startswith("~/") else Path(file)
    return os.path.normpath(folder / home)


def is_url(file: str) -> bool:
    """Whether a file stands behind a protocol such as `https://` or `hf://`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", file) is not None


def missing(pattern: str) -> str | None:
    """What is wrong where a local file or glob pattern meets no file, else None."""
    path = Path(absolute(pattern, Path.cwd()))
    if is_url(pattern) or path.is_file():
        return None
    if path.is_dir():
        return f"{path} is a folder; name the files in it, as in {path}/*.jsonl"
    if not glob.has_magic(pattern):
        return f"there is no file {path}; {files_nearby(path)}"
    matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - the pattern is absolute
    if any(Path(file).is_file() for file in matches):
        return None
    return f"no file matches {path}"


def files_nearby(path: Path) -> str:
    """The tail of a message about a missing file: what its folder holds that is like it."""
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not names:
        return f"the folder {folder} is empty"
    known = did_you_mean(path.name, names)
    if len(names) > 8 and known.startswith("known"):
        return f"{folder} holds {len(names)} other files"
    return known.replace("known are", f"{folder} holds").replace("known is", f"{folder} holds")
