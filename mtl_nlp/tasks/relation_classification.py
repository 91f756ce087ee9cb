"""Labelled relations between spans of words, which are found in the same pass or given."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.heads.relations import Logits, RelationHead, unpacked
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, option
from mtl_nlp.tasks.class_loss import ClassTask, sigmoid_loss
from mtl_nlp.tasks.entities import entity_words, read_entities
from mtl_nlp.tasks.relations import (
    ENDS,
    SpanGraph,
    encoded_parts,
    fitting_names,
    likely_relations,
    pair_labels,
    read_relations,
    relation_scores,
)
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.tasks.spans import (
    WIDTH,
    SpanFaults,
    blank_table,
    learned_width,
    likely_spans,
    seen_words,
    show_spans,
    without_overlap,
    word_spans,
)
from mtl_nlp.words import Row


class _Scores(NamedTuple):
    """Probabilities of the spans and of the relations of a prediction."""

    spans: list[float]
    relations: list[float]


@dataclass(frozen=True, kw_only=True)
class RelationClassification(ClassTask):
    """Directed relations between labelled spans; any number of them may hold between two spans.

    The labels are those of the relations, and ``class_weights`` and the like speak of these alone.
    Values, right or predicted, are a `SpanGraph` a row.
    """

    type: ClassVar[str] = "relation_classification"
    per_token: ClassVar[bool] = True
    counts_by_input: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("spans", "relations"),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "spans": "list of {start, end, label}, words or characters, end exclusive",
        "relations": "list of {head, tail, label}, head and tail count the row's spans from 0",
    }
    may_take: ClassVar[tuple[str, ...]] = ("spans",)
    learns_from_words: ClassVar[bool] = True  # a text's spans count characters
    fewest_labels: ClassVar[int] = 1

    span_labels: tuple[str, ...] = option((), "labels of the spans; by default those in train")
    max_width: Annotated[int, Field(ge=1)] | None = option(
        None, "words of the longest span that is looked for; by default learned from train"
    )
    overlap: Literal["nested", "flat"] = option(
        "nested", "whether predicted spans may share words, or the likelier one wins"
    )
    pooling: Literal["first", "last", "mean"] = option("first", "which sub-words stand for a word")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """F1 of whole relations first."""
        return ("f1", "precision", "recall")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The relations."""
        return self.labels

    @property
    def _width(self) -> int:
        return self.max_width or WIDTH

    @property
    def _counts_words(self) -> bool:
        """Whether spans come in words, not in characters."""
        return "tokens" in self.inputs

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its relations, its span labels and the width that nearly all spans fit in.

        Class names are of the relations, of the spans, or of both, whichever they fit.
        """
        spans: list[Span] = []
        relations: Counter[str] = Counter()
        for row in rows:
            if row["spans"] is None or row["relations"] is None:
                continue
            given = read_entities(row["spans"])
            new = [span.label for span in given if span.label not in self.span_labels]
            if self.span_labels and new:
                raise ValueError(
                    f"there is no span label {new[0]!r}; they are {', '.join(self.span_labels)};"
                    " mend the row, or add it to span_labels"
                )
            spans += given if self._counts_words else entity_words(given, Row(row["words"]))
            relations.update(one.label for one in read_relations(row["relations"], len(given)))
        labels = self.labels or fitting_names(relations, class_names)
        span_labels = self.span_labels or fitting_names(
            Counter(s.label for s in spans), class_names
        )
        for what, names in (("spans", span_labels), ("relations", labels)):
            if not names:
                raise ValueError(f"expected some {what} in train, found none; check the column")
        width = self.max_width or learned_width(spans)
        task = replace(self, labels=labels, span_labels=span_labels, max_width=width)
        return task.with_weights(relations)

    def read(self, fields: Fields, row: Row) -> SpanGraph | None:
        """The spans in words and their relations; unlabelled where either column is null."""
        if fields["spans"] is None or fields["relations"] is None:
            return None
        spans = word_spans(fields["spans"], row, in_words=self._counts_words)
        return SpanGraph.of(spans, read_relations(fields["relations"], len(spans)))

    def encode(self, value: SpanGraph, encoding: Encoding) -> list[int]:
        """How many words and spans follow, the words seen, the spans, their relations.

        A span is its first and last word and its label (-1 for one to be ignored), a relation the
        numbers of two of these spans and its label. Spans of which the encoder does not see the
        first or the last word are left out with their relations.
        """
        words = [word for word in np.unique(seen_words(encoding)).tolist() if word >= 0]
        seen, ids = set(words), {label: i for i, label in enumerate(self.span_labels)}
        kept = [i for i, span in enumerate(value.spans) if {span.start, span.end - 1} <= seen]
        place = {number: i for i, number in enumerate(kept)}
        spans, relations = [value.spans[number] for number in kept], []
        for head, tail, name in value.relations:
            if head != tail and {head, tail} <= place.keys() and name in self.labels:
                relations += [place[head], place[tail], self.labels.index(name)]
        numbers = [n for one in spans for n in (one.start, one.end - 1, ids.get(one.label, -1))]
        return [len(words), len(spans), *words, *numbers, *relations]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """The number of words, a table of all spans, and all pairs of the right spans.

        The table has 1 for the spans that are there, 0 for the other ones, -100 where there can be
        none, (seq_len, max_width, span_labels). A pair is four words, the first of its head and of
        its tail and the last of both, and 1 or 0 for each relation, or -100 where a row has fewer
        pairs than others.

        Shape: (rows, 1 + seq_len * max_width * span_labels + pairs * (4 + num_labels)), int16.
        """
        assert isinstance(labels, Ragged)
        present = np.zeros((len(labels), seq_len), dtype=bool)
        rows = [encoded_parts(row) for row in labels.lists()]
        for seen, (words, _, _) in zip(present, rows, strict=True):
            seen[words] = True
        table = blank_table(present, self._width, len(self.span_labels))
        for row, (_, spans, _) in zip(table, rows, strict=True):
            short = spans[(spans[:, 1] - spans[:, 0] < self._width) & (spans[:, 2] >= 0)]
            row[short[:, 0], short[:, 1] - short[:, 0], short[:, 2]] = 1
        most = max(len(spans) * (len(spans) - 1) for _, spans, _ in rows)
        pairs = np.full((len(rows), most, ENDS + len(self.labels)), -100, dtype=np.int16)
        pairs[..., :ENDS] = 0
        for padded, (_, spans, relations) in zip(pairs, rows, strict=True):
            own = pair_labels(spans, relations, len(self.labels))
            padded[: len(own)] = own
        parts = (present.sum(axis=1, keepdims=True), table, pairs)
        return np.concatenate([p.reshape(len(rows), -1).astype(np.int16) for p in parts], axis=1)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """A score for every span and label, and for every pair of words and relation."""
        return RelationHead(
            encoder_config.hidden_size,
            span_labels=len(self.span_labels),
            relations=len(self.labels),
            max_width=self._width,
            pooling=self.pooling,
            dropout=hidden_dropout(encoder_config),
        )

    def count(self, labels: Tensor) -> Tensor:
        """How many words there are in collated labels: those that can be a span themselves.

        Not how many spans or pairs, so that a loss is nats per word, as that of a tagger is.
        """
        return labels[:, 0].sum()

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Binary cross-entropy in nats of all spans, and of all relations of the right spans.

        Summed over both, with the number of words. Relations learn from pairs of right spans alone,
        as those of Zhong & Chen (2021, arXiv:2010.12812) do; the pairs that are not related are
        the strong negatives of Eberts & Ulges (2020, arXiv:1909.07755), all of them.

        Shape: logits as `RelationHead` gives them, labels as `collate` does.
        """
        spans, tables = self._unpacked(logits.float())
        size = spans[0].numel()
        table, pairs = labels[:, 1 : 1 + size], labels[:, 1 + size :]
        width = ENDS + len(self.labels)
        pairs = pairs.reshape(len(labels), pairs.shape[1] // width, width)
        first_head, first_tail, last_head, last_tail = pairs[..., :ENDS].long().unbind(dim=2)
        row = torch.arange(len(labels), device=labels.device)[:, None]
        scores = tables[row, first_head, first_tail, 0] + tables[row, last_head, last_tail, 1]
        total = sigmoid_loss(spans, table.view_as(spans))
        total = total + self.question_loss(scores, pairs[..., ENDS:])  # (rows, pairs, num_labels)
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The spans that are likelier than not, then the relations between them that are.

        A row that brings its spans keeps these, each with a score of 1.
        """
        spans, tables = self._unpacked(logits)
        found = likely_spans(spans, encodings, self.span_labels)
        if self.overlap == "flat":
            found = [without_overlap(one) for one in found]
        return [self._decode_row(*row) for row in zip(found, tables, encodings, strict=True)]

    def present(self, decoded: Decoded, row: Row) -> dict[str, list[dict[str, Any]]]:
        """``{"spans", "relations"}``; a relation's head and tail count the spans from 0."""
        graph = decoded.value
        return {
            "spans": show_spans(graph.spans, decoded.scores.spans, row),
            "relations": [
                {**relation._asdict(), "score": score}
                for relation, score in zip(graph.relations, decoded.scores.relations, strict=True)
            ],
        }

    def metrics(
        self, predictions: Sequence[SpanGraph], references: Sequence[SpanGraph]
    ) -> dict[str, Any]:
        """Strict scores: relation, direction and both spans with their labels must be right."""
        return dict(relation_scores(predictions, references))

    def occurrences(self, value: SpanGraph) -> Iterable[str]:
        """The labels of the relations."""
        return [relation.label for relation in value.relations]

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """What is odd about the spans, and relations whose two spans are one."""
        warnings = []
        for dataset, splits in rows.items():
            for split, labelled in splits.items():
                where = f"task {self.name!r}, dataset {dataset!r}, split {split}:"
                told = self._diagnose_split(labelled, train=split == "train")
                warnings += [f"{where} {one}" for one in told]
        return warnings

    def _unpacked(self, logits: Logits) -> tuple[Logits, Logits]:
        return unpacked(
            logits,
            span_labels=len(self.span_labels),
            relations=len(self.labels),
            max_width=self._width,
        )

    def _decode_row(
        self, found: list[tuple[Span, float]], tables: np.ndarray, encoding: Encoding
    ) -> Decoded:
        if encoding.row.spans is not None:
            found = [(Span(*span), 1.0) for span in encoding.row.spans]
        spans, scores = [span for span, _ in found], [score for _, score in found]
        related = likely_relations(tables, spans, seen_words(encoding), self.labels)
        graph = SpanGraph(tuple(spans), tuple(relation for relation, _ in related))
        return Decoded(graph, _Scores(scores, [score for _, score in related]))

    def _diagnose_split(self, rows: Iterable[tuple[Fields, Row]], *, train: bool) -> list[str]:
        faults, alone = SpanFaults(self._counts_words, self._width), []
        for number, (fields, row) in enumerate(rows):
            faults.add(number, fields["spans"], row)
            graph = self.read(fields, row)
            alone += [number for head, tail, _ in graph.relations if head == tail] if graph else []
        told = faults.told(train=train, flat=self.overlap == "flat")
        if alone:
            told.append(
                "relations between two spans that are the same words with the same label:"
                f" {len(alone)}, the first in row {alone[0]}; they are neither learned nor found"
            )
        return told
