"""Tag schemes that write labelled spans of words as one tag per word, and legal ways through them.

====== =========================================================================================
bio    B- begins a span, I- goes on with it (also called IOB2)
iob1   I- for every word of a span; B- only where a span touches one of its own type before it
bioes  B- begins, I- goes on, E- ends a span of several words; S- is a span of one word
bilou  the same with L- for E- and U- for S-
====== =========================================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Scheme = Literal["bio", "bioes"]  # what the package writes and predicts
SourceScheme = Literal["bio", "iob1", "bioes", "bilou"]  # what it reads

_PREFIXES: dict[SourceScheme, str] = {
    "bio": "OBI",
    "iob1": "OBI",
    "bioes": "OBIES",
    "bilou": "OBILU",
}


_HUGE = 1e30  # beyond any score, and sums of it stay finite


class Span(NamedTuple):
    """Words ``start`` to ``end`` (exclusive), counted from 0, carry ``label``."""

    start: int
    end: int
    label: str


class _Tag(NamedTuple):
    prefix: str  # one letter of OBIESLU
    label: str  # "" for O


_OUTSIDE = _Tag("O", "")


def read_spans(tags: Sequence[str]) -> list[Span]:
    """Spans of a sentence tagged in any of the schemes, legal or not.

    The rules of conlleval (Tjong Kim Sang & Buchholz, 2000): ``B``, ``S``, ``U`` begin a span;
    ``E``, ``L``, ``S``, ``U`` end one; ``I``, ``E``, ``L`` go on with an open span of their own
    type and begin one where there is none.

    Returns:
        Spans in the order of the words; no two overlap.

    Raises:
        ValueError: If a tag is neither ``O`` nor a prefix, a hyphen and a type; names the tag.

    >>> read_spans(["B-person", "I-person", "O", "I-creative-work"])
    [Span(start=0, end=2, label='person'), Span(start=3, end=4, label='creative-work')]
    """
    spans: list[Span] = []
    start: int | None = None
    label = ""
    for word, (prefix, own_label) in enumerate(_parse_all(tags)):
        if start is not None and (prefix in "OBSU" or own_label != label):
            spans.append(Span(start, word, label))
            start = None
        if prefix != "O" and start is None:
            start, label = word, own_label
        if start is not None and prefix in "ELSU":
            spans.append(Span(start, word + 1, label))
            start = None
    if start is not None:
        spans.append(Span(start, len(tags), label))
    return spans


def write_tags(spans: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """One tag for each of ``length`` words; the inverse of `read_spans`.

    Raises:
        ValueError: If a span is empty, leaves the sentence or overlaps another one.

    >>> write_tags([Span(0, 2, "person"), Span(3, 4, "place")], 4, "bioes")
    ['B-person', 'E-person', 'O', 'S-place']
    """
    tags = ["O"] * length
    last_end = 0
    for start, end, label in sorted(spans):
        if not 0 <= start < end <= length:
            raise ValueError(
                f"span {label!r} of words {start} to {end} (exclusive) is empty or leaves the "
                f"sentence of {length} words"
            )
        if start < last_end:
            raise ValueError(
                f"span {label!r} of words {start} to {end} (exclusive) overlaps the one before it, "
                f"which ends at {last_end}; tags hold only spans that do not overlap"
            )
        prefixes = "B" + "I" * (end - start - 1)
        if scheme == "bioes":
            prefixes = "S" if end - start == 1 else prefixes[:-1] + "E"
        tags[start:end] = [f"{prefix}-{label}" for prefix in prefixes]
        last_end = end
    return tags


def detect_scheme(tag_lists: Iterable[Sequence[str]]) -> SourceScheme | Literal["none"]:
    """The scheme that a whole column of tags is written in.

    ``none`` if any tag is neither ``O`` nor a prefix, a hyphen and a type; ``bioes`` if there is an
    ``E-`` or ``S-``, else ``bilou`` if there is an ``L-`` or ``U-``; else ``iob1`` if some ``I-``
    begins a span and no ``B-`` stands where iob1 would write ``I-``; else ``bio``.

    Only a column without spans is truly ambiguous: it counts as ``bio``. One that is legal in no
    scheme counts as the one it resembles, so that `illegal_positions` tells its mistakes.
    """
    prefixes: set[str] = set()
    pairs: set[tuple[_Tag, _Tag]] = set()
    for tags in tag_lists:
        try:
            parsed = _parse_all(tags)
        except ValueError:
            return "none"
        prefixes.update(tag.prefix for tag in parsed)
        pairs.update(zip([_OUTSIDE, *parsed], parsed, strict=False))
    if prefixes & set("ES"):
        return "bioes"
    if prefixes & set("LU"):
        return "bilou"
    if any(not _may_follow(*pair, "iob1") for pair in pairs):
        return "bio"
    return "iob1" if any(not _may_follow(*pair, "bio") for pair in pairs) else "bio"


def illegal_positions(tags: Sequence[str], scheme: SourceScheme) -> list[int]:
    """Words at which a sentence breaks its scheme.

    A word is named if its tag has a prefix foreign to the scheme or cannot stand after the tag
    before it (so a span left open is seen at the next word); the last word also if the sentence
    cannot end with its tag.

    Raises:
        ValueError: If a tag is neither ``O`` nor a prefix, a hyphen and a type.

    >>> illegal_positions(["I-person", "O", "B-person", "I-place"], "bio")
    [0, 3]
    """
    parsed = _parse_all(tags)
    words = [
        word
        for word, pair in enumerate(zip([_OUTSIDE, *parsed], parsed, strict=False))
        if not _may_follow(*pair, scheme)
    ]
    last = len(tags) - 1
    if parsed and last not in words and not _may_follow(parsed[-1], _OUTSIDE, scheme):
        words.append(last)
    return words


def tag_names(types: Sequence[str], scheme: Scheme) -> list[str]:
    """All tags of the given span types, ``O`` first, then type by type.

    >>> tag_names(["person", "place"], "bio")
    ['O', 'B-person', 'I-person', 'B-place', 'I-place']
    """
    return ["O", *(f"{prefix}-{name}" for name in types for prefix in _PREFIXES[scheme][1:])]


@dataclass(frozen=True, eq=False)
class LegalPaths:
    """Which sequences of tags a scheme allows; a tag is its position in the list of names.

    Shape:
        start (num_tags,): may stand on the first word; transition (num_tags, num_tags): the column
        may stand right after the row; end (num_tags,): may stand on the last word. All boolean.
    """

    start: npt.NDArray[np.bool_]
    transition: npt.NDArray[np.bool_]
    end: npt.NDArray[np.bool_]

    @classmethod
    def of_tags(cls, names: Sequence[str], scheme: SourceScheme) -> "LegalPaths":
        """The legal paths through tags of these names.

        Raises:
            ValueError: If a name is no tag of the scheme, or ``O`` is missing (there may be no
                legal path without it).
        """
        tags = _parse_all(names)
        foreign = [f"{prefix}-{name}" for prefix, name in tags if prefix not in _PREFIXES[scheme]]
        if foreign or _OUTSIDE not in tags:
            raise ValueError(
                f"expected 'O' and tags of the scheme {scheme}, but found "
                + (f"{foreign}" if foreign else f"no 'O' among {list(names)}")
            )
        return cls(
            start=np.array([_may_follow(_OUTSIDE, tag, scheme) for tag in tags]),
            transition=np.array([[_may_follow(old, new, scheme) for new in tags] for old in tags]),
            end=np.array([_may_follow(tag, _OUTSIDE, scheme) for tag in tags]),
        )

    def allow(self, path: npt.NDArray[np.intp]) -> bool:
        """Whether the tags (num_words,) are a legal sequence; no words are one."""
        if not len(path):
            return True
        inner = self.transition[path[:-1], path[1:]]  # (num_words - 1,)
        return bool(self.start[path[0]] and self.end[path[-1]] and inner.all())

    @cached_property
    def _costs(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
        """Rows of 0 (may come before) or -inf, one for each set of predecessors; each tag's row.

        All tags that begin a span share one set, which halves the work or better.
        """
        before, row_of_tag = np.unique(self.transition.T, axis=0, return_inverse=True)
        return np.where(before, 0.0, -np.inf), row_of_tag  # (sets, num_tags), (num_tags,)


def best_legal_path(scores: npt.NDArray[np.floating], legal: LegalPaths) -> npt.NDArray[np.intp]:
    """The legal sequence of tags with the highest sum of scores (Viterbi, 1967).

    Where the best tag of every word makes a legal sequence, that is the answer.

    Args:
        scores: Logits or log-probabilities (num_words, num_tags). With NaN (taken as the worst) or
            infinities the path is legal all the same.
        legal: The scheme's constraints over the same tags.

    Returns:
        Position of each word's tag (num_words,).
    """
    path: npt.NDArray[np.intp] = scores.argmax(axis=1)
    if legal.allow(path):
        return path
    finite = np.nan_to_num(scores.astype(np.float64), nan=-_HUGE, posinf=_HUGE, neginf=-_HUGE)
    costs, row_of_tag = legal._costs
    rows = np.arange(len(costs))
    arrivals = np.empty((len(scores), len(row_of_tag)), dtype=np.intp)  # best tag before each tag
    total = np.where(legal.start, finite[0], -np.inf)  # (num_tags,)
    for word in range(1, len(scores)):
        before = total + costs  # (sets, num_tags)
        best = before.argmax(axis=1)
        arrivals[word] = best[row_of_tag]
        total = before[rows, best][row_of_tag] + finite[word]
    path[-1] = np.where(legal.end, total, -np.inf).argmax()
    for word in range(len(scores) - 1, 0, -1):
        path[word - 1] = arrivals[word, path[word]]
    return path


def _parse_all(tags: Iterable[str]) -> list[_Tag]:
    return [_parse(tag) for tag in tags]


@lru_cache(maxsize=4096)
def _parse(tag: str) -> _Tag:
    prefix, _, label = tag.partition("-")
    if tag == "O":
        return _OUTSIDE
    if len(prefix) == 1 and prefix in "BIESLU" and label:
        return _Tag(prefix, label)
    raise ValueError(
        f"{tag!r} is no tag of a span: expected 'O', or one of B I E S L U, a hyphen and a type, "
        "as in 'B-person'"
    )


def _may_follow(old: _Tag, new: _Tag, scheme: SourceScheme) -> bool:
    """Whether a tag may stand right after another; ``O`` stands for both ends of a sentence."""
    if new.prefix not in _PREFIXES[scheme]:
        return False
    goes_on = old.prefix in "BI" and old.label == new.label
    if scheme == "iob1":
        return goes_on or new.prefix != "B"
    if scheme == "bio":
        return goes_on or new.prefix != "I"
    if old.prefix in "BI":  # open until an E or L
        return goes_on and new.prefix in "IEL"
    return new.prefix in "OBSU"
