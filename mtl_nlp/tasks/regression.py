"""A number per text (or pair of texts): a rating, a degree, a likeness."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import PooledHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.regression_metrics import regression_scores
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option
from mtl_nlp.tasks.divergence import number_divergence
from mtl_nlp.tasks.labels import finite_number
from mtl_nlp.words import Row


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("should be [low, high] with low below high")
    return bounds


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """One number per text; the head is trained on it less the mean, over the deviation.

    Attributes:
        mean: Of the training rows' numbers.
        deviation: Their standard deviation.
    """

    type: ClassVar[str] = "regression"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("label",),)
    column_meanings: ClassVar[Mapping[str, str]] = {"label": "number"}
    auto_class: ClassVar[str | None] = "AutoModelForSequenceClassification"

    # Not `loss`, which is what every task computes.
    criterion: Literal["mse", "huber"] = option(
        "mse", "squared error, or huber: linear beyond one standard deviation"
    )
    bounds: Annotated[tuple[float, float], AfterValidator(_rising)] | None = option(
        None, "[low, high] of the numbers, to which predictions are clipped"
    )
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Rank correlation first."""
        return ("spearman", "pearson", "rmse")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """One logit, the standardised number."""
        return ("score",)

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task of a checkpoint with one logit, which is the number itself."""
        if config.problem_type not in (None, "regression") or config.num_labels != 1:
            raise ValueError(
                f"a {cls.type} task predicts one number, and this checkpoint has problem_type"
                f" {config.problem_type!r} and {config.num_labels} logit(s) a text"
            )
        return cls(name=name)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with mean and deviation of the training rows' numbers."""
        if self.labels:
            raise ValueError("labels: a number has no label names; leave them out")
        if class_names:
            raise ValueError(
                f"expected numbers, found the classes {', '.join(class_names)}; for these there is"
                " text_classification"
            )
        numbers = [self._number(row["label"]) for row in rows if row["label"] is not None]
        if len(set(numbers)) < 2:
            raise ValueError(
                f"expected at least two different numbers in train, found {sorted(set(numbers))};"
                " check the label column"
            )
        return replace(self, mean=float(np.mean(numbers)), deviation=float(np.std(numbers)))

    def read(self, fields: Fields, row: Row) -> float | None:
        """The number."""
        del row
        return None if fields["label"] is None else self._number(fields["label"])

    def encode(self, value: float, encoding: Encoding) -> float:
        """The number in standard deviations from the mean."""
        del encoding
        return (value - self.mean) / self.deviation

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Standardised numbers (rows,)."""
        del seq_len
        return np.asarray(labels, dtype=np.float32)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one over the mean of the tokens."""
        if self.stock:
            return StockHead(
                str(self.auto_class), encoder_config, self.logit_names, problem_type="regression"
            )
        return PooledHead(encoder_config.hidden_size, 1, dropout=hidden_dropout(encoder_config))

    def count(self, labels: Tensor) -> Tensor:
        """How many texts have a number."""
        return (~labels.isnan()).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Squared differences of standardised numbers, summed over labelled texts."""
        return number_divergence(one[:, 0], other[:, 0], ~labels.isnan())

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Squared or Huber error of standardised numbers, summed over texts, with their number.

        Shape: logits (rows, 1), labels (rows,), NaN = not labelled.
        """
        error = F.mse_loss if self.criterion == "mse" else F.huber_loss
        known = ~labels.isnan()
        losses = error(logits[:, 0].float(), labels.float().nan_to_num(), reduction="none")
        return LossSum(losses.masked_fill(~known, 0.0).sum(), self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The number of each text, within the bounds."""
        del encodings
        numbers = logits[:, 0].astype(np.float64) * self.deviation + self.mean
        if self.bounds is not None:
            numbers = numbers.clip(*self.bounds)
        return [Decoded(number, number) for number in numbers.tolist()]

    def present(self, decoded: Decoded, row: Row) -> dict[str, float]:
        """``{"score"}``."""
        del row
        return {"score": decoded.value}

    def metrics(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, Any]:
        """Spearman and Pearson correlation, root mean squared error."""
        return dict(regression_scores(references, predictions))

    def occurrences(self, value: float) -> Iterable[str]:
        """None: a number is no label."""
        del value
        return ()

    def _number(self, value: Any) -> float:
        number = finite_number(value)
        if self.bounds is not None and not self.bounds[0] <= number <= self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"expected a number within bounds [{low:g}, {high:g}], found {number}")
        return number
