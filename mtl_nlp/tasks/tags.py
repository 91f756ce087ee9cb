"""Tags and entities as datasets and checkpoints write them, shown, scored, and what is odd."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from mtl_nlp.metrics import classification_scores
from mtl_nlp.tasks.base import Fields
from mtl_nlp.tasks.entities import read_entities
from mtl_nlp.tasks.schemes import (
    Scheme,
    SourceScheme,
    detect_scheme,
    illegal_positions,
    read_spans,
    tag_names,
    write_tags,
)
from mtl_nlp.tasks.spans import show_spans
from mtl_nlp.words import Row


class TagSet(NamedTuple):
    """Span types, the scheme they are written in, and the tags' order if it is not the usual."""

    types: tuple[str, ...]
    scheme: Scheme
    order: tuple[str, ...]


def given_tags(fields: Fields) -> list[Any] | None:
    """The list in the column ``tags``, one per word; None if the row is unlabelled.

    Raises:
        ValueError: If there is no such column, or it holds something else.
    """
    if "tags" not in fields:
        raise ValueError("entities are spans; scheme: none is for tags, leave it out")
    tags = fields["tags"]
    if tags is not None and not isinstance(tags, list):
        raise ValueError(f"expected a list of tags, one per word, found {tags!r:.80}")
    return tags


def written_tags(tags: Sequence[Any]) -> list[str]:
    """The tags of a scheme, all of which must be text."""
    for tag in tags:
        if not isinstance(tag, str):
            raise ValueError(
                f"expected tags such as 'O' or 'B-person', found {tag!r}; write tags as names,"
                " or set scheme: none for labels that are no spans"
            )
    return list(tags)


def span_types(fields: Fields) -> list[str]:
    """The types of a row's spans, once per span."""
    if "entities" in fields:
        return [entity.label for entity in read_entities(fields["entities"])]
    return [span.label for span in read_spans(written_tags(given_tags(fields) or ()))]


def tag_set(names: tuple[str, ...]) -> TagSet | None:
    """What a checkpoint's label names are tags of; None if they are no tags.

    Raises:
        ValueError: If they are some tags of a scheme, but not all.
    """
    scheme = detect_scheme([[tag] for tag in names])
    if scheme == "none":
        return None
    if scheme == "bilou":  # bioes by other letters
        names, scheme = tuple(_in_bioes(tag) for tag in names), "bioes"
    types = tuple(dict.fromkeys(tag.partition("-")[2] for tag in names if tag != "O"))
    expected = tag_names(types, "bioes" if scheme == "bioes" else "bio")
    if scheme == "iob1" or set(names) != set(expected):
        odd = sorted(set(expected) ^ set(names))
        raise ValueError(
            f"its tags {', '.join(names)} are neither a whole bio nor a whole bioes set"
            f" ({', '.join(odd)} are one too many or missing), so it may mean its tags"
            " otherwise; train anew from its encoder"
        )
    return TagSet(types, scheme, () if names == tuple(expected) else names)


def refuse_tags(types: Sequence[str], scheme: Scheme) -> None:
    """Raise a ValueError for tags where span types should stand."""
    for name in types:  # a type may look like B-cell
        if name == "O" or (name[:2] == "B-" and f"I-{name[2:]}" in types):
            raise ValueError(
                f"with scheme {scheme} labels are span types such as person, found the tag"
                f" {name!r}; name the types alone, or set scheme: none"
            )


def texts(tags: Sequence[str | None]) -> list[str]:
    """The tags of a scheme, none of which is missing."""
    return [str(tag) for tag in tags]


def bioes_tags(tags: Sequence[str], stop: int) -> list[str]:
    """The tags' spans in BIOES; none goes on behind the first ``stop`` words."""
    spans = [span for span in read_spans(tags) if span.start < stop]
    ended = [span._replace(end=min(span.end, stop)) for span in spans]
    return write_tags(ended, len(tags), "bioes")


def show_entities(tags: Sequence[str], scores: np.ndarray, row: Row) -> list[dict[str, Any]]:
    """The spans of a row's words as pipelines show them; a score is the mean over the words."""
    spans = read_spans(tags)
    means = [float(np.mean(scores[span.start : span.end])) for span in spans]
    return show_spans(spans, means, row)


def labelled_words(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str | None]]
) -> tuple[list[str], list[str]]:
    """Predicted and right label of each word that has a right one, all rows in one."""
    pairs = [
        (tag, reference)
        for tags, right in zip(predictions, references, strict=True)
        for tag, reference in zip(tags, right, strict=True)
        if reference is not None
    ]
    return [predicted for predicted, _ in pairs], [right for _, right in pairs]


def label_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str | None]]
) -> dict[str, float]:
    """Accuracy and macro F1 over the words that have a label."""
    predicted, right = labelled_words(predictions, references)
    scores = classification_scores(right, predicted)
    return {name: scores[name] for name in ("accuracy", "macro_f1")}


def diagnose_tags(
    task: str, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]
) -> list[str]:
    """Illegal tags, schemes that differ between datasets, entities that split a word.

    Args:
        task: Its name.
        rows: As `Task.diagnose` is given them.
    """
    warnings, schemes = [], {}
    for dataset, splits in rows.items():
        where = f"task {task!r}, dataset {dataset!r}, split"
        tags: dict[str, dict[int, list[str]]] = {}
        for split, labelled in splits.items():
            tags[split], split_words = _gone_through(labelled)
            if split_words:
                warnings.append(
                    f"{where} {split}: entities that begin or end inside a word are widened to"
                    f" whole words: {len(split_words)}, the first in {split_words[0]}"
                )
        if not any(tags.values()):
            continue
        scheme = detect_scheme(chain.from_iterable(one.values() for one in tags.values()))
        schemes[dataset] = scheme
        for split, numbered in tags.items():
            if scheme != "none" and (told := _illegal(numbered, scheme)):
                warnings.append(f"{where} {split}: {told}")
    if len(set(schemes.values())) > 1:
        named = ", ".join(f"{dataset} has {scheme}" for dataset, scheme in schemes.items())
        warnings.append(
            f"task {task!r}: its datasets are tagged in different schemes ({named});"
            " all are read and brought to one"
        )
    return warnings


def _gone_through(rows: Iterable[tuple[Fields, Row]]) -> tuple[dict[int, list[str]], list[str]]:
    """The tags of a split's rows by number, and the entities that are widened to whole words."""
    tags: dict[int, list[str]] = {}
    split_words: list[str] = []
    for number, (fields, row) in enumerate(rows):
        if "tags" in fields and (written := given_tags(fields)) is not None:
            tags[number] = written_tags(written)
        entities = read_entities(fields.get("entities"))
        split_words += [
            f"row {number}: {w}" for e in entities if (w := row.words.widened(e.start, e.end))
        ]
    return tags, split_words


def _illegal(tags: Mapping[int, Sequence[str]], scheme: SourceScheme) -> str:
    """How many of the rows, by number, break their scheme, and which is the first; or nothing."""
    wrong = [number for number, row in tags.items() if illegal_positions(row, scheme)]
    if not wrong:
        return ""
    place = illegal_positions(tags[wrong[0]], scheme)[0]
    return (
        f"{len(wrong)} of {len(tags)} tagged rows break {scheme} and are read leniently, the first"
        f" is row {wrong[0]}: word {place}, tag {tags[wrong[0]][place]!r}"
    )


def _in_bioes(tag: str) -> str:
    return {"L": "E", "U": "S"}.get(tag[0], tag[0]) + tag[1:]
