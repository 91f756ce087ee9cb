"""Any number of labels per word, also none: morphological features, overlapping categories."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.heads.word_scores import WordHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum
from mtl_nlp.tasks.divergence import sigmoid_divergence
from mtl_nlp.tasks.labels import label_name
from mtl_nlp.tasks.places import at_their_numbers
from mtl_nlp.tasks.questions import QuestionTask, sigmoid
from mtl_nlp.words import Row

_ROW = -1  # begins the numbers of every row, as Arrow cannot tell what an empty list holds


@dataclass(frozen=True, kw_only=True)
class MultiLabelTokenClassification(QuestionTask):
    """Any number of labels per word, each by a yes-or-no question of its own.

    Values are a list of label names per word; right ones None for a word without labelling.
    """

    type: ClassVar[str] = "multi_label_token_classification"
    per_token: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("tags",),)
    column_meanings: ClassVar[Mapping[str, str]] = {"tags": "one list of labels per word"}
    fewest_labels: ClassVar[int] = 1

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Micro F1 first."""
        return ("micro_f1", "macro_f1")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The label names."""
        return self.labels

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.labels)}

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its label names and their weights."""
        labels = self.labels or tuple(class_names or ())
        words = (word for row in rows for word in _read(row["tags"], labels) or ())
        return self.with_labels(labels, (names for names in words if names is not None))

    def read(self, fields: Fields, row: Row) -> list[list[str] | None] | None:
        """The labels of each word."""
        tags = _read(fields["tags"], self.labels)
        if tags is not None and len(tags) != len(row.words):
            raise ValueError(
                f"{len(row.words)} words but {len(tags)} lists of labels; give exactly one list per"
                " word, [] for a word with none"
            )
        return tags

    def encode(self, value: Sequence[Sequence[str] | None], encoding: Encoding) -> list[int]:
        """For each labelled word its number times num_labels + 1, and that plus 1 + id per label.

        Labels that training did not have are left out.
        """
        width = len(self.labels) + 1
        numbers = [_ROW]
        for word in at_their_numbers(encoding).tolist():
            names = value[word]
            if names is not None:
                ids = [self._ids[name] for name in names if name in self._ids]
                numbers += [word * width, *(word * width + 1 + i for i in ids)]
        return numbers

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """1 or 0, or -100 for a word without labelling, (rows, seq_len, num_labels)."""
        assert isinstance(labels, Ragged)
        width = len(self.labels) + 1
        rows = np.repeat(np.arange(len(labels)), labels.lengths)[labels.values != _ROW]
        words, slots = np.divmod(labels.values[labels.values != _ROW], width)
        table = np.zeros((len(labels), seq_len, width), dtype=np.int64)
        table[rows, words, slots] = 1
        return np.where(table[..., :1] == 1, table[..., 1:], -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """A linear one on every word's first sub-word."""
        dropout = hidden_dropout(encoder_config)
        hidden = encoder_config.hidden_size
        return WordHead(hidden, len(self.labels), pooling="first", dropout=dropout)

    def count(self, labels: Tensor) -> Tensor:
        """How many labelled words there are, a scalar."""
        return (labels != -100).any(dim=-1).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the probability of each label by itself, summed over labels and labelled words."""
        return sigmoid_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Binary cross-entropy in nats, summed over labels and labelled words, with their number.

        Shape: logits and labels (rows, seq_len, num_labels), -100 = not labelled.
        """
        return LossSum(self.question_loss(logits, labels), self.count(labels))

    def tune(
        self,
        logits: np.ndarray,
        encodings: Sequence[Encoding],
        references: Sequence[Sequence[Sequence[str] | None]],
    ) -> Self:
        """The task with the thresholds that give the best micro F1 over labelled words."""
        seen = [
            np.array([w for w in at_their_numbers(one) if value[w] is not None], dtype=np.int64)
            for one, value in zip(encodings, references, strict=True)
        ]
        of_words = np.concatenate([row[w] for row, w in zip(logits, seen, strict=True)])
        right = np.zeros(of_words.shape, dtype=np.int64)  # (words, num_labels)
        names = [value[w] for value, words in zip(references, seen, strict=True) for w in words]
        for word, given in enumerate(names):
            right[word, [self._ids[name] for name in given or () if name in self._ids]] = 1
        every = sum(len(given or ()) for value in references for given in value)
        return self.with_thresholds(of_words, right, every=every)

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """Each word's labels whose probability is above their threshold, and these."""
        probabilities = sigmoid(logits)  # (rows, seq_len, num_labels)
        above = self.above(probabilities)
        decoded = []
        for row, given, encoding in zip(probabilities, above, encodings, strict=True):
            tags: list[list[str]] = [[] for _ in range(len(encoding.row.words))]
            scores: list[list[float]] = [[] for _ in tags]
            for word in at_their_numbers(encoding).tolist():
                chosen = np.flatnonzero(given[word])
                tags[word] = [self.labels[label] for label in chosen]
                scores[word] = row[word, chosen].tolist()
            decoded.append(Decoded(tags, scores))
        return decoded

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"words", "tags"}``, a list of labels for each word."""
        return {"words": row.words.strings(), "tags": decoded.value}

    def metrics(
        self,
        predictions: Sequence[Sequence[Sequence[str]]],
        references: Sequence[Sequence[Sequence[str] | None]],
    ) -> dict[str, Any]:
        """F1 over the labels of all labelled words, and its mean over the labels that occur."""
        right: Counter[str] = Counter()
        found: Counter[str] = Counter()
        correct: Counter[str] = Counter()
        for reference, prediction in zip(references, predictions, strict=True):
            for names, guess in zip(reference, prediction, strict=True):
                if names is not None:
                    right.update(set(names))
                    found.update(set(guess))
                    correct.update(set(names) & set(guess))
        f1 = {n: 2 * correct[n] / (right[n] + found[n]) for n in right.keys() | found.keys()}
        total = right.total() + found.total()
        return {
            "micro_f1": 2 * correct.total() / total if total else 0.0,
            "macro_f1": sum(f1[name] for name in sorted(f1)) / len(f1) if f1 else 0.0,
        }

    def occurrences(self, value: Sequence[Sequence[str] | None]) -> Iterable[str]:
        """The labels of all words."""
        return [name for names in value for name in names or ()]


def _read(tags: Any, labels: Sequence[str]) -> list[list[str] | None] | None:
    """The names in a column of lists of labels, none twice for a word."""
    if tags is None:
        return None
    if not isinstance(tags, list):
        raise ValueError(f"expected a list of labels for every word, found {tags!r:.80}")
    for word, names in enumerate(tags):
        if names is not None and not isinstance(names, list):
            raise ValueError(
                f"expected a list of labels for word {word}, found {names!r:.80}; write [] for a"
                " word with none, null for one that is not labelled; for exactly one label a word"
                " there is token_classification"
            )
    return [
        None if names is None else list(dict.fromkeys(label_name(name, labels) for name in names))
        for names in tags
    ]
