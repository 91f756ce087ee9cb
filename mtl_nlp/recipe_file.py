"""Recipes as text: YAML in and out, overrides, and the folders that relative paths start from.

Everything here works on plain mappings, before or after `mtl_nlp.recipe` has checked them.
"""

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_values import FILE_LOADERS
from mtl_nlp.suggest import did_you_mean

_TAG = "tag:yaml.org,2002:"
# YAML 1.1, PyYAML's own, reads `no` as false, 1e-4 as text, 007 as 7 and 12:30 as 750. Here only
# what nobody could mean as text is anything else; what is not listed stays text.
_FLOAT = re.compile(r"[-+]?(?:\.\d+|\d+\.\d*|\d+(?=[eE]))(?:[eE][-+]?\d+)?$", re.ASCII)
_SCALARS = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), "~nN"),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(r"-?(?:0|[1-9]\d{0,999})$", re.ASCII), "-0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", re.compile(r"<<$"), "<"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or this module's reader would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # PyYAML folds lines in single quotes, and reads another string back
        style = '"' if data.splitlines() != [data] else None
        return self.represent_scalar(_TAG + "str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, [*_first, ""])
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, [*_first, ""])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, safely loaded: no tags, no key twice.

    Raises:
        RecipeError: If the file is missing, is not UTF-8 or YAML (with line and column), or holds
            something other than a mapping with text as keys.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe; {files_nearby(path)}") from None
    except OSError as error:
        raise RecipeError(f"{path}: the recipe cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}: a recipe is UTF-8 text, but byte {error.start} is not; save it as UTF-8"
        ) from None
    content = _parse(text, source=str(path))
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise RecipeError(f"{path}: a recipe is a mapping (`encoder: …`), but the file {found}")
    for key in content:
        if not isinstance(key, str):
            raise RecipeError(f"{path}: the keys of a recipe are text, found {key!r}")
    return content


def write_yaml(content: dict[str, Any], path: Path) -> None:
    """Writes a mapping that `read_yaml` gives back; the file is whole or untouched.

    Raises:
        RecipeError: If the file cannot be written.
    """
    text = yaml.dump(
        content,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise RecipeError(f"{path}: the recipe cannot be written: {error}") from None


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's mapping under `dotted.path=value` words, later words last.

    A value is YAML and replaces what stands there; null takes the key out, so that its default
    holds. A word for one of `training.epochs` and `training.max_steps` takes out the other.

    Raises:
        RecipeError: If a word is not of that form or its path leads through something other than a
            mapping; the message names the word.
    """
    words = [(word, *_split(word)) for word in overrides]
    result: dict[str, Any] = _copy(content)
    training = result.get("training")
    for _, keys, value in words:
        rival = {"epochs": "max_steps", "max_steps": "epochs"}.get(keys[-1])
        if keys[:-1] == ["training"] and rival and value is not None and isinstance(training, dict):
            training.pop(rival, None)
    for word, keys, value in words:
        target = result
        for depth, key in enumerate(keys[:-1], start=1):
            if target.get(key) is None:
                target[key] = {}
            target = target[key]
            if not isinstance(target, dict):
                place = ".".join(keys[:depth])
                raise RecipeError(
                    f"override {word!r}: `{place}` holds {target!r}, not a mapping, so nothing can "
                    f"be set inside it; give it whole, as {place}=value"
                )
        if value is None and keys[-1] in target:
            del target[keys[-1]]
        else:
            target[keys[-1]] = value  # a null that took nothing out is left for the check to judge
    return result


def absolute_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of a recipe's mapping whose local files and folders no longer depend on `folder`.

    Concerned are `data_files` of the loaders of files (glob patterns are kept, URLs are left), and
    the encoder, the datasets' `path` and the tasks' `metrics` where they name folders, or scripts
    of metrics, that exist, and modules of the user's own task types. Shapes are not checked.
    """
    result: dict[str, Any] = _copy(content)
    _make_folder_absolute(result, "encoder", folder)
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


def _parse(text: str, *, source: str) -> Any:
    """What a YAML text holds; errors begin with `source`."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        for node in _nodes(root, frozenset(), set()):
            _check_node(loader, node)
        return None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise RecipeError(f"{source}:{place} {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{source}: the values are nested too deeply") from None


def _nodes(node: Any, above: frozenset[int], done: set[int]) -> Iterator[Any]:
    """Every node of a YAML document once."""
    if id(node) in above:
        raise yaml.MarkedYAMLError(
            problem="a value cannot hold itself", problem_mark=node.start_mark
        )
    if node is None or id(node) in done:
        return
    done.add(id(node))
    yield node
    if isinstance(node, yaml.ScalarNode):
        return
    above |= {id(node)}
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            yield from _nodes(part, above, done)


def _check_node(loader: Any, node: Any) -> None:
    """Refuses tags that change a value's kind, and keys that stand twice (PyYAML keeps one)."""
    plain = {_TAG + "str", loader.resolve(type(node), node.value, (True, False))}
    if node.tag not in plain:
        raise yaml.MarkedYAMLError(
            problem=f"the tag {node.tag.replace(_TAG, '!!')} has no place here; leave it out",
            problem_mark=node.start_mark,
        )
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != _TAG + "merge":
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"the key `{key.value}` stands here again, first in line "
                    f"{lines[key.value]}; keep one",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1


def _split(word: str) -> tuple[list[str], Any]:
    """The keys and the value of a `dotted.path=value` word."""
    path, equals, text = word.partition("=")
    if not equals:
        raise RecipeError(f"override {word!r}: expected key=value, found no `=`")
    keys = path.strip().split(".")
    if not all(keys):
        raise RecipeError(
            f"override {word!r}: a key is empty; expected key=value with dots between the keys, "
            "as in training.max_steps=100"
        )
    return keys, _parse(text, source=f"override {word!r}")


def _copy(content: Any) -> Any:
    """Mappings and lists copied all the way down, so that none is shared."""
    if isinstance(content, dict):
        return {key: _copy(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_copy(value) for value in content]
    return content


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
