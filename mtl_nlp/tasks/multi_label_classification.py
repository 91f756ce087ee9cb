"""Any number of labels per text (or pair of texts), also none: subjects, emotions, tags."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import PooledHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.multi_label_metrics import multi_label_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum
from mtl_nlp.tasks.divergence import sigmoid_divergence
from mtl_nlp.tasks.labels import label_name, stock_labels
from mtl_nlp.tasks.questions import QuestionTask, sigmoid
from mtl_nlp.words import Row

_PROBLEM: Final = "multi_label_classification"


@dataclass(frozen=True)
class LabelSet:
    """The labels of one text.

    Attributes:
        names: Of those it has.
        probabilities: Of all of the task's labels, (labels,), where this is a prediction.
    """

    names: tuple[str, ...]
    probabilities: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class MultiLabelClassification(QuestionTask):
    """Any number of labels per text, each by a yes-or-no question of its own."""

    type: ClassVar[str] = "multi_label_classification"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("labels",),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "labels": "list of names or indices; an empty list is none of them",
    }
    auto_class: ClassVar[str | None] = "AutoModelForSequenceClassification"
    fewest_labels: ClassVar[int] = 1

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Micro F1 first."""
        return ("micro_f1", "macro_f1", "lrap")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The label names."""
        return self.labels

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task with the checkpoint's labels, if it answers yes or no for each of them."""
        if config.problem_type != _PROBLEM:
            raise ValueError(
                f"a {cls.type} task needs a checkpoint with problem_type {_PROBLEM!r}, and this"
                f" one has {config.problem_type!r}"
            )
        return cls(name=name, labels=stock_labels(config))

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its label names and their weights."""
        labels = self.labels or tuple(class_names or ())
        read = (_names(row["labels"], labels) for row in rows)
        return self.with_labels(labels, (names for names in read if names is not None))

    def read(self, fields: Fields, row: Row) -> LabelSet | None:
        """The labels' names, in the order of the task's labels."""
        del row
        names = _names(fields["labels"], self.labels)
        if names is None:
            return None
        known = [name for name in self.labels if name in names]
        return LabelSet((*known, *sorted(names.difference(known))))

    def encode(self, value: LabelSet, encoding: Encoding) -> list[int]:
        """1 for each label that the text has, else 0, (num_labels,)."""
        del encoding
        return [int(name in value.names) for name in self.labels]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """1 or 0, (rows, num_labels)."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.values.reshape(len(labels), len(self.labels)).astype(np.int64)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one over the mean of the tokens."""
        if self.stock:
            return StockHead(
                str(self.auto_class), encoder_config, self.logit_names, problem_type=_PROBLEM
            )
        return PooledHead(
            encoder_config.hidden_size, len(self.labels), dropout=hidden_dropout(encoder_config)
        )

    def distribution(self, logits: Tensor) -> Tensor:
        """The probability of each label by itself, (rows, num_labels)."""
        return logits.sigmoid()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the probability of each label by itself, summed over texts and labels."""
        return sigmoid_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Binary cross-entropy in nats, summed over texts and labels, with their number.

        Shape: logits and labels (rows, num_labels), -100 = not labelled.
        """
        return LossSum(self.question_loss(logits, labels), self.count(labels))

    def tune(
        self, logits: np.ndarray, encodings: Sequence[Encoding], references: Sequence[LabelSet]
    ) -> Self:
        """The task with the thresholds that give the best micro F1."""
        right = [self.encode(*pair) for pair in zip(references, encodings, strict=True)]
        every = sum(len(one.names) for one in references)
        return self.with_thresholds(logits, np.array(right), every=every)

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The labels of each text whose probability is above their threshold."""
        del encodings
        probabilities = sigmoid(logits)  # (rows, num_labels)
        return [
            Decoded(LabelSet(tuple(self.labels[i] for i in np.flatnonzero(chosen)), p), p)
            for chosen, p in zip(self.above(probabilities), probabilities, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> list[dict[str, Any]]:
        """A list of ``{"label", "score"}``, the likeliest first."""
        del row
        by_name = dict(zip(self.labels, map(float, decoded.scores), strict=True))
        names = sorted(decoded.value.names, key=lambda name: -by_name[name])
        return [{"label": name, "score": by_name[name]} for name in names]

    def metrics(
        self, predictions: Sequence[LabelSet], references: Sequence[LabelSet]
    ) -> dict[str, Any]:
        """Micro and macro F1, label ranking average precision."""
        probabilities = np.array([one.probabilities for one in predictions], dtype=np.float64)
        return multi_label_scores(
            [one.names for one in references],
            [one.names for one in predictions],
            probabilities.reshape(len(predictions), len(self.labels)),
            self.labels,
        )

    def occurrences(self, value: LabelSet) -> Iterable[str]:
        """The labels that the text has."""
        return value.names


def _names(value: Any, labels: Sequence[str]) -> frozenset[str] | None:
    """The names in a label column, None where there is no list."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"expected a list of labels, which may be empty, found {value!r:.80}; for one label a"
            " text there is text_classification"
        )
    return frozenset(label_name(item, labels) for item in value)
