"""Labelled spans of words that may nest and overlap: nested entities, arguments, quotations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.heads.spans import SpanHead
from mtl_nlp.metrics import nested_span_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, option
from mtl_nlp.tasks.class_loss import ClassTask
from mtl_nlp.tasks.divergence import sigmoid_divergence
from mtl_nlp.tasks.entities import entity_words, read_entities
from mtl_nlp.tasks.labels import sorted_labels
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.tasks.spans import (
    WIDTH,
    SpanFaults,
    blank_table,
    learned_width,
    likely_spans,
    reading_order,
    seen_words,
    show_spans,
    without_overlap,
    word_spans,
)
from mtl_nlp.words import Row


@dataclass(frozen=True, kw_only=True)
class SpanClassification(ClassTask):
    """Labelled spans that may nest and overlap; each span and label is a yes or no of its own.

    Values, right or predicted, are lists of `Span`, counted in words, by start and the longer
    first.
    """

    type: ClassVar[str] = "span_classification"
    per_token: ClassVar[bool] = True
    counts_by_input: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("spans",),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "spans": "list of {start, end, label}, words or characters, end exclusive",
    }
    learns_from_words: ClassVar[bool] = True  # a text's spans count characters
    fewest_labels: ClassVar[int] = 1

    max_width: Annotated[int, Field(ge=1)] | None = option(
        None, "words of the longest span that is looked for; by default learned from train"
    )
    overlap: Literal["nested", "flat"] = option(
        "nested", "whether predicted spans may share words, or the likelier one wins"
    )
    pooling: Literal["first", "last", "mean"] = option("first", "which sub-words stand for a word")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """F1 of whole spans first."""
        return ("f1", "precision", "recall", "per_type")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The label names."""
        return self.labels

    @property
    def _width(self) -> int:
        return self.max_width or WIDTH

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its labels, their weights, and the width that nearly all spans fit in."""
        if self.labels and self.max_width and self.class_weights != "balanced":
            return self
        counts: Counter[str] = Counter()
        every: list[Span] = []  # in words
        for row in rows:
            spans = read_entities(row["spans"])
            if not self._counts_words:
                spans = entity_words(spans, Row(row["words"]))
            counts.update(span.label for span in set(spans))
            every += spans
        labels = self.labels or tuple(class_names or ()) or sorted_labels(counts)
        if not labels:
            raise ValueError("expected some spans in train, found none; check the column")
        width = self.max_width or learned_width(every)
        return replace(self, labels=labels, max_width=width).with_weights(counts)

    def read(self, fields: Fields, row: Row) -> list[Span] | None:
        """The spans in words, each once."""
        if fields["spans"] is None:
            return None
        spans = word_spans(fields["spans"], row, in_words=self._counts_words)
        return sorted(set(spans), key=reading_order)

    def encode(self, value: Sequence[Span], encoding: Encoding) -> list[int]:
        """The words that the encoder sees, as ``-2 - word`` at each sub-word, then the spans.

        A span is its place in the flattened table (word, width, label). Those whose first or last
        word the encoder does not see, or that are too long, are left out.
        """
        words = seen_words(encoding)  # (seq_len,)
        seen, ids = set(words.tolist()), {label: i for i, label in enumerate(self.labels)}
        places = [
            (start * self._width + end - start - 1) * len(ids) + ids[label]
            for start, end, label in value
            if label in ids and end - start <= self._width and {start, end - 1} <= seen
        ]
        return [*(-2 - words).tolist(), *places]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """1 for the spans that are there, 0 for the other ones, -100 where there can be none.

        Shape: (rows, seq_len, max_width, num_labels), bytes.
        """
        assert isinstance(labels, Ragged)
        rows = np.repeat(np.arange(len(labels)), labels.lengths)
        words, spans = labels.values < -1, labels.values >= 0
        present = np.zeros((len(labels), seq_len), dtype=bool)
        present[rows[words], -2 - labels.values[words]] = True
        table = blank_table(present, self._width, len(self.labels))
        table.reshape(len(labels), -1)[rows[spans], labels.values[spans]] = 1
        return table

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """A score for every span and label."""
        return SpanHead(
            encoder_config.hidden_size,
            len(self.labels),
            max_width=self._width,
            pooling=self.pooling,
            dropout=hidden_dropout(encoder_config),
        )

    def count(self, labels: Tensor) -> Tensor:
        """How many words there are in collated labels: those that can be a span themselves.

        Not how many spans, so that a loss is nats per word, as that of a tagger is.
        """
        return (labels[:, :, 0, 0] != -100).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the probability of each span and label by itself, summed over both."""
        return sigmoid_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Binary cross-entropy in nats, summed over spans and labels, with the number of words.

        Shape: logits and labels (rows, seq_len, max_width, num_labels), -100 = no span.
        """
        return LossSum(self.question_loss(logits, labels), self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The spans and labels that are likelier than not."""
        found = likely_spans(logits, encodings, self.labels)
        if self.overlap == "flat":
            found = [without_overlap(one) for one in found]
        return [Decoded([span for span, _ in one], [score for _, score in one]) for one in found]

    def present(self, decoded: Decoded, row: Row) -> list[dict[str, Any]]:
        """A list of entities."""
        return show_spans(decoded.value, decoded.scores, row)

    def metrics(
        self, predictions: Sequence[Sequence[Span]], references: Sequence[Sequence[Span]]
    ) -> dict[str, Any]:
        """Strict scores: start, end and label must be right."""
        return dict(nested_span_scores(references, predictions))

    def occurrences(self, value: Sequence[Span]) -> Iterable[str]:
        """The labels of the spans."""
        return [span.label for span in value]

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """Spans that split a word; in train, spans too long to learn or that flat cannot keep."""
        warnings = []
        for dataset, splits in rows.items():
            for split, labelled in splits.items():
                faults = SpanFaults(self._counts_words, self._width)
                for number, (fields, row) in enumerate(labelled):
                    faults.add(number, fields["spans"], row)
                where = f"task {self.name!r}, dataset {dataset!r}, split {split}:"
                told = faults.told(train=split == "train", flat=self.overlap == "flat")
                warnings += [f"{where} {one}" for one in told]
        return warnings

    @property
    def _counts_words(self) -> bool:
        """Whether spans come in words, not in characters."""
        return "tokens" in self.inputs
