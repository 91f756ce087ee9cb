"""What training rows teach a tagger: its labels or span types, and how many words have each."""

from collections import Counter
from collections.abc import Iterable, Sequence

from mtl_nlp.tasks.base import Fields
from mtl_nlp.tasks.labels import label_name
from mtl_nlp.tasks.schemes import Scheme, read_spans, write_tags
from mtl_nlp.tasks.tags import given_tags, span_types, written_tags


def count_labels(rows: Iterable[Fields], names: Sequence[str]) -> Counter[str]:
    """How many words of the rows have each label; ``names`` are those that indices count."""
    return Counter(
        label_name(tag, names) for row in rows for tag in given_tags(row) or () if tag is not None
    )


def count_tags(rows: Iterable[Fields], scheme: Scheme) -> Counter[str]:
    """How many words of the rows have each tag, once the rows are written in this scheme.

    Raises:
        ValueError: If rows give entities of a text, which do not tell how many words there are.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        if "entities" in row:
            raise ValueError(
                "class_weights: balanced counts the words that have each tag, which a column of"
                " entities does not tell; give the weights as {type: weight}, and that of O"
            )
        tags = written_tags(given_tags(row) or ())
        counts.update(write_tags(read_spans(tags), len(tags), scheme))
    return counts


def learn_types(
    rows: Iterable[Fields], class_names: Sequence[str] | None, counts: Counter[str]
) -> tuple[str, ...]:
    """The span types of the rows.

    Args:
        rows: Gone through only where neither of the others tells.
        class_names: Of a ``ClassLabel`` of tags or types, whose order is kept.
        counts: What `count_tags` gave, if it was called.
    """
    if class_names:
        return tuple(dict.fromkeys(type_of_tag(name) for name in class_names if name != "O"))
    if counts:
        return tuple(sorted({type_of_tag(tag) for tag in counts if tag != "O"}))
    return tuple(sorted({label for row in rows for label in span_types(row)}))


def type_of_tag(tag: str) -> str:
    """The span type of a tag; a name without a prefix, and O, is its own.

    >>> type_of_tag("B-creative-work"), type_of_tag("O")
    ('creative-work', 'O')
    """
    return tag.partition("-")[2] or tag
