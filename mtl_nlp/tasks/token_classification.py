"""One label per word (parts of speech), or spans of words written as tags (named entities)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.crf import CrfHead, crf_loss
from mtl_nlp.heads.linear import TokenHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.heads.word_scores import WordHead
from mtl_nlp.metrics import span_scores
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, option
from mtl_nlp.tasks.chains import best_tags, up_to_last, with_unknown
from mtl_nlp.tasks.class_loss import ClassTask
from mtl_nlp.tasks.decoders import FITS_LOSS, best_linear_tags
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.entities import entity_tags
from mtl_nlp.tasks.labels import label_ids, label_name, sorted_labels, stock_labels
from mtl_nlp.tasks.places import at_first_sub_words, at_their_numbers
from mtl_nlp.tasks.schemes import LegalPaths, read_spans, tag_names, write_tags
from mtl_nlp.tasks.tag_learning import count_labels, count_tags, learn_types, type_of_tag
from mtl_nlp.tasks.tags import (
    bioes_tags,
    diagnose_tags,
    given_tags,
    label_scores,
    labelled_words,
    refuse_tags,
    show_entities,
    tag_set,
    texts,
    written_tags,
)
from mtl_nlp.words import Row


@dataclass(frozen=True, kw_only=True)
class TokenClassification(ClassTask):
    """A label per word, or whole spans.

    By default a word's first sub-word carries its label, and its logits stand there, as in stock
    transformers; with another ``decoder`` or ``pooling`` they stand at the word's number.

    Values, right or predicted, are one tag per word: in BIO where there is a scheme (whatever
    the source was written in), else the label names, None for a word without a label.
    """

    type: ClassVar[str] = "token_classification"
    per_token: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("tags",), ("entities",))
    column_meanings: ClassVar[Mapping[str, str]] = {
        "tags": "one tag per word",
        "entities": "list of {start, end, label}, in characters, end exclusive",
    }
    auto_class: ClassVar[str | None] = "AutoModelForTokenClassification"
    fewest_labels: ClassVar[int] = 1

    scheme: Literal["none", "bio", "bioes"] = option(
        "bio", "how the head's tags mark spans; none: every word has a label of its own"
    )
    decoder: Annotated[Literal["linear", "crf"], FITS_LOSS] = option(
        "linear", "linear: each word's tag by its own score; crf: all tags of a row together"
    )
    pooling: Literal["first", "last", "mean"] = option(
        "first", "which of a word's sub-words stand for it"
    )
    commonest: str = ""  # with no scheme: the label of words the encoder does not see
    tag_order: tuple[str, ...] = ()  # the tags as a checkpoint taken in orders its logits

    def __post_init__(self) -> None:
        """Raise a ValueError also for tags where span types should stand."""
        super().__post_init__()
        if self.scheme != "none":
            refuse_tags(self.labels, self.scheme)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Span scores with a scheme, else scores of words."""
        of_words = ("accuracy", "macro_f1")
        return of_words if self.scheme == "none" else ("f1", "precision", "recall", "per_type")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The tags."""
        if self.scheme == "none":
            return self.labels
        return self.tag_order or tuple(tag_names(self.labels, self.scheme))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The labels, or for each tag its span type, so that all tags of a type weigh alike."""
        return tuple(map(type_of_tag, self.logit_names)) if self.scheme != "none" else self.labels

    @property
    def own_head(self) -> str:
        """Stock heads score every sub-word for itself."""
        own = [f"decoder: {self.decoder}"] * (self.decoder != "linear")
        own += [f"pooling: {self.pooling}"] * (self.pooling != "first")
        return f"no head of stock transformers has {' and '.join(own)}" if own else ""

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.logit_names)}

    @cached_property
    def _legal(self) -> LegalPaths:
        assert self.scheme != "none"
        return LegalPaths.of_tags(self.logit_names, self.scheme)

    @cached_property
    def _allowed(self) -> Tensor:
        """The legal paths as a CRF wants them, (num_labels + 2, num_labels)."""
        if self.scheme == "none":
            return torch.ones(len(self.labels) + 2, len(self.labels), dtype=torch.bool)
        legal = self._legal
        return torch.from_numpy(np.vstack([legal.transition, legal.start, legal.end]))

    @cached_property
    def _fallback(self) -> int:
        """The tag of words that the encoder does not see."""
        return self._ids.get(self.commonest if self.scheme == "none" else "O", 0)

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task with the checkpoint's labels; the scheme is the one its tag names belong to."""
        names = stock_labels(config)
        tags = tag_set(names)
        if tags is None:
            return cls(name=name, labels=names, scheme="none")
        return cls(name=name, labels=tags.types, scheme=tags.scheme, tag_order=tags.order)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its span types, or its labels and the commonest of them; their weights."""
        counts: Counter[str] = Counter()
        if self.scheme == "none":
            counts = count_labels(rows, class_names or self.labels)
            labels = self.labels or tuple(class_names or sorted_labels(counts))
        else:
            if self.class_weights == "balanced":
                counts = count_tags(rows, self.scheme)
            labels = self.labels or learn_types(rows, class_names, counts)
        if not labels:
            found = "labels" if self.scheme == "none" else "spans"
            raise ValueError(f"expected some {found} in train, found none; check the columns")
        commonest = counts.most_common(1)[0][0] if counts and self.scheme == "none" else ""
        return replace(self, labels=labels, commonest=commonest).with_weights(counts)

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
        """Label ids (seq_len,): a word's label where its logits stand, -100 elsewhere.

        For a CRF the words up to the last that is seen all have one, perhaps ``ANY``; a span ends
        there at the latest, as it does in decoding.
        """
        seen, places = self._seen(encoding)
        if self.scheme == "bioes":
            stop = len(value) if self.decoder == "linear" else up_to_last(seen)
            value = bioes_tags(texts(value), stop)
        ids = np.array([self._ids.get(str(tag), -100) for tag in value])
        labels = np.full(len(encoding.token_words), -100)
        labels[places] = ids[seen]
        labels = with_unknown(labels, seen) if self.decoder == "crf" else labels
        numbers: list[int] = labels.tolist()
        return numbers

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Label ids (rows, seq_len)."""
        assert isinstance(labels, Ragged)
        return labels.pad(seq_len, -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head or a linear one on every token; else one of words."""
        hidden, num_labels = encoder_config.hidden_size, len(self.logit_names)
        dropout = hidden_dropout(encoder_config)
        if self.decoder == "crf":
            return CrfHead(hidden, num_labels, pooling=self.pooling, dropout=dropout)
        if self.pooling != "first":
            return WordHead(hidden, num_labels, pooling=self.pooling, dropout=dropout)
        if self.stock:
            return StockHead(str(self.auto_class), encoder_config, self.logit_names)
        return TokenHead(hidden, num_labels, dropout=dropout)

    def count(self, labels: Tensor) -> Tensor:
        """How many labelled words there are, a scalar."""
        return (labels >= 0).sum()

    def distribution(self, logits: Tensor) -> Tensor:
        """Softmax over each sub-word's labels, (rows, seq_len, num_labels), whatever decodes."""
        return logits.softmax(dim=-1)

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of each labelled word's distribution over tags, by itself with a CRF as well; summed."""
        words = labels.shape[1]
        return softmax_divergence(one[:, :words], other[:, :words], labels >= 0)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over labelled words, with their number.

        With a CRF it is that of a row's labels together, so both decoders' means are per word.

        Shape: logits (rows, seq_len, num_labels), with a CRF those of `CrfHead`; labels
        (rows, seq_len), -100 = not labelled.
        """
        if self.decoder == "crf":
            total = crf_loss(logits, labels, self._allowed.to(logits.device))
            return LossSum(total, self.count(labels))
        return LossSum(self.class_loss(logits.flatten(0, 1), labels.flatten()), self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The best tag of each word, with a scheme under the constraint that spans are legal."""
        if self.decoder == "crf":
            return self._decode_crf(logits, encodings)
        log_probabilities = torch.from_numpy(logits).log_softmax(dim=-1).numpy()
        legal = None if self.scheme == "none" else self._legal
        decoded = []
        for scores, encoding in zip(log_probabilities, encodings, strict=True):
            seen, places = self._seen(encoding)
            length = len(encoding.row.words)
            tags = best_linear_tags(scores[places], seen, length, self._fallback, legal)
            decoded.append(self._decoded(*tags))
        return decoded

    def present(self, decoded: Decoded, row: Row) -> Any:
        """A list of entities, or the words with their tags."""
        if self.scheme == "none":
            return {"words": row.words.strings(), "tags": decoded.value}
        return show_entities(decoded.value, decoded.scores, row)

    def metrics(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str | None]]
    ) -> dict[str, Any]:
        """Strict span scores with a scheme, else accuracy and macro F1 over labelled words."""
        if self.scheme != "none":
            return dict(span_scores([texts(tags) for tags in references], predictions))
        return label_scores(predictions, references)

    def hub_values(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str | None]]
    ) -> tuple[list[Any], list[Any]]:
        """Lists of tags with a scheme, as seqeval takes them, else ids of all labelled words."""
        if self.scheme != "none":
            return list(predictions), [texts(tags) for tags in references]
        return label_ids(self.labels, *labelled_words(predictions, references))

    def occurrences(self, value: Sequence[str | None]) -> Iterable[str]:
        """The span types, or the words' labels."""
        if self.scheme == "none":
            return [tag for tag in value if tag is not None]
        return [span.label for span in read_spans(texts(value))]

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """Illegal tags, schemes that differ between datasets, entities that split a word."""
        return [] if self.scheme == "none" else diagnose_tags(self.name, rows)

    def _seen(self, encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
        """The words that the encoder sees, in rising order, and where the logits of each stand."""
        if not self.own_head:
            return at_first_sub_words(encoding)
        seen = at_their_numbers(encoding)
        return seen, seen

    def _decode_crf(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The best tags of each row, and the probability that a word has its tag."""
        seen = [at_their_numbers(encoding) for encoding in encodings]
        chains = best_tags(logits, seen, self._fallback, self._allowed)
        decoded = []
        for encoding, (tags, probabilities) in zip(encodings, chains, strict=True):
            unseen = (0, len(encoding.row.words) - len(tags))
            path = np.pad(tags, unseen, constant_values=self._fallback)
            decoded.append(self._decoded(path, np.pad(probabilities, unseen, constant_values=1.0)))
        return decoded

    def _decoded(self, path: np.ndarray, scores: np.ndarray) -> Decoded:
        tags = [self.logit_names[tag] for tag in path]
        if self.scheme == "bioes":
            tags = write_tags(read_spans(tags), len(tags), "bio")
        return Decoded(tags, scores)
