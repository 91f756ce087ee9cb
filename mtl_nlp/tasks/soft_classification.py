"""Probabilities of labels per text (or pair of texts): votes of annotators, a teacher's output."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import PooledHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum
from mtl_nlp.tasks.class_loss import WeightedTask, soft_loss
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.labels import label_name
from mtl_nlp.words import Row

_SLACK = 0.02  # by which rounded probabilities may miss 1 in sum
_LEAST = 1e-10  # a predicted probability that the divergence takes for any smaller one


@dataclass(frozen=True, kw_only=True)
class SoftClassification(WeightedTask):
    """How probable each label is, learned from probabilities instead of one right label.

    Values are probabilities by label name; labels that are not named have none.
    """

    type: ClassVar[str] = "soft_classification"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("label",),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "label": "probabilities: {name: p}, or a list in the labels' order",
    }
    auto_class: ClassVar[str | None] = "AutoModelForSequenceClassification"
    fewest_labels: ClassVar[int] = 2

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Accuracy first."""
        return ("accuracy", "kl_divergence")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The label names."""
        return self.labels

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its label names, which without ``labels`` are the keys of its rows.

        How much of train a label has, for balanced weights, is the sum of its probabilities.
        """
        del class_names
        if self.labels and self.class_weights != "balanced":
            return self
        shares: dict[str, float] = {}
        for row in rows:
            for name, p in (self._probabilities(row["label"]) or {}).items():
                shares[name] = shares.get(name, 0.0) + p
        if not self.labels and len(shares) < 2:
            raise ValueError(
                f"expected probabilities of at least two labels in train, found {sorted(shares)};"
                " check the label column"
            )
        return replace(self, labels=self.labels or tuple(sorted(shares))).with_weights(shares)

    def read(self, fields: Fields, row: Row) -> dict[str, float] | None:
        """The probabilities above 0, in the order of the task's labels; they sum to 1."""
        del row
        given = self._probabilities(fields["label"])
        if given is None:
            return None
        total = sum(given.values())
        names = [*self.labels, *sorted(given.keys() - set(self.labels))]
        return {name: given[name] / total for name in names if given.get(name)}

    def encode(self, value: Mapping[str, float], encoding: Encoding) -> list[float]:
        """The probability of each label, (num_labels,)."""
        del encoding
        return [value.get(name, 0.0) for name in self.labels]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Probabilities (rows, num_labels)."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.values.reshape(len(labels), len(self.labels)).astype(np.float32)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one over the mean of the tokens."""
        if self.stock:
            return StockHead(str(self.auto_class), encoder_config, self.logit_names)
        return PooledHead(
            encoder_config.hidden_size, len(self.labels), dropout=hidden_dropout(encoder_config)
        )

    def count(self, labels: Tensor) -> Tensor:
        """How many texts have probabilities."""
        return (~labels.isnan().any(dim=-1)).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over labels, summed over labelled texts."""
        return softmax_divergence(one, other, ~labels.isnan().any(dim=-1))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Kullback-Leibler divergence in nats, of the predicted from the right probabilities.

        It is summed over texts. Shape: logits and labels (rows, num_labels), NaN = not labelled.
        """
        total = soft_loss(
            logits, labels, weights=self.label_weights, smoothing=self.label_smoothing
        )
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The probabilities of each text, and that of its likeliest label."""
        del encodings
        probabilities = torch.from_numpy(logits).softmax(dim=-1).tolist()
        return [Decoded(dict(zip(self.labels, p, strict=True)), max(p)) for p in probabilities]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"label", "score"}`` of the likeliest label."""
        del row
        return {"label": _likeliest(decoded.value), "score": decoded.scores}

    def metrics(
        self, predictions: Sequence[Mapping[str, float]], references: Sequence[Mapping[str, float]]
    ) -> dict[str, Any]:
        """How often the likeliest label is one of the right ones, and the mean divergence in nats.

        Right are the labels than which none is more probable in the reference.
        """
        pairs = list(zip(predictions, references, strict=True))
        right = [
            reference.get(_likeliest(found), 0.0) == max(reference.values())
            for found, reference in pairs
        ]
        return {
            "accuracy": float(np.mean(right)),
            "kl_divergence": float(np.mean([_divergence(*pair) for pair in pairs])),
        }

    def occurrences(self, value: Mapping[str, float]) -> Iterable[str]:
        """The labels that are possible."""
        return value.keys()

    def _probabilities(self, value: Any) -> dict[str, float] | None:
        """The probabilities in a label column by name, None where it is empty."""
        if isinstance(value, list | tuple):
            value = self._named(value)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ValueError(
                f"expected probabilities, {{label: p}} or a list, found {value!r:.80}; for one"
                " right label there is text_classification"
            )
        # In a column of mappings Arrow gives every row the keys of all, null where it has none.
        given = {label_name(name, ()): p for name, p in value.items() if p is not None}
        if value and not given:
            return None
        for name, p in given.items():
            number = isinstance(p, int | float | np.number) and not isinstance(p, bool)
            if not number or not 0 <= p <= 1:
                raise ValueError(f"expected a probability in [0, 1] for {name}, found {p!r:.80}")
        if not math.isclose(total := float(sum(given.values())), 1.0, abs_tol=_SLACK, rel_tol=0):
            raise ValueError(
                f"expected probabilities that sum to 1, found the sum {total:.4g}; divide votes by"
                " their number"
            )
        return {name: float(p) for name, p in given.items()}

    def _named(self, value: Sequence[Any]) -> dict[str, Any]:
        if not self.labels:
            raise ValueError(
                "a list of probabilities does not say whose they are; write labels: [...] in the"
                " order of the list"
            )
        if len(value) != len(self.labels):
            raise ValueError(
                f"expected {len(self.labels)} probabilities, one for each of"
                f" {', '.join(self.labels)}, found {len(value)}"
            )
        if None in value:
            raise ValueError(
                f"expected a probability in [0, 1] for each label, found {value!r:.80}"
            )
        return dict(zip(self.labels, value, strict=True))


def _likeliest(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=lambda name: probabilities[name])


def _divergence(found: Mapping[str, float], right: Mapping[str, float]) -> float:
    """Σ q log(q / p) in nats, q right and p found."""
    return sum(q * math.log(q / max(found.get(name, 0.0), _LEAST)) for name, q in right.items())
