"""Entities given by the characters of a text, brought to its words."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtl_nlp.tasks.labels import label_name, whole_number
from mtl_nlp.tasks.records import read_records
from mtl_nlp.tasks.schemes import Span, write_tags
from mtl_nlp.words import Row, overlap


def read_entities(value: Any) -> list[Span]:
    """Entities as spans of characters; a list of records, or a record of lists, or None."""
    given = read_records(value, what="entities", keys=("start", "end", "label"))
    return [_entity(entity) for entity in given]


def _entity(value: Any) -> Span:
    if isinstance(value, Mapping):
        start, end = (whole_number(value.get(key)) for key in ("start", "end"))
        label = value.get("label")
        if start is not None and end is not None and label is not None:
            return Span(start, end, label_name(label, ()))
    raise ValueError(f"expected an entity with start, end and label, found {value!r:.80}")


def entity_words(found: Sequence[Span], row: Row) -> list[Span]:
    """The words that entities, given by characters, stand in.

    Raises:
        ValueError: If one lies outside the text or covers no word.
    """
    for start, end, label in found:
        if not 0 <= start < end <= len(row.words.text):
            raise ValueError(
                f"entity {label!r} of characters {start} to {end} lies outside the text of"
                f" {len(row.words.text)} characters; start and end count characters from 0,"
                " end exclusive"
            )
        if not row.words.text[start:end].strip():
            raise ValueError(f"entity {label!r} of characters {start} to {end} is only blanks")
    return [Span(*row.words.covering(start, end), label) for start, end, label in found]


def entity_tags(entities: Any, row: Row) -> list[str]:
    """BIO tags of the words that entities, given by characters, stand in."""
    found = read_entities(entities)
    spans = entity_words(found, row)
    if clash := overlap([(span.start, span.end) for span in spans]):
        a, b = (f"{found[i].label!r} ({found[i].start} to {found[i].end})" for i in clash)
        raise ValueError(f"entities {a} and {b} share a word; a word can be in one entity only")
    return list(write_tags(spans, len(row.words), "bio"))
