"""One label per text (or pair of texts): sentiment, topic, intent, entailment."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import PooledHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.metrics import classification_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum
from mtl_nlp.tasks.class_loss import ClassTask
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.labels import label_ids, label_name, sorted_labels, stock_labels
from mtl_nlp.words import Row


@dataclass(frozen=True, kw_only=True)
class TextClassification(ClassTask):
    """One label per text, by softmax over the label names."""

    type: ClassVar[str] = "text_classification"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("label",),)
    column_meanings: ClassVar[Mapping[str, str]] = {"label": "name or index of the label"}
    auto_class: ClassVar[str | None] = "AutoModelForSequenceClassification"
    fewest_labels: ClassVar[int] = 2

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Accuracy first."""
        return ("accuracy", "macro_f1", "weighted_f1", "mcc")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The label names."""
        return self.labels

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task with the checkpoint's labels, if it was trained to choose one of them."""
        labels = stock_labels(config)
        if config.problem_type not in (None, "single_label_classification") or len(labels) == 1:
            raise ValueError(
                f"a {cls.type} task chooses one of at least two labels, and this checkpoint has"
                f" problem_type {config.problem_type!r} and {len(labels)} logit(s) a text"
            )
        return cls(name=name, labels=labels)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its label names and their weights."""
        labels = self.labels or tuple(class_names or ())
        if labels and self.class_weights != "balanced":
            return replace(self, labels=labels)
        counts = Counter(
            label_name(row["label"], labels) for row in rows if row["label"] is not None
        )
        if not labels and len(counts) < 2:
            raise ValueError(
                f"expected at least two different labels in train, found {sorted(counts)};"
                " check the label column"
            )
        return replace(self, labels=labels or sorted_labels(counts)).with_weights(counts)

    def read(self, fields: Fields, row: Row) -> str | None:
        """The label's name."""
        del row
        value = fields["label"]
        return None if value is None else label_name(value, self.labels)

    def encode(self, value: str, encoding: Encoding) -> int:
        """The label's id; -100 for a label that training did not have."""
        del encoding
        return self.labels.index(value) if value in self.labels else -100

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Label ids (rows,)."""
        del seq_len
        return np.asarray(labels, dtype=np.int64)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one over the mean of the tokens."""
        if self.stock:
            return StockHead(str(self.auto_class), encoder_config, self.logit_names)
        return PooledHead(
            encoder_config.hidden_size, len(self.labels), dropout=hidden_dropout(encoder_config)
        )

    def distribution(self, logits: Tensor) -> Tensor:
        """Softmax over the labels, (rows, num_labels)."""
        return logits.softmax(dim=-1)

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over labels, summed over labelled texts."""
        return softmax_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over labelled texts, with their number.

        Shape: logits (rows, num_labels), labels (rows,), -100 = not labelled.
        """
        return LossSum(self.class_loss(logits, labels), self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The likeliest label of each text and its probability."""
        del encodings
        probabilities = torch.from_numpy(logits).softmax(dim=-1).numpy()  # (rows, num_labels)
        best = probabilities.argmax(axis=1)
        return [
            Decoded(self.labels[label], float(p[label]))
            for label, p in zip(best, probabilities, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"label", "score"}``."""
        del row
        return {"label": decoded.value, "score": decoded.scores}

    def metrics(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        """Accuracy, macro and weighted F1, Matthews correlation."""
        return classification_scores(references, predictions)

    def hub_values(
        self, predictions: Sequence[str], references: Sequence[str]
    ) -> tuple[list[Any], list[Any]]:
        """Label ids."""
        return label_ids(self.labels, predictions, references)

    def occurrences(self, value: str) -> Iterable[str]:
        """The label."""
        return (value,)
