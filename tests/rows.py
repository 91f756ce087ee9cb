"""Small data files, and what a recipe makes of them."""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset
from pyarrow import csv, parquet

from mtl_nlp.data.bind_tasks import bind_tasks
from mtl_nlp.data.binding import Binding
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.learn_tasks import learn_tasks
from mtl_nlp.data.loading import load_splits
from mtl_nlp.data.prepare import EncodedSplit, prepare_split
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Task
from tests.tiny import tiny_tokenizer

Rows = Sequence[Mapping[str, Any]]


def write_rows(path: Path, rows: Rows) -> str:
    """Write rows as the file's name says (.jsonl, .csv, .parquet, also .gz); gives its name."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        buffer = io.BytesIO()
        {"csv": csv.write_csv, "parquet": parquet.write_table}[kind](
            pa.Table.from_pylist(list(rows)), buffer
        )
        content = buffer.getvalue()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def json_dataset(folder: Path, name: str, **splits: Rows) -> dict[str, Any]:
    """A recipe's entry for rows written to JSON lines, without its input columns."""
    files = {
        split: write_rows(folder / f"{name}-{split}.jsonl", rows) for split, rows in splits.items()
    }
    return {"path": "json", "data_files": files}


def make_recipe(datasets: Mapping[str, Any], tasks: Mapping[str, Any], **settings: Any) -> Recipe:
    return Recipe(encoder="org/encoder", datasets=datasets, tasks=tasks, **settings)


@dataclass(frozen=True)
class Made:
    """What a recipe's data became."""

    recipe: Recipe
    splits: dict[str, dict[str, Dataset]]
    tasks: dict[str, Task]
    bindings: list[Binding]
    encoder: RowEncoder
    train: dict[str, EncodedSplit]


def make_data(recipe: Recipe) -> Made:
    """Load, learn and encode, as a training does before it loads the encoder."""
    splits = {n: load_splits(n, spec, seed=recipe.seed) for n, spec in recipe.datasets.items()}
    tasks, bindings = bind_tasks(recipe)
    tasks = learn_tasks(tasks, bindings, splits)
    encoder = RowEncoder(tiny_tokenizer(), recipe.max_length)
    train = {}
    for name, spec in recipe.datasets.items():
        own = [binding for binding in bindings if binding.dataset == name]
        train[name] = prepare_split(
            splits[name]["train"],
            place=f"dataset {name!r}, split train",
            spec=spec,
            encoder=encoder,
            tasks=[tasks[binding.task] for binding in own],
            bindings=own,
        )
    return Made(recipe, splits, tasks, bindings, encoder, train)
