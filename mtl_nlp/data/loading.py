"""A recipe's datasets as ``datasets`` reads them, under our names for their splits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, DownloadConfig, IterableDatasetDict, load_dataset

from mtl_nlp.data import conllu, csv_files
from mtl_nlp.data.streams import Stream, open_stream
from mtl_nlp.errors import DataError
from mtl_nlp.packages import PREFIX, package_folder
from mtl_nlp.recipe import DatasetSpec, Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
HELD_OUT = 0.1
"""Share of train that becomes validation where a dataset has none."""
_NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0", "at least one example")
"""What the loaders of JSON and Arrow, of Parquet and of texts say of a file without rows."""


def load_splits(
    name: str,
    spec: DatasetSpec,
    *,
    seed: int,
    say: list[str] | None = None,
    needs_train: bool = True,
) -> dict[str, Dataset]:
    """The splits of one dataset: ``train``, ``validation`` and, where there is one, ``test``.

    Of a dataset that is streamed ``train`` is its first rows.

    Args:
        name: The dataset's name in the recipe.
        spec: Where it is, its columns, splits and row limits.
        seed: Of the rows that are held out or sampled.
        needs_train: Whether a dataset must have train; without it nothing is held out.
        say: Gets a sentence for what a user should know, such as rows held out.

    Raises:
        DataError: If it cannot be loaded, lacks a split or column, or a split is empty.
    """
    if spec.streaming:
        stream, others = load_stream(name, spec, seed=seed)
        return {"train": stream.sample, **others}
    theirs = _load(name, spec)
    splits: dict[str, Dataset] = {}
    held_out: dict[Split, float] = {}
    for split in SPLITS:
        source = spec.splits.get(split, split)
        if isinstance(source, float):
            held_out[split] = source
        elif source in theirs:
            splits[split] = theirs[source]
        elif split in spec.splits or (split == "train" and needs_train):
            raise DataError(
                f"dataset {name!r}: no split {source!r}; it has {', '.join(theirs)};"
                f" name the one to use, splits: {{{split}: …}}"
            )
        elif split == "validation":
            held_out[split] = HELD_OUT
    if "train" not in splits:
        held_out = {}
    whole = len(splits.get("train", ()))
    for split, share in held_out.items():
        rows = max(1, round(whole * share))
        splits["train"], splits[split] = _hold_out(splits["train"], rows, seed)
        if say is not None:
            say.append(
                f"dataset {name!r} has no {split} split: {len(splits[split])} rows of train"
                f" ({share:.0%}) are held out for it"
            )
    for split, most in spec.max_rows.items():
        if split in splits:
            splits[split] = _sample(splits[split], most, seed)
    for found, dataset in splits.items():
        _check_columns(name, spec, found, dataset)
    return {split: splits[split] for split in SPLITS if split in splits}


def load_stream(name: str, spec: DatasetSpec, *, seed: int) -> tuple[Stream, dict[str, Dataset]]:
    """The train split of a dataset as a stream, and the others read whole.

    Args:
        name: The dataset's name in the recipe.
        spec: Where it is, its columns, splits and row limits.
        seed: Of the order of its files.

    Raises:
        DataError: If it cannot be loaded, lacks a split or column, or a split is empty.
    """
    stream, whole = open_stream(name, spec, _load(name, spec), seed=seed)
    for split, dataset in {"train": stream.sample, **whole}.items():
        _check_columns(name, spec, split, dataset)
    return stream, whole


def _load(name: str, spec: DatasetSpec) -> Mapping[str, Any]:
    if spec.data_files is None:
        return _load_files(f"dataset {name!r}", spec, None)
    # Each split by itself: read together, all must have the column types of the first.
    loaded: dict[str, Any] = {}
    for split, files in spec.data_files.items():
        loaded |= _load_files(f"dataset {name!r}, split {split}", spec, {split: files})
    return loaded


def _load_files(
    place: str, spec: DatasetSpec, data_files: Mapping[str, list[str]] | None
) -> Mapping[str, Any]:
    path = spec.path
    if path == conllu.LOADER:
        return _load_conllu(place, data_files or {})
    files = [file for named in (data_files or {}).values() for file in named]
    options: dict[str, Any] = {}
    if path == csv_files.LOADER:
        try:
            options["sep"] = csv_files.separator(files)
        except ValueError as error:
            raise DataError(f"{place}: {error}") from None
    try:
        if path.startswith(PREFIX):
            path = str(package_folder(path))
        loaded = load_dataset(
            path,
            name=spec.name,
            revision=spec.revision,
            data_files=data_files,
            streaming=spec.streaming,
            download_config=DownloadConfig(disable_tqdm=True),
            **options,
        )
    except Exception as error:  # there are many loaders, and each fails in its own way
        reason = error.__cause__ or error
        what = str(reason).strip().rstrip(".")
        if isinstance(reason, StopIteration) or any(words in what for words in _NO_ROWS):
            what = "it holds no rows"
        raise DataError(
            f"{place} ({', '.join(files) or spec.path}) cannot be loaded: {what}; check path,"
            " name and data_files, that the files are whole, and that a column holds one kind of"
            " value"
        ) from error
    if not isinstance(loaded, DatasetDict | IterableDatasetDict):
        raise DataError(f"{place}: expected a table with splits, found {type(loaded).__name__}")
    splits: Mapping[str, Any] = loaded
    return splits


def _load_conllu(place: str, data_files: Mapping[str, list[str]]) -> Mapping[str, Dataset]:
    try:
        return {split: conllu.read_conllu(files) for split, files in data_files.items()}
    except ValueError as error:
        raise DataError(f"{place}: {error}") from None


def _hold_out(train: Dataset, rows: int, seed: int) -> tuple[Dataset, Dataset]:
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    return train.select(np.sort(order[rows:])), train.select(np.sort(order[:rows]))


def _sample(dataset: Dataset, rows: int, seed: int) -> Dataset:
    if len(dataset) <= rows:
        return dataset
    order = np.random.default_rng([seed, 2]).permutation(len(dataset))
    return dataset.select(np.sort(order[:rows]))


def _check_columns(name: str, spec: DatasetSpec, split: str, dataset: Dataset) -> None:
    if not len(dataset):
        raise DataError(f"dataset {name!r}, split {split}: expected rows, found none")
    for key, column in spec.inputs.items():
        if column not in dataset.column_names:
            raise DataError(
                f"dataset {name!r}, split {split}: no column {column!r} (for {key});"
                f" it has {', '.join(dataset.column_names)}"
            )
