"""tasknet (https://github.com/sileod/tasknet) as it comes, on the rows of the other contestants."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contestants
import stock
from contestants import Clock, Measured, Steps, TaskRows
from datasets import ClassLabel, Dataset, DatasetDict, Sequence
from torch import Tensor
from transformers import set_seed

_METRIC = """
import datasets
import evaluate


class Unused(evaluate.Metric):
    def _info(self):
        kinds = {name: datasets.Value("string") for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(kinds)
        )

    def _compute(self, predictions, references):
        raise NotImplementedError
"""
"""Stands in for the metrics that tasknet fetches from the Hub when it is imported."""


def tasknet_defaults(rows: TaskRows, seed: int) -> Measured:
    """Its defaults (fp32, batches of one task drawn at random, a task embedding added), but for
    what is alike for all: batch, length limit, rates, and no evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        tasknet = _imported(Path(folder))
        set_seed(seed)
        tasks = [
            tasknet.Classification(_text_task(rows["sst2"]), s1="text", y="label", name="sst2"),
            tasknet.TokenClassification(_word_task(rows["wnut17"]), y="labels", name="wnut17"),
        ]
        settings = {
            "model_name": str(stock.encoder_folder()),
            "max_length": stock.MAX_LENGTH,
            "output_dir": folder,
            "num_train_epochs": 1,
            "learning_rate": contestants.LEARNING_RATE,
            "per_device_train_batch_size": stock.BATCH_SIZE,
            "weight_decay": stock.WEIGHT_DECAY,
            "max_grad_norm": stock.MAX_GRAD_NORM,
            "seed": seed,
            "use_cpu": True,
            "eval_strategy": "no",
            "save_strategy": "no",
            "disable_tqdm": True,
            "report_to": "none",
        }
        _, trainer = tasknet.Model_Trainer(tasks, settings)
        steps = Steps()
        trainer.data_collator = _Counting(trainer.data_collator, steps)
        trainer.add_callback(Clock(steps))
        trainer.train()
        os.chdir("/")  # out of the folder that is about to go
    return Measured.of(steps)


class _Counting:
    """Counts what each batch holds, padded to its longest row as the model cuts it."""

    def __init__(self, collate: Any, steps: Steps) -> None:
        self._collate, self._steps = collate, steps

    def __call__(self, features: list[Any]) -> Mapping[str, Tensor]:
        batch: Mapping[str, Tensor] = self._collate(features)
        mask = batch["attention_mask"]
        self._steps.count(mask[:, : int(mask.sum(-1).max())])
        return batch


def _imported(folder: Path) -> Any:
    """tasknet, imported where its metrics are found.

    Raises:
        SystemExit: If it is not installed, or does not get on with the other libraries.
    """
    for metric in ("seqeval", "bleu"):
        (folder / metric).mkdir()
        (folder / metric / f"{metric}.py").write_text(_METRIC, encoding="utf-8")
    os.chdir(folder)
    try:
        import tasknet
    except Exception as error:
        raise SystemExit(
            f"error: tasknet cannot be used here ({type(error).__name__}: {error}); name an"
            " interpreter that has it with --tasknet, see benchmarks/README.md"
        ) from error
    return tasknet


def _text_task(rows: list[stock.Row]) -> DatasetDict:
    columns = {"text": [row["text"] for row in rows], "label": [row["label"] for row in rows]}
    return _splits(Dataset.from_dict(columns).class_encode_column("label"))


def _word_task(rows: list[stock.Row]) -> DatasetDict:
    names = stock.label_names(stock.TASKS["wnut17"], rows)
    ids = {name: number for number, name in enumerate(names)}
    labels = [[ids[tag] for tag in row["tags"]] for row in rows]
    whole = Dataset.from_dict({"tokens": [row["tokens"] for row in rows], "labels": labels})
    return _splits(whole.cast_column("labels", Sequence(ClassLabel(names=names))))


def _splits(train: Dataset) -> DatasetDict:
    """It asks for all three; the others are encoded and never used."""
    few = train.select(range(stock.BATCH_SIZE))
    return DatasetDict(train=train, validation=few, test=few)
