"""What readers feel in a comment, as shares of their votes and as labels, and how alike texts are.

GoEmotions (Demszky et al., 2020) has a row for each reader of a comment. Here a comment is a row:
the votes of all its readers divided by their number, and the feelings that two of them agree on.
"""

import json
from collections import Counter
from pathlib import Path

from datasets import load_dataset

from mtl_nlp import Recipe, run_script

FILE = "runs/votes_data/train.jsonl"

RECIPE = Recipe(
    encoder="sentence-transformers/all-MiniLM-L6-v2",
    output="runs/votes",
    datasets={
        "comments": {
            "path": "json",
            "data_files": {"train": FILE},
            "text": "text",
            "splits": {"validation": 0.05},
            "max_rows": {"train": 20000},
        },
        "stsb": {
            "path": "sentence-transformers/stsb",
            "text": "sentence1",
            "text_pair": "sentence2",
        },
    },
    tasks={
        "shares": {"type": "soft_classification", "dataset": "comments", "label": "shares"},
        "feelings": {
            "type": "multi_label_classification",
            "dataset": "comments",
            "labels": "feelings",
        },
        "likeness": {"type": "regression", "dataset": "stsb", "label": "score", "bounds": [0, 1]},
    },
    training={"epochs": 3, "batch_size": 32, "learning_rate": 2e-4},
)


def write_file() -> None:
    """Write a row for each comment that somebody found clear."""
    rows = load_dataset("google-research-datasets/go_emotions", "raw", split="train")
    emotions = rows.column_names[rows.column_names.index("example_very_unclear") + 1 :]
    texts: dict[str, str] = {}
    votes: dict[str, Counter[str]] = {}
    for row in rows:
        texts[row["id"]] = row["text"]
        votes.setdefault(row["id"], Counter()).update(name for name in emotions if row[name])
    lines = []
    for number, counts in votes.items():
        if counts:
            shares = {name: count / counts.total() for name, count in counts.items()}
            agreed = sorted(name for name, count in counts.items() if count > 1)
            record = {"text": texts[number], "shares": shares, "feelings": agreed}
            lines.append(json.dumps(record) + "\n")
    Path(FILE).parent.mkdir(parents=True, exist_ok=True)
    Path(FILE).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write_file()
    run_script(RECIPE)  # the same overrides as the command line: key=value
