"""One label per word (parts of speech), or spans of words written as tags (named entities)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import TokenHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.metrics import classification_scores, span_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import (
    Decoded,
    Encoding,
    Fields,
    LossSum,
    Task,
    label_name,
    option,
    sorted_labels,
    stock_labels,
)
from mtl_nlp.tasks.entities import entity_tags
from mtl_nlp.tasks.schemes import (
    LegalPaths,
    best_legal_path,
    read_spans,
    tag_names,
    write_tags,
)
from mtl_nlp.tasks.tags import diagnose_tags, given_tags, span_types, tag_set, written_tags
from mtl_nlp.words import Row, first_subwords

_FAR_BELOW = -1e6


@dataclass(frozen=True, kw_only=True)
class TokenClassification(Task):
    """A label per word, or whole spans; a word's first sub-word carries its label.

    Values, right or predicted, are one tag per word: in BIO where there is a scheme (whatever
    the source was written in), else the label names, None for a word without a label.
    """

    type: ClassVar[str] = "token_classification"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("tags",), ("entities",))
    auto_class: ClassVar[str | None] = "AutoModelForTokenClassification"

    scheme: Literal["none", "bio", "bioes"] = option(
        "bio", "how the head's tags mark spans; none: every word has a label of its own"
    )
    commonest: str = ""  # with no scheme: the label of words the encoder does not see
    tag_order: tuple[str, ...] = ()  # the tags as a checkpoint taken in orders its logits

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Span scores with a scheme, else scores of words."""
        if self.scheme == "none":
            return ("accuracy", "macro_f1")
        return ("f1", "precision", "recall", "per_type")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The tags."""
        if self.scheme == "none":
            return self.labels
        return self.tag_order or tuple(tag_names(self.labels, self.scheme))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.logit_names)}

    @cached_property
    def _legal(self) -> LegalPaths:
        assert self.scheme != "none"
        return LegalPaths.of_tags(self.logit_names, self.scheme)

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task with the checkpoint's labels; the scheme is the one its tag names belong to."""
        names = stock_labels(config)
        tags = tag_set(names)
        if tags is None:
            return cls(name=name, labels=names, scheme="none")
        return cls(name=name, labels=tags.types, scheme=tags.scheme, tag_order=tags.order)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its span types, or its labels and the commonest of them."""
        if self.scheme == "none":
            counts = Counter(
                label_name(tag, class_names or self.labels)
                for row in rows
                for tag in given_tags(row) or ()
                if tag is not None
            )
            labels = self.labels or tuple(class_names or sorted_labels(counts))
            commonest = counts.most_common(1)[0][0] if counts else ""
        elif self.labels:
            return self
        elif class_names:
            types = [name.partition("-")[2] or name for name in class_names if name != "O"]
            labels, commonest = tuple(dict.fromkeys(types)), ""
        else:
            counts = Counter(label for row in rows for label in span_types(row))
            labels, commonest = tuple(sorted(counts)), ""
        if not labels:
            found = "labels" if self.scheme == "none" else "spans"
            raise ValueError(f"expected some {found} in train, found none; check the columns")
        return replace(self, labels=labels, commonest=commonest)

    def read(self, fields: Fields, row: Row) -> Sequence[str | None] | None:
        """One tag per word."""
        if "entities" in fields:
            entities = fields["entities"]
            return None if entities is None else entity_tags(entities, row)
        tags = given_tags(fields)
        if tags is None:
            return None
        if len(tags) != len(row.words):
            raise ValueError(
                f"{len(row.words)} words but {len(tags)} tags; give exactly one tag per word"
            )
        if self.scheme == "none":
            return [None if tag is None else label_name(tag, self.labels) for tag in tags]
        return list(write_tags(read_spans(written_tags(tags)), len(tags), "bio"))

    def encode(self, value: Sequence[str | None], encoding: Encoding) -> list[int]:
        """Label ids (seq_len,): a word's label on its first sub-word, -100 elsewhere."""
        if self.scheme == "bioes":
            known = [span for span in read_spans(_texts(value)) if span.label in self.labels]
            value = write_tags(known, len(value), "bioes")
        # One more, for the -1 of sub-words that belong to no word.
        ids = np.array([*(self._ids.get(str(tag), -100) for tag in value), -100])
        words = encoding.token_words
        labels: list[int] = np.where(first_subwords(words), ids[words], -100).tolist()
        return labels

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Label ids (rows, seq_len)."""
        assert isinstance(labels, Ragged)
        return labels.pad(seq_len, -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one on every token."""
        if self.stock:
            return StockHead(str(self.auto_class), encoder_config, self.logit_names)
        return TokenHead(
            encoder_config.hidden_size,
            len(self.logit_names),
            dropout=hidden_dropout(encoder_config),
        )

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over labelled words, with their number.

        Shape: logits (rows, seq_len, num_labels), labels (rows, seq_len), -100 = not labelled.
        """
        total = F.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum"
        )
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The best tag of each word, with a scheme under the constraint that spans are legal."""
        log_probabilities = torch.from_numpy(logits).log_softmax(dim=-1).numpy()
        return [
            self._decode_row(scores, encoding)
            for scores, encoding in zip(log_probabilities, encodings, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> Any:
        """A list of entities, or the words with their tags."""
        if self.scheme == "none":
            return {"words": row.words.strings(), "tags": decoded.value}
        return [
            {
                "entity_group": span.label,
                "word": row.words.slice(span.start, span.end),
                "score": float(np.mean(decoded.scores[span.start : span.end])),
                "start": int(row.words.starts[span.start]),
                "end": int(row.words.ends[span.end - 1]),
            }
            for span in read_spans(decoded.value)
        ]

    def metrics(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str | None]]
    ) -> dict[str, Any]:
        """Strict span scores with a scheme, else accuracy and macro F1 over labelled words."""
        if self.scheme != "none":
            return dict(span_scores([_texts(tags) for tags in references], predictions))
        pairs = [
            (reference, tag)
            for right, tags in zip(references, predictions, strict=True)
            for reference, tag in zip(right, tags, strict=True)
            if reference is not None
        ]
        scores = classification_scores([r for r, _ in pairs], [p for _, p in pairs])
        return {name: scores[name] for name in self.metric_names}

    def occurrences(self, value: Sequence[str | None]) -> Iterable[str]:
        """The span types, or the words' labels."""
        if self.scheme == "none":
            return [tag for tag in value if tag is not None]
        return [span.label for span in read_spans(_texts(value))]

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """Illegal tags, schemes that differ between datasets, entities that split a word."""
        return [] if self.scheme == "none" else diagnose_tags(self.name, rows)

    def _decode_row(self, scores: np.ndarray, encoding: Encoding) -> Decoded:
        words = encoding.token_words
        first = np.flatnonzero(first_subwords(words))
        # Words of the pair are numbered behind those of the text and carry no tags.
        first = first[words[first] < len(encoding.row.words)]
        seen = words[first]
        table = np.full((len(encoding.row.words), len(self.logit_names)), _FAR_BELOW)
        fallback = self.commonest if self.scheme == "none" else "O"
        table[:, self._ids.get(fallback, 0)] = 0.0
        table[seen] = scores[first]
        if self.scheme == "none":
            path = table.argmax(axis=1)
        else:
            path = best_legal_path(table, self._legal)
        tags = [self.logit_names[tag] for tag in path]
        if self.scheme == "bioes":
            tags = write_tags(read_spans(tags), len(tags), "bio")
        return Decoded(tags, np.exp(table[np.arange(len(path)), path]))


def _texts(tags: Sequence[str | None]) -> list[str]:
    return [str(tag) for tag in tags]
