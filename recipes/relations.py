"""Entities of news, relations between them, and entities of noisy web text, on one encoder.

CoNLL04 (Roth & Yih, 2004): 922 sentences to learn from. Its records have `type` where this package
reads `label`, so they are written anew, a row a line, below the working directory.
"""

import json
from pathlib import Path

from datasets import load_dataset

from mtl_nlp import Recipe, run_script

FILES = {split: f"runs/conll04/{split}.jsonl" for split in ("train", "validation", "test")}

RECIPE = Recipe(
    encoder="sentence-transformers/all-MiniLM-L6-v2",
    output="runs/relations",
    datasets={
        "conll04": {"path": "json", "data_files": FILES, "tokens": "tokens"},
        "wnut17": {
            "path": "leondz/wnut_17",
            "revision": "refs/convert/parquet",
            "tokens": "tokens",
        },
    },
    tasks={
        "names": {"type": "span_classification", "dataset": "conll04", "spans": "spans"},
        "relations": {
            "type": "relation_classification",
            "dataset": "conll04",
            "spans": "spans",
            "relations": "relations",
        },
        "ner": {"type": "token_classification", "dataset": "wnut17", "tags": "ner_tags"},
    },
    training={"epochs": 10, "batch_size": 16, "learning_rate": 1e-4},
)


def write_files() -> None:
    """Write CoNLL04 as the types read it."""
    for split, name in FILES.items():
        lines = []
        for row in load_dataset("DFKI-SLT/conll04", split=split):
            spans = [{**one, "label": one["type"]} for one in row["entities"]]
            relations = [{**one, "label": one["type"]} for one in row["relations"]]
            record = {"tokens": row["tokens"], "spans": spans, "relations": relations}
            lines.append(json.dumps(record) + "\n")
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write_files()
    run_script(RECIPE)  # the same overrides as the command line: key=value
