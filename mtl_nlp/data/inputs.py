"""What a record says to the encoder: its input columns, checked, become a row."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.tasks.spans import word_spans
from mtl_nlp.words import Row, Words, join_words


def input_record(record: Mapping[str, Any], spec: DatasetSpec) -> dict[str, Any]:
    """A dataset's record with its input columns under our names."""
    return {ours: record[theirs] for ours, theirs in spec.inputs.items()}


def input_row(record: Mapping[str, Any], split: Callable[[str], Words], join: str) -> Row:
    """The row of a record with ``text``, perhaps ``text_pair`` or ``choices``, or ``tokens``.

    Args:
        record: With our names of columns. Where it has ``spans``, which count words of ``tokens``
            or characters of ``text``, the row has them too.
        split: Gives the words of raw text.
        join: What stands between words that come as a list.

    Raises:
        ValueError: If a value is missing, empty or of another kind.
    """
    row = _row(record, split, join)
    if record.get("spans") is None:
        return row
    spans = word_spans(record["spans"], row, in_words="tokens" in record)
    return replace(row, spans=tuple(spans))


def _row(record: Mapping[str, Any], split: Callable[[str], Words], join: str) -> Row:
    if record.get("tokens") is not None:
        return Row(join_words(_checked_tokens(record["tokens"]), join))
    if "tokens" in record:
        raise ValueError("column tokens: expected a list of words, found null")
    words = split(_checked_text(record, "text"))
    if "choices" in record:
        if "text_pair" in record:
            raise ValueError("expected text_pair or choices beside text, found both")
        return Row(words, choices=tuple(map(split, _checked_choices(record["choices"]))))
    if "text_pair" not in record:
        return Row(words)
    return Row(words, split(_checked_text(record, "text_pair")))


def _checked_text(record: Mapping[str, Any], column: str) -> str:
    value = record.get(column)
    if not isinstance(value, str):
        raise ValueError(f"column {column}: expected text, found {value!r}")
    if not value.strip():
        raise ValueError(f"column {column}: expected text, found an empty one")
    return value


def _checked_tokens(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise ValueError(f"column tokens: expected a list of words, found {value!r:.80}")
    if not any(token.strip() for token in value):
        raise ValueError("column tokens: expected words, found none")
    return value


def _checked_choices(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(choice, str) for choice in value):
        raise ValueError(f"column choices: expected a list of texts, found {value!r:.80}")
    if len(value) < 2:
        raise ValueError(f"column choices: expected at least two texts, found {len(value)}")
    if blank := [number for number, choice in enumerate(value) if not choice.strip()]:
        raise ValueError(f"column choices: expected texts, found an empty one at {blank[0]}")
    return value
