"""The words of a context that answer a question, or that it does not answer it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.answer_metrics import answer_f1, answer_scores
from mtl_nlp.heads.linear import TokenHead, hidden_dropout
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.answers import (
    Answers,
    BestSpans,
    SeenWords,
    best_null_threshold,
    best_spans,
    listed_answers,
    read_answers,
)
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.words import Row, Words


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task):
    """The span of the context, the text's pair, that answers the question, the text.

    Every sub-word has a logit of being the answer's first and one of being its last, as in stock
    transformers; both ends are at place 0 where there is no answer. A long context is one sequence,
    so both softmaxes go over all of it (Clark & Gardner, 2018, arXiv:1710.10723).

    Values, right or predicted, are `Answers`.

    Attributes:
        null_threshold: By how much the logits of no answer must be above those of the best span
            for there to be none; learned from validation. None, where train has an answer to every
            question: there always is one.
    """

    type: ClassVar[str] = "question_answering"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("answers",),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "answers": "{text, answer_start} of lists, in characters of text_pair; empty: no answer",
    }
    takes: ClassVar[tuple[tuple[str, ...], ...]] = (("text", "text_pair"),)
    auto_class: ClassVar[str | None] = "AutoModelForQuestionAnswering"
    per_token: ClassVar[bool] = True

    inputs: tuple[str, ...] = ("text", "text_pair")
    max_answer: Annotated[int, Field(ge=1)] = option(30, "words of the longest answer it gives")
    null_threshold: float | None = None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """F1 of the answer's words first."""
        return ("f1", "exact_match")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The two ends of an answer."""
        return ("start", "end")

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task of a checkpoint, which does not tell whether some questions had no answer."""
        if config.num_labels != 2:
            raise ValueError(
                f"a {cls.type} task has a logit for each end of an answer, and this checkpoint has"
                f" {config.num_labels} a token"
            )
        return cls(name=name)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task that knows whether there are questions without an answer."""
        del class_names
        if self.labels:
            raise ValueError("labels: an answer has no label names; leave them out")
        found = [bool(one) for row in rows if (one := listed_answers(row["answers"])) is not None]
        if not any(found):
            raise ValueError("expected some answers in train, found none; check the column")
        return self if all(found) else replace(self, null_threshold=0.0)

    def read(self, fields: Fields, row: Row) -> Answers | None:
        """The right answers, each where it says it is."""
        return read_answers(fields["answers"], _context(row).text)

    def encode(self, value: Answers, encoding: Encoding) -> list[int]:
        """Place of the answer's first and of its last sub-word, and how many there are in the row.

        Of several answers it is the one given most often, of equals the first, that the encoder
        sees whole; both places are -100 where it sees none, and 0 where there is none.
        """
        length = len(encoding.token_words)
        if not value.texts:
            return [0, 0, length]
        seen, context = SeenWords.of(encoding), _context(encoding.row)
        for start, end in value.by_votes():
            first, last = context.covering(start, end)
            if first < last and (places := seen.places(first, last - 1)):
                return [*places, length]
        return [-100, -100, length]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """First place, last place, sub-words of the row, (rows, 3)."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.values.reshape(len(labels), 3).astype(np.int64)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or a linear one on every token."""
        if self.stock:
            return StockHead(str(self.auto_class), encoder_config, self.logit_names)
        return TokenHead(encoder_config.hidden_size, 2, dropout=hidden_dropout(encoder_config))

    def count(self, labels: Tensor) -> Tensor:
        """How many questions have an answer that the encoder sees, or none at all; a scalar."""
        return (labels[:, 0] >= 0).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over sub-words, its mean over both ends, summed over questions."""
        known = labels[:, :2] >= 0
        return softmax_divergence(_ends(one, labels), _ends(other, labels), known) / 2

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy of both ends in nats, its mean over the two, summed over questions.

        Each softmax goes over all sub-words of the row, as in stock transformers, but not over its
        padding.

        Shape: logits (rows, seq_len, 2); labels (rows, 3), -100 = not labelled.
        """
        total = F.cross_entropy(
            _ends(logits, labels).flatten(0, 1),
            labels[:, :2].flatten(),
            ignore_index=-100,
            reduction="sum",
        )
        return LossSum(total / 2, self.count(labels))

    @property
    def tunes(self) -> bool:
        """Where train has an answer to every question there is no threshold to learn."""
        return self.null_threshold is not None

    def tune(
        self, logits: np.ndarray, encodings: Sequence[Encoding], references: Sequence[Answers]
    ) -> Self:
        """The task with the threshold that gives the best F1."""
        if self.null_threshold is None:
            return self
        spans = self._spans(logits, encodings)
        answers = [_text(answer) for answer in _answers(spans, encodings)]
        answered = np.array(
            [answer_f1(right.texts, one) for right, one in zip(references, answers, strict=True)]
        )
        unanswered = np.array([answer_f1(right.texts, "") for right in references])
        return replace(
            self, null_threshold=best_null_threshold(spans.margins, answered, unanswered)
        )

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The best span of the context, or no answer, with its probability."""
        spans = self._spans(logits, encodings)
        # Where the encoder sees no word of the context the margin is infinite.
        limit = np.finfo(np.float64).max if self.null_threshold is None else self.null_threshold
        given = spans.margins <= limit
        return [
            Decoded(answer, float(score)) if one else Decoded(Answers(), float(null))
            for answer, one, score, null in zip(
                _answers(spans, encodings), given, spans.scores, spans.null_scores, strict=True
            )
        ]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"answer", "score", "start", "end"}``, characters of the context."""
        del row
        found = decoded.value
        answer, start = (found.texts[0], found.starts[0]) if found.texts else ("", 0)
        end = start + len(answer)
        return {"answer": answer, "score": decoded.scores, "start": start, "end": end}

    def metrics(
        self, predictions: Sequence[Answers], references: Sequence[Answers]
    ) -> dict[str, Any]:
        """Those of SQuAD's own scripts."""
        return dict(
            answer_scores(
                [right.texts for right in references], [_text(found) for found in predictions]
            )
        )

    def hub_values(
        self, predictions: Sequence[Answers], references: Sequence[Answers]
    ) -> tuple[list[Any], list[Any]]:
        """As ``squad`` takes them; with questions that have no answer, as ``squad_v2`` does."""
        predicted: list[Any] = [
            {"id": str(number), "prediction_text": _text(found)}
            for number, found in enumerate(predictions)
        ]
        if self.null_threshold is not None:
            for one in predicted:
                one["no_answer_probability"] = float(not one["prediction_text"])
        right = [
            {
                "id": str(number),
                "answers": {"text": list(one.texts), "answer_start": list(one.starts)},
            }
            for number, one in enumerate(references)
        ]
        return predicted, right

    def occurrences(self, value: Answers) -> Iterable[str]:
        """None: an answer is no label."""
        del value
        return ()

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """Answers that split a word or are too long; questions without one where train has none."""
        warnings = []
        for dataset, splits in rows.items():
            for split, labelled in splits.items():
                where = f"task {self.name!r}, dataset {dataset!r}, split {split}:"
                warnings += [f"{where} {one}" for one in self._diagnose_split(labelled)]
        return warnings

    def _diagnose_split(self, rows: Iterable[tuple[Fields, Row]]) -> list[str]:
        split, long, without, total = [], [], 0, 0
        for number, (fields, row) in enumerate(rows):
            answers = self.read(fields, row)
            if answers is None:
                continue
            without += not answers.texts
            for text, start in zip(answers.texts, answers.starts, strict=True):
                total += 1
                first, last = _context(row).covering(start, start + len(text))
                long += [(last - first, number)] * (last - first > self.max_answer)
                if change := _context(row).widened(start, start + len(text)):
                    split.append(f"row {number}: {change}")
        told = []
        if split:
            told.append(
                "answers that begin or end inside a word are widened to whole words:"
                f" {len(split)} of {total}, the first in {split[0]}"
            )
        if long:
            words, number = max(long, key=lambda one: one[0])
            told.append(
                f"{len(long)} of {total} answers have more words than max_answer,"
                f" {self.max_answer}, and are not found whole; the longest has {words}, in row"
                f" {number}"
            )
        if without and self.null_threshold is None:
            told.append(
                f"{without} questions have no answer, but in train all have one, so that one is"
                " always given; add such questions to train"
            )
        return told

    def _spans(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> BestSpans:
        seen = [SeenWords.of(encoding) for encoding in encodings]
        return best_spans(logits, seen, self.max_answer)


def _ends(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits of both ends, (rows, 2, seq_len), the lowest number at padding."""
    places = torch.arange(logits.shape[1], device=logits.device)
    padding = places >= labels[:, 2, None]  # (rows, seq_len)
    ends = logits.float().transpose(1, 2)
    return ends.masked_fill(padding.unsqueeze(1), torch.finfo(torch.float32).min)


def _context(row: Row) -> Words:
    if row.pair is None:
        raise ValueError(
            "expected a question with its context, found a single text; the context is text_pair"
        )
    return row.pair


def _answers(spans: BestSpans, encodings: Sequence[Encoding]) -> Iterator[Answers]:
    """The best span of each row; none in a context without words."""
    for encoding, first, last in zip(encodings, spans.firsts, spans.lasts, strict=True):
        context = _context(encoding.row)
        if last < len(context):
            yield Answers((context.slice(first, last + 1),), (int(context.starts[first]),))
        else:
            yield Answers()


def _text(answers: Answers) -> str:
    return answers.texts[0] if answers.texts else ""
