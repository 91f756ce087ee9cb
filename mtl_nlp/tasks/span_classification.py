"""Labelled spans of words that may nest and overlap: nested entities, arguments, quotations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.heads.spans import SpanHead
from mtl_nlp.metrics import nested_span_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option, sorted_labels
from mtl_nlp.tasks.entities import entity_words, read_entities, widened
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.words import Row, overlap

_WIDTH = 12  # words of the longest span where there are no training spans
_COVERED = 99  # percent of the training spans that a learned width has room for


@dataclass(frozen=True, kw_only=True)
class SpanClassification(Task):
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
        return self.max_width or _WIDTH

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its labels and the width that 99 of 100 training spans have room in.

        The longest of all would let one odd span set what every row costs. With fewer than 100
        spans the two are the same.
        """
        if self.labels and self.max_width:
            return self
        counts: Counter[str] = Counter()
        widths: list[int] = []  # in words
        for row in rows:
            spans = read_entities(row["spans"])
            if not self._counts_words:
                spans = entity_words(spans, Row(row["words"]))
            counts.update(span.label for span in spans)
            widths += [max(1, span.end - span.start) for span in spans]
        labels = self.labels or tuple(class_names or ()) or sorted_labels(counts)
        if not labels:
            raise ValueError("expected some spans in train, found none; check the column")
        width = self._width
        if widths and not self.max_width:
            width = int(np.percentile(widths, _COVERED, method="inverted_cdf"))
        return replace(self, labels=labels, max_width=width)

    def read(self, fields: Fields, row: Row) -> list[Span] | None:
        """The spans in words, each once."""
        if fields["spans"] is None:
            return None
        spans = read_entities(fields["spans"])
        if not self._counts_words:
            return sorted(set(entity_words(spans, row)), key=_reading_order)
        for start, end, label in spans:
            if not 0 <= start < end <= len(row.words):
                raise ValueError(
                    f"span {label!r} of words {start} to {end} is empty or lies outside the row of"
                    f" {len(row.words)} words; start and end count words from 0, end exclusive"
                )
        return sorted(set(spans), key=_reading_order)

    def encode(self, value: Sequence[Span], encoding: Encoding) -> list[int]:
        """The words that the encoder sees, as ``-2 - word`` at each sub-word, then the spans.

        A span is its place in the flattened table (word, width, label). Those whose first or last
        word the encoder does not see, or that are too long, are left out.
        """
        words = _seen_words(encoding)  # (seq_len,)
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
        table = np.where(_candidates(present, self._width), 0, -100).astype(np.int8)
        table = np.repeat(table[..., None], len(self.labels), axis=3)
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

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Binary cross-entropy in nats, summed over spans and labels, with the number of words.

        Shape: logits and labels (rows, seq_len, max_width, num_labels), -100 = no span.
        """
        total = F.binary_cross_entropy_with_logits(
            logits.float(),
            labels.clamp(min=0).float(),
            weight=(labels != -100).float(),
            reduction="sum",
        )
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The spans and labels that are likelier than not."""
        present = np.zeros(logits.shape[:2], dtype=bool)  # (rows, seq_len)
        for row, encoding in enumerate(encodings):
            words = _seen_words(encoding)
            present[row, words[words >= 0]] = True
        found = (logits > 0) & _candidates(present, self._width)[..., None]
        rows, *places = np.nonzero(found)
        scores = 1 / (1 + np.exp(-logits[found].astype(np.float64)))
        spans: list[list[tuple[Span, float]]] = [[] for _ in encodings]
        for row, start, more, label, score in zip(rows, *places, scores, strict=True):
            span = Span(int(start), int(start + more + 1), self.labels[label])
            spans[row].append((span, float(score)))
        return [self._decided(one) for one in spans]

    def present(self, decoded: Decoded, row: Row) -> list[dict[str, Any]]:
        """A list of entities."""
        return [
            {
                "entity_group": span.label,
                "word": row.words.slice(span.start, span.end),
                "score": score,
                "start": int(row.words.starts[span.start]),
                "end": int(row.words.ends[span.end - 1]),
            }
            for span, score in zip(decoded.value, decoded.scores, strict=True)
        ]

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
                where = f"task {self.name!r}, dataset {dataset!r}, split {split}:"
                told = self._diagnose_split(labelled, train=split == "train")
                warnings += [f"{where} {one}" for one in told]
        return warnings

    @property
    def _counts_words(self) -> bool:
        """Whether spans come in words, not in characters."""
        return "tokens" in self.inputs

    def _decided(self, found: list[tuple[Span, float]]) -> Decoded:
        """A row's prediction from the spans above one half."""
        found.sort(key=lambda one: _reading_order(one[0]))
        if self.overlap == "flat":
            kept: list[tuple[Span, float]] = []
            taken: set[int] = set()
            for one in sorted(found, key=lambda one: -one[1]):  # stable: of equals the first
                words = range(one[0].start, one[0].end)
                if taken.isdisjoint(words):
                    kept.append(one)
                    taken.update(words)
            found = sorted(kept)
        return Decoded([span for span, _ in found], [score for _, score in found])

    def _diagnose_split(self, rows: Iterable[tuple[Fields, Row]], *, train: bool) -> list[str]:
        split, long, shared, total = [], [], [], 0
        for number, (fields, row) in enumerate(rows):
            if not self._counts_words:
                given = read_entities(fields["spans"])
                split += [f"row {number}: {w}" for one in given if (w := widened(one, row))]
            spans = self.read(fields, row) or []
            total += len(spans)
            long += [(s.end - s.start, number) for s in spans if s.end - s.start > self._width]
            if overlap([(span.start, span.end) for span in spans]):
                shared.append(number)
        told = []
        if split:
            told.append(
                "spans that begin or end inside a word are widened to whole words:"
                f" {len(split)}, the first in {split[0]}"
            )
        if train and long:
            words, number = max(long, key=lambda one: one[0])
            told.append(
                f"{len(long)} of {total} spans have more words than max_width, {self._width}, and"
                f" are neither learned nor found; the longest has {words}, in row {number}; time"
                " and memory grow with max_width"
            )
        if train and shared and self.overlap == "flat":
            told.append(
                f"rows with spans that share a word: {len(shared)}, the first is row {shared[0]};"
                " overlap: flat finds one of such spans at most"
            )
        return told


def _reading_order(span: Span) -> tuple[int, int, str]:
    return span.start, -span.end, span.label


def _seen_words(encoding: Encoding) -> np.ndarray:
    """The word of each sub-word, -1 for those in no span, (seq_len,).

    Words of the pair are numbered behind those of the text. The head has no place for words
    numbered past the sub-words.
    """
    words = encoding.token_words
    return np.where(words < min(len(words), len(encoding.row.words)), words, -1)


def _candidates(present: np.ndarray, max_width: int) -> np.ndarray:
    """Which spans there can be: those whose first and last word the encoder sees.

    Shape: from (rows, seq_len) to (rows, seq_len, max_width).
    """
    ends = np.pad(present, ((0, 0), (0, max_width - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(ends, max_width, axis=1)
    candidates: np.ndarray = present[..., None] & windows
    return candidates
