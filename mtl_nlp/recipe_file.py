"""Recipes as text: YAML in and out.

Everything here works on plain mappings, before or after `mtl_nlp.recipe` has checked them.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mtl_nlp.errors import RecipeError
from mtl_nlp.local_files import files_nearby

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
    content = parse_yaml(text, source=str(path))
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


def parse_yaml(text: str, *, source: str) -> Any:
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


def unshared(content: Any) -> Any:
    """Mappings and lists copied all the way down, so that none is shared."""
    if isinstance(content, dict):
        return {key: unshared(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [unshared(value) for value in content]
    return content
