"""Scores of label and span predictions, as plain numbers that JSON and YAML can hold."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

# scikit-learn takes over a second to import and is needed only once something is scored,
# so the functions below import it, and seqeval that stands on it.

_Places = defaultdict[str, set[tuple[int, ...]]]  # of the spans of each type


class TypeScores(TypedDict):
    """Scores of one entity type; ``support`` is the number of its spans in the references."""

    precision: float
    recall: float
    f1: float
    support: int


class SpanScores(TypedDict):
    """Scores over all spans (micro), and for every type in references or predictions."""

    f1: float
    precision: float
    recall: float
    per_type: dict[str, TypeScores]


def classification_scores(
    references: Sequence[str] | Sequence[int], predictions: Sequence[str] | Sequence[int]
) -> dict[str, float]:
    """Accuracy, macro and weighted F1, and Matthews correlation of one label per item.

    Args:
        references: The true labels, names or ids.
        predictions: The predicted labels, in the same order.

    Returns:
        ``accuracy``, ``macro_f1``, ``weighted_f1`` in [0, 1] and ``mcc`` in [-1, 1], all 0.0
        without items. Macro F1 is the mean over the labels that occur in references or predictions,
        a label that occurs in only one of them counting 0, as in scikit-learn.

    Raises:
        ValueError: If there are not as many predictions as references.

    >>> classification_scores(["good", "bad", "bad"], ["good", "bad", "good"])["accuracy"]
    0.6666666666666666
    """
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    _check_equal_number(references, predictions)
    if not references:
        return {"accuracy": 0.0, "macro_f1": 0.0, "weighted_f1": 0.0, "mcc": 0.0}
    # Numbered once: scikit-learn sorts strings anew in each of the four.
    ids = {label: number for number, label in enumerate(dict.fromkeys([*references, *predictions]))}
    truth = np.array([ids[label] for label in references])
    guess = np.array([ids[label] for label in predictions])
    # With one label scikit-learn warns of the confusion matrix's shape and answers 0.
    mcc = float(matthews_corrcoef(truth, guess)) if len(ids) > 1 else 0.0
    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(truth, guess, average="weighted", zero_division=0)),
        "mcc": mcc,
    }


def span_scores(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> SpanScores:
    """Scores of whole spans: right only with the right first word, last word and type.

    Args:
        references: The true BIO or BIOES tags of every sentence.
        predictions: The predicted ones, one per word, in the same order.

    Returns:
        ``f1``, ``precision``, ``recall`` over all spans (micro) and ``per_type``, its types sorted.
        What is undefined (nothing to find, nothing found) is 0.0. Spans are read by seqeval
        in its default mode, so an illegal ``I-`` begins one.

    Raises:
        ValueError: If sentences or words of references and predictions differ in number.

    >>> span_scores([["B-person", "I-person", "O"]], [["B-person", "I-person", "O"]])["f1"]
    1.0
    """
    _check_equal_number(references, predictions)
    for row, (truth, guess) in enumerate(zip(references, predictions, strict=True)):
        if len(truth) != len(guess):
            raise ValueError(
                f"sentence {row} has {len(truth)} reference tags but {len(guess)} predicted tags; "
                "give one tag per word in both"
            )
    return _scores_by_type(_spans_by_type(references), _spans_by_type(predictions))


def nested_span_scores(
    references: Sequence[Iterable[tuple[int, int, str]]],
    predictions: Sequence[Iterable[tuple[int, int, str]]],
) -> SpanScores:
    """The same scores of spans that may nest and overlap, which tags cannot write.

    Args:
        references: The true spans of every row, each ``(start, end, label)``; one that comes twice
            counts once.
        predictions: The predicted ones, in the same order.

    Returns:
        As `span_scores`: a span is right only with the right start, end and label.

    Raises:
        ValueError: If there are not as many predictions as references.

    >>> nested_span_scores([[(0, 3, "org"), (2, 3, "place")]], [[(0, 3, "org")]])["recall"]
    0.5
    """
    _check_equal_number(references, predictions)
    return _scores_by_type(_rows_by_type(references), _rows_by_type(predictions))


def _scores_by_type(expected: _Places, found: _Places) -> SpanScores:
    """Micro scores and those of each type."""
    counts = {
        name: (len(expected[name] & found[name]), len(found[name]), len(expected[name]))
        for name in sorted(expected.keys() | found.keys())
    }
    per_type = {name: _scores_from_counts(*count) for name, count in counts.items()}
    correct, found_spans, true_spans = map(sum, zip((0, 0, 0), *counts.values(), strict=True))
    total = _scores_from_counts(correct, found_spans, true_spans)
    return {
        "f1": total["f1"],
        "precision": total["precision"],
        "recall": total["recall"],
        "per_type": per_type,
    }


def _check_equal_number(references: Sequence[object], predictions: Sequence[object]) -> None:
    if len(references) != len(predictions):
        raise ValueError(
            f"{len(references)} references but {len(predictions)} predictions; "
            "give exactly one prediction per reference"
        )


def _rows_by_type(rows: Sequence[Iterable[tuple[int, int, str]]]) -> _Places:
    """Row, start and end of every span."""
    spans: _Places = defaultdict(set)
    for row, found in enumerate(rows):
        for start, end, name in found:
            spans[name].add((row, start, end))
    return spans


def _spans_by_type(sentences: Sequence[Sequence[str]]) -> _Places:
    """First and last word of every span, counted through all sentences with a gap between two."""
    from seqeval.metrics.sequence_labeling import get_entities

    spans: _Places = defaultdict(set)
    for name, first, last in get_entities(list(_joined(sentences))):
        spans[name].add((first, last))
    return spans


def _joined(sentences: Sequence[Sequence[str]]) -> Iterator[str]:
    for tags in sentences:
        yield from tags
        yield "O"


def _scores_from_counts(correct: int, predicted: int, support: int) -> TypeScores:
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / support if support else 0.0,
        "f1": 2 * correct / (predicted + support) if predicted + support else 0.0,
        "support": support,
    }
