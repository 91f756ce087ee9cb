"""Labelled relations between labelled spans: read, scored, and what is odd about them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mtl_nlp.metrics import nested_span_scores
from mtl_nlp.tasks.labels import label_name, sorted_labels, whole_number
from mtl_nlp.tasks.records import read_records
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.tasks.spans import reading_order

ENDS = 4  # words that tell a pair of spans: the first ones of head and tail, and the last ones


class Relation(NamedTuple):
    """Span ``head`` is related to span ``tail``; both are indices into a row's spans."""

    head: int
    tail: int
    label: str


@dataclass(frozen=True)
class SpanGraph:
    """The spans of a row and the relations between them, right or predicted.

    Attributes:
        spans: Counted in words.
        relations: Between them, rising.
    """

    spans: tuple[Span, ...]
    relations: tuple[Relation, ...]

    @classmethod
    def of(cls, spans: Sequence[Span], relations: Iterable[Relation]) -> "SpanGraph":
        """Spans and their relations, each once and the spans in reading order.

        Spans that have come to be one, as those of characters that stand in one word may, have the
        relations of both.
        """
        ordered = sorted(set(spans), key=reading_order)
        place = {span: i for i, span in enumerate(ordered)}
        moved = {
            Relation(place[spans[head]], place[spans[tail]], label)
            for head, tail, label in relations
        }
        return cls(tuple(ordered), tuple(sorted(moved)))


def read_relations(value: Any, spans: int) -> list[Relation]:
    """The relations of a row; a list of records, or a record of lists, or None.

    Args:
        value: As it is given.
        spans: How many spans there are for ``head`` and ``tail`` to point at.

    Raises:
        ValueError: If it is something else, or a relation points at no span, joins a span to
            itself, or comes twice.
    """
    given = read_records(value, what="relations", keys=("head", "tail", "label"))
    relations = [_relation(one, number, spans) for number, one in enumerate(given)]
    if twice := [one for one, times in Counter(relations).items() if times > 1]:
        head, tail, label = twice[0]
        raise ValueError(
            f"relation {label!r} from span {head} to span {tail} comes twice; give it once"
        )
    return relations


def fitting_names(counts: Counter[str], class_names: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a class in its order, if it is the one that the labels are of."""
    if counts and class_names and counts.keys() <= set(class_names):
        return tuple(class_names)
    return sorted_labels(counts)


def encoded_parts(encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a row's labels say: two numbers, of words and spans, then these, then the relations.

    Returns:
        Words, (words,); first word, last word and label of each span, (spans, 3); head, tail and
        label of each relation, (relations, 3).
    """
    words, spans = encoded[:2]
    parts = np.split(encoded[2:], [words, words + 3 * spans])
    return parts[0], parts[1].reshape(-1, 3), parts[2].reshape(-1, 3)


def pair_labels(spans: np.ndarray, relations: np.ndarray, num_labels: int) -> np.ndarray:
    """Every ordered pair of two spans, and which relations hold between them.

    Args:
        spans: First and last word of each, and what else there is to it, (spans, 2 or more).
        relations: Head, tail and label of each, (relations, 3).
        num_labels: How many labels there are.

    Returns:
        First words of head and tail, last words of both, then 1 or 0 for each label,
        (pairs, 4 + num_labels).
    """
    there = np.zeros((len(spans), len(spans), num_labels), dtype=spans.dtype)
    there[tuple(relations.T)] = 1
    heads, tails = np.nonzero(~np.eye(len(spans), dtype=bool))
    ends = [spans[of, end] for end in (0, 1) for of in (heads, tails)]
    return np.concatenate([np.stack(ends, axis=1), there[heads, tails]], axis=1)


def likely_relations(
    tables: np.ndarray, spans: Sequence[Span], words: np.ndarray, labels: Sequence[str]
) -> list[tuple[Relation, float]]:
    """The relations between a row's spans that are likelier than not, with their probability.

    Args:
        tables: Logits of pairs of first words and of last words, (seq_len, seq_len, 2, num_labels).
        spans: Between which relations are looked for.
        words: Those that the encoder sees; spans that begin or end elsewhere have no relations.
        labels: The relations' names.

    Returns:
        By head, then tail, then the label's number.
    """
    ends = np.array([(span.start, span.end - 1) for span in spans], dtype=np.int64).reshape(-1, 2)
    here = np.flatnonzero(np.isin(ends, words).all(axis=1))
    first, last = ends[here].T
    logits = tables[first[:, None], first, 0] + tables[last[:, None], last, 1]
    logits[np.arange(len(here)), np.arange(len(here))] = -np.inf  # no span is its own
    heads, tails, numbers = np.nonzero(logits > 0)
    scores = 1 / (1 + np.exp(-logits[heads, tails, numbers].astype(np.float64)))
    return [
        (Relation(int(here[head]), int(here[tail]), labels[int(number)]), float(score))
        for head, tail, number, score in zip(heads, tails, numbers, scores, strict=True)
    ]


def relation_scores(
    predictions: Sequence[SpanGraph], references: Sequence[SpanGraph]
) -> dict[str, float]:
    """Precision, recall and F1 over all relations of all rows (micro).

    A relation is right only with the right label, direction and both spans, each with the right
    words and label ("strict" with Bekoulis et al., 2018, arXiv:1804.07847). What is undefined is
    0.0.
    """
    spans = {
        one: i for i, one in enumerate({s for g in (*predictions, *references) for s in g.spans})
    }
    found, right = (
        [
            [
                (spans[g.spans[head]], spans[g.spans[tail]], label)
                for head, tail, label in g.relations
            ]
            for g in graphs
        ]
        for graphs in (predictions, references)
    )
    scores = nested_span_scores(right, found)
    return {"f1": scores["f1"], "precision": scores["precision"], "recall": scores["recall"]}


def _relation(value: Any, number: int, spans: int) -> Relation:
    if not isinstance(value, Mapping) or not {"head", "tail", "label"} <= set(value):
        raise ValueError(
            f"relation {number}: expected a record of head, tail and label, found {value!r:.80}"
        )
    ends = []
    for key in ("head", "tail"):
        end = whole_number(value[key])
        if end is None:
            raise ValueError(
                f"relation {number}: expected the indices of two spans as head and tail, found"
                f" {value[key]!r:.80}"
            )
        if not 0 <= end < spans:
            raise ValueError(
                f"relation {number} points at span {end}, but there are {spans} spans; head and"
                " tail count spans from 0"
            )
        ends.append(end)
    if value["label"] is None:
        raise ValueError(f"relation {number}: expected a label, found null")
    head, tail = ends
    if head == tail:
        raise ValueError(
            f"relation {number} joins span {head} to itself; give it two spans or drop it"
        )
    return Relation(head, tail, label_name(value["label"], ()))
