"""Treebanks in CoNLL-U (universaldependencies.org/format.html) as a table of sentences."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Features, Value
from datasets import List as ListFeature

from mtl_nlp.data.text_files import matching_files, numbered_lines

LOADER = "conllu"
"""What a recipe's ``path`` is for such files."""

_TEXTS = ListFeature(Value("string"))
_FEATURES = Features(
    {
        "tokens": _TEXTS,
        "upos": _TEXTS,
        "xpos": _TEXTS,
        "lemmas": _TEXTS,
        "heads": ListFeature(Value("int64")),
        "deprels": _TEXTS,
        "feats": ListFeature(_TEXTS),
    }
)
_CELLS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_NOTHING = "_"


@dataclass(frozen=True)
class _Word:
    """A syntactic word; None where its line has nothing."""

    form: str
    lemma: str | None
    upos: str | None
    xpos: str | None
    feats: list[str]
    head: int | None
    deprel: str | None


def read_conllu(patterns: Sequence[str]) -> Dataset:
    """The sentences of files, one a row, of their syntactic words.

    Args:
        patterns: Files or glob patterns, also of files that gzip made (``.gz``).

    Returns:
        Columns ``tokens, upos, xpos, lemmas, heads, deprels``, a value per word, and ``feats``, a
        list per word. Multiword tokens and empty nodes are left out. A value is None where the file
        has ``_``, and so is the whole list where it has nothing else.

    Raises:
        ValueError: If a file cannot be read or a line is not CoNLL-U; it names file and line.
    """
    columns: dict[str, list[object]] = {name: [] for name in _FEATURES}
    for file in matching_files(patterns):
        for words in _sentences(file):
            columns["tokens"].append([word.form for word in words])
            columns["upos"].append(_or_none([word.upos for word in words]))
            columns["xpos"].append(_or_none([word.xpos for word in words]))
            columns["lemmas"].append(_or_none([word.lemma for word in words]))
            columns["heads"].append(_or_none([word.head for word in words]))
            columns["deprels"].append(_or_none([word.deprel for word in words]))
            columns["feats"].append([word.feats for word in words])
    return Dataset.from_dict(columns, features=_FEATURES)


def _sentences(file: Path) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    for number, line in numbered_lines(file):
        if not line.strip():
            if words:
                yield words
            words = []
        elif not line.startswith("#"):
            try:
                word = _word(line, len(words) + 1)
            except ValueError as error:
                raise ValueError(f"{file}, line {number}: {error}") from None
            words += [] if word is None else [word]
    if words:
        yield words


def _word(line: str, number: int) -> _Word | None:
    """The word of a line; None for a multiword token or an empty node."""
    cells = line.split("\t")
    if len(cells) != len(_CELLS):
        raise ValueError(f"expected {len(_CELLS)} cells with tabs between them, found {len(cells)}")
    if empty := [name for name, cell in zip(_CELLS, cells, strict=True) if not cell]:
        raise ValueError(f"the cell {empty[0]} is empty; write {_NOTHING} where there is nothing")
    if re.fullmatch(r"[0-9]+[-.][0-9]+", cells[0]):
        return None
    if cells[0] != str(number):
        raise ValueError(f"expected the ID {number}, found {cells[0]!r}; words count from 1")
    form, lemma, upos, xpos, feats, head, deprel = cells[1:8]
    if head != _NOTHING and re.fullmatch("[0-9]+", head) is None:
        raise ValueError(f"expected a word's number as HEAD, 0 or {_NOTHING}, found {head!r}")
    return _Word(
        form=form,
        lemma=lemma if form == _NOTHING else _given(lemma),  # an underscore is its own lemma
        upos=_given(upos),
        xpos=_given(xpos),
        feats=[] if feats == _NOTHING else feats.split("|"),
        head=None if head == _NOTHING else int(head),
        deprel=_given(deprel),
    )


def _given(cell: str) -> str | None:
    return None if cell == _NOTHING else cell


def _or_none(values: Sequence[object]) -> Sequence[object] | None:
    """The values; None where none is given."""
    return values if any(value is not None for value in values) else None
