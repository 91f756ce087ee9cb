"""One of several texts that goes with a text: the end of a story, the answer to a question."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.choices import ChoiceHead
from mtl_nlp.heads.linear import PooledHead, hidden_dropout
from mtl_nlp.ragged import Ragged
from mtl_nlp.ranking_metrics import ranking_scores
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.labels import whole_number
from mtl_nlp.tasks.views import View
from mtl_nlp.words import Row


@dataclass(frozen=True)
class EachChoice(View):
    """The text paired with each of its choices."""

    many: ClassVar[bool] = True

    def texts(self, row: Row) -> Sequence[Row]:
        """A pair for each choice."""
        return [Row(row.words, choice) for choice in row.choices]


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Task):
    """The right one of a row's choices, by softmax over them; their number may vary.

    In what it predicts, a value is the numbers of the choices, the likeliest first; what is right
    is the number of one.
    """

    type: ClassVar[str] = "multiple_choice"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("label",),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "label": "number of the right choice, from 0",
    }
    takes: ClassVar[tuple[tuple[str, ...], ...]] = (("text", "choices"),)
    auto_class: ClassVar[str | None] = "AutoModelForMultipleChoice"

    inputs: tuple[str, ...] = ("text", "choices")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Accuracy first."""
        return ("accuracy", "mrr")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """One logit for each choice."""
        return ("score",)

    @property
    def view(self) -> View:
        """The text with each of its choices."""
        return EachChoice()

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task; stock checkpoints of it have no labels."""
        del config
        return cls(name=name)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task itself, once the training rows were seen to number their right choices."""
        del class_names
        if self.labels:
            raise ValueError("labels: a choice has no label name; leave them out")
        for row in rows:
            if row["label"] is not None:
                self._number(row["label"])
        return self

    def read(self, fields: Fields, row: Row) -> int | None:
        """The number of the right choice."""
        if fields["label"] is None:
            return None
        number = self._number(fields["label"])
        if not 0 <= number < len(row.choices):
            raise ValueError(
                f"expected the number of the right choice, from 0 to {len(row.choices) - 1}, found"
                f" {number}; null marks a missing one"
            )
        return number

    def encode(self, value: int, encoding: Encoding) -> list[int]:
        """For each choice whether it is right, 1 or 0."""
        return [int(number == value) for number in range(len(encoding.row.choices))]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """The rows' right choices (rows, choices): 1 = right, 0 = wrong, -100 = no such choice."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.pad(int(labels.lengths.max(initial=0)), -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one over the mean of the tokens."""
        if self.stock:
            return ChoiceHead(encoder_config)
        return PooledHead(encoder_config.hidden_size, 1, dropout=hidden_dropout(encoder_config))

    def count(self, labels: Tensor) -> Tensor:
        """How many rows have a right choice."""
        return (labels == 1).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over the choices, summed over rows that have a right one."""
        known = (labels == 1).any(dim=1)
        return softmax_divergence(_scores(one, labels), _scores(other, labels), known)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy over the choices of each row in nats, summed, with the number of rows.

        Shape: logits (rows, choices, 1), labels (rows, choices), 1 = right, -100 = no such choice.
        """
        scores = _scores(logits, labels)
        right = labels == 1
        targets = right.int().argmax(dim=1).masked_fill(~right.any(dim=1), -100)
        total = F.cross_entropy(scores, targets, ignore_index=-100, reduction="sum")
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The choices of each row from the likeliest on, and their probabilities in that order."""
        numbers = np.array([len(encoding.row.choices) for encoding in encodings])
        missing = np.arange(logits.shape[1]) >= numbers[:, None]  # (rows, choices)
        scores = np.where(missing, -np.inf, logits[..., 0])
        probabilities = torch.from_numpy(scores).softmax(dim=-1).numpy()
        orders = np.argsort(-scores, axis=1, kind="stable")
        return [
            Decoded(order[:number].tolist(), row[order[:number]].tolist())
            for order, number, row in zip(orders, numbers, probabilities, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"label", "score"}`` of the likeliest choice."""
        del row
        return {"label": decoded.value[0], "score": decoded.scores[0]}

    def metrics(
        self, predictions: Sequence[Sequence[int]], references: Sequence[int]
    ) -> dict[str, Any]:
        """How often the right choice is the likeliest, and the mean of 1 / its rank."""
        ranks = [
            order.index(right) + 1 for order, right in zip(predictions, references, strict=True)
        ]
        return dict(ranking_scores(ranks))

    def hub_values(
        self, predictions: Sequence[Sequence[int]], references: Sequence[int]
    ) -> tuple[list[Any], list[Any]]:
        """The numbers of the likeliest and of the right choices."""
        return [order[0] for order in predictions], list(references)

    def occurrences(self, value: int) -> Iterable[str]:
        """None: a number among a row's own choices is no label."""
        del value
        return ()

    def _number(self, value: Any) -> int:
        """A whole number, also as text, which classes and ``map`` give."""
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        number = whole_number(value)
        if number is None:
            raise ValueError(
                f"expected the number of the right choice, from 0, found {value!r:.80}; names such"
                f" as A are made numbers by map: {{A: 0}} in tasks.{self.name}"
            )
        return number


def _scores(logits: Tensor, labels: Tensor) -> Tensor:
    """The scores of the choices, (rows, choices), the lowest number where there is none."""
    scores = logits.squeeze(-1).float()
    lowest = torch.finfo(scores.dtype).min  # finite, since a row may have no choice at all
    return scores.masked_fill(labels == -100, lowest)
