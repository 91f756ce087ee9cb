"""The values of a recipe that may be written in more than one way, each checked and made plain.

Every function takes what a YAML file or a Python mapping holds and raises ValueError with what was
expected and found; `mtl_nlp.recipe` adds the place.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_nlp.suggest import did_you_mean

SPLITS = ("train", "validation", "test")
# Loaders whose data_files are files of this machine, those of `datasets.load_dataset` and our own
# conllu; for any other path (a Hub id, a folder) data_files are relative to that repository or
# folder.
FILE_LOADERS = ("json", "csv", "parquet", "text", "arrow", "pandas", "xml", "conll", "conllu")
# The loader of files with an ending (`.gz` may follow).
_LOADER_OF = {
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".conllu": "conllu",
}
_FOUND_LENGTH = 60  # characters of a wrong value that a message shows


def found(value: Any) -> str:
    """A wrong value as a recipe would write it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _FOUND_LENGTH else text[: _FOUND_LENGTH - 1] + "…"


def name(value: str) -> str:
    """A dataset's or task's name."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        mended = re.sub(r"\W", "_", value, flags=re.ASCII)
        hint = f", such as `{mended}`" if re.match(r"[A-Za-z_]", mended) else ""
        raise ValueError(
            f"a name is made of English letters, digits and `_`, the first not a digit{hint}"
        )
    if value in ("mean", "worst"):
        raise ValueError("`mean` and `worst` stand for scores over all tasks; take another name")
    return value


def dataset_names(value: Any) -> str | list[str]:
    """A dataset's name or a list of them, none twice."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(map(_is_text, names)):
        raise ValueError(f"should be a dataset's name or a list of them, found {found(value)}")
    if len(set(names)) < len(names):
        raise ValueError(f"should name each dataset once, found {found(value)}")
    return value if isinstance(value, str) else list(names)


def label_names(value: Any) -> list[str] | None:
    """Distinct label names; YAML's whole numbers and truth values are read as their text."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"should be a list of label names, found {found(value)}")
    names = [_label(item) for item in value]
    if twice := [item for item, count in Counter(names).items() if count > 1]:
        raise ValueError(f"should name each label once, found {found(twice[0])} twice")
    return names


def label_names_or_column(value: Any) -> list[str] | str | dict[str, str] | None:
    """Label names, or where a type reads a column ``labels`` that column, perhaps by dataset."""
    if _is_text(value):
        return str(value)
    if isinstance(value, dict) and value and all(map(_is_text, [*value, *value.values()])):
        return dict(value)
    return label_names(value)


def label_map(value: Any) -> dict[str, str]:
    """New names of labels by their old ones."""
    if not isinstance(value, dict):
        raise ValueError(f"should be a mapping of old to new label names, found {found(value)}")
    return {_label(old): _label(new) for old, new in value.items()}


def data_files(value: Any) -> dict[str, list[str]] | None:
    """Files or glob patterns by split; files without a split are those of train."""
    if value is None:
        return None
    by_split = value if isinstance(value, dict) else {"train": value}
    result = {}
    for split, files in by_split.items():
        listed = [files] if isinstance(files, str) else files
        if not _is_text(split) or not isinstance(listed, list | tuple) or not listed:
            raise ValueError(f"should be files, or a mapping of split: files, found {found(value)}")
        if not all(map(_is_text, listed)):
            raise ValueError(f"should be names of files, found {found(files)} for {split}")
        result[split] = list(listed)
    if not result:
        raise ValueError("should name at least one file, found none")
    return result


def check_streaming(path: str, splits: Mapping[Any, str | float]) -> None:
    """A stream is of files that `datasets` streams, and holds nothing out."""
    if path == "conllu":
        raise ValueError("`streaming: true` does not go with `path: conllu`, which is read whole")
    if shares := [split for split, source in splits.items() if isinstance(source, float)]:
        raise ValueError(
            f"`streaming: true` cannot hold out `splits.{shares[0]}: {splits[shares[0]]}` of train,"
            f" which is read as it comes; give {shares[0]} a split or file of its own"
        )


def split_source(value: Any) -> str | float:
    """Where a split comes from: the dataset's own name of it, or the share of train held out."""
    if isinstance(value, str) and value:
        return value
    if not _is_number(value):
        raise ValueError(f"should be a split's name or a share of train, found {found(value)}")
    if not 0 < value < 1:
        raise ValueError(f"should be a share of train between 0 and 1, found {found(value)}")
    return float(value)


def evaluation_interval(value: Any) -> str | int:
    """`epoch`, or a number of optimizer steps."""
    if value == "epoch":
        return "epoch"
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"should be `epoch` or a number of steps above 0, found {found(value)}")


def unfreezing_interval(value: Any) -> str | int | None:
    """`epoch`, a number of optimizer steps, or nothing."""
    return None if value is None else evaluation_interval(value)


def selection(value: Any) -> str | dict[str, float]:
    """`mean`, `worst`, `task.metric`, or weights of tasks, which are not looked up here."""
    if isinstance(value, dict) and value:
        wrong = {key: item for key, item in value.items() if not _is_number(item) or item <= 0}
        if wrong:
            raise ValueError(f"should weigh tasks by numbers above 0, found {found(wrong)}")
        return {str(task): float(weight) for task, weight in value.items()}
    if isinstance(value, str) and value:
        return value
    raise ValueError(
        f"should be mean, worst, {{task: weight}} or task.metric, found {found(value)}"
    )


def option(value: Any) -> Any:
    """A task type's own key: whatever YAML can say, its meaning left to the task type."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: option(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [option(item) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if _is_number(value):
        return int(value) if isinstance(value, int) else float(value)
    raise ValueError(
        f"should be text, a number, a list or a mapping with text as keys, found {value!r}"
    )


def options(value: dict[str, Any]) -> dict[str, Any]:
    """Options of a method: whatever YAML can say, their meaning left to the method."""
    return {key: option(item) for key, item in value.items()}


def repo_id(value: str | None) -> str | None:
    """The name of a repository on the Hub."""
    part = r"\w(?:[\w.-]*\w)?"
    if value is not None and not re.fullmatch(rf"(?:{part}/)?{part}", value, re.ASCII):
        raise ValueError(f"should be `name` or `org/name`, found {found(value)}")
    return value


def check_path(path: str, files: Mapping[str, list[str]] | None) -> None:
    """Refuses a loader without files, and a file or its ending where a loader should stand."""
    if path in FILE_LOADERS:
        if files is None:
            raise ValueError(f"`path: {path}` reads files; name them under `data_files`")
        return
    loader = _LOADER_OF.get(_ending(path if "." in path else f"file.{path}"))
    if loader is not None:
        mend = f"`path: {loader}` and `data_files: {path}`" if "." in path else f"`path: {loader}`"
        raise ValueError(f"`path: {path}` names no dataset and no loader of files; write {mend}")


def check_splits(
    path: str, splits: Mapping[Any, str | float], files: Mapping[str, list[str]]
) -> None:
    """Refuses shares that leave nothing to train on, and splits that meet no files."""
    shares = [source for source in splits.values() if isinstance(source, float)]
    if isinstance(splits.get("train"), float):
        raise ValueError("`splits.train` is a number, but only validation and test are held out")
    if sum(shares) >= 1:
        raise ValueError(f"`splits` holds out {sum(shares):g} of train, so that nothing is left")
    if path not in FILE_LOADERS:
        return
    known = {*SPLITS, *splits.values()}
    for split in files:
        if split not in known:
            raise ValueError(
                f"`data_files.{split}` is not one of our splits; {did_you_mean(split, SPLITS)} "
                f"(or say which it is: `splits: {{validation: {split}}}`)"
            )
    for split, source in splits.items():
        plain = isinstance(source, str) and re.fullmatch(
            r"\w+", source
        )  # no slice such as train[:9]
        if plain and source not in files:
            hint = did_you_mean(str(source), files)
            raise ValueError(
                f"`splits.{split}` names `{source}`, which has no `data_files`; {hint}"
            )


def wrong_loader(path: str, file: str) -> str | None:
    """What is wrong where a file's ending is another loader's, or no loader's."""
    loader = _LOADER_OF.get(_ending(file))
    if file.lower().endswith(".parquet.gz"):
        return (
            f"`{file}` is not read: a Parquet file is compressed inside and read from its end;"
            " unpack it with gunzip and name the .parquet file"
        )
    if loader is None or loader == path or path not in _LOADER_OF.values():
        return None
    return f"`{file}` is not a file for `path: {path}`; write `path: {loader}`"


def _ending(file: str) -> str:
    return Path(file.lower().removesuffix(".gz")).suffix


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"should hold label names, found {found(value)}; write it in quotes")
    if not value.strip():
        raise ValueError("should hold label names, found an empty one; name the label or drop it")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
