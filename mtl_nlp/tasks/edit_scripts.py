"""How a word becomes its lemma, as a label that also fits words never seen before.

The idea is that of Straka (2018, "UDPipe 2.0 Prototype at CoNLL 2018 UD Shared Task"): word and
lemma share a stem, their longest common substring; what stands before and after it is replaced, and
the case is changed first. Where they share too little, the script is the lemma itself.

A script is written ``case;start>new start;end>new end``, ``lower;>;ies>y`` for *Ponies* and
*pony*, or ``=lemma``. In its texts a backslash stands before ``;``, ``>`` and a backslash.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_CASES: dict[str, Callable[[str], str]] = {
    # Of cases that keep equally much of the lemma the first is taken, so that a sentence's first
    # word needs no scripts of its own.
    "lower": str.lower,
    "keep": str,
    "title": lambda word: word[:1].upper() + word[1:].lower(),
    "upper": str.upper,
}
_LITERAL = "="
_TEXT = r"((?:[^\\;>]|\\[\\;>])*)"
_FORM = re.compile(rf"({'|'.join(_CASES)});{_TEXT}>{_TEXT};{_TEXT}>{_TEXT}", re.DOTALL)


@dataclass(frozen=True)
class _Replacement:
    """The case to bring a word to, then what of its start and end is replaced by what."""

    case: str
    start: str
    new_start: str
    end: str
    new_end: str

    def __str__(self) -> str:
        texts = (self.start, self.new_start, self.end, self.new_end)
        start, new_start, end, new_end = (re.sub(r"[\\;>]", r"\\\g<0>", text) for text in texts)
        return f"{self.case};{start}>{new_start};{end}>{new_end}"

    def apply(self, word: str) -> str | None:
        cased = _CASES[self.case](word)
        room = len(cased) - len(self.start) - len(self.end)
        if room < 0 or not cased.startswith(self.start) or not cased.endswith(self.end):
            return None
        stem = cased[len(self.start) : len(self.start) + room]
        return self.new_start + stem + self.new_end or None


@lru_cache(maxsize=1 << 16)
def edit_script(word: str, lemma: str) -> str:
    """The script that makes this lemma of this word.

    >>> edit_script("Ponies", "pony"), edit_script("Berlin", "Berlin"), edit_script("was", "be")
    ('lower;>;ies>y', 'keep;>;>', '=be')
    """
    found = [(*_common(change(word), lemma), case) for case, change in _CASES.items()]
    size, in_word, in_lemma, case = max(found, key=lambda one: one[0])
    if 2 * size <= len(lemma):
        return _LITERAL + lemma
    cased = _CASES[case](word)
    replacement = _Replacement(
        case,
        start=cased[:in_word],
        new_start=lemma[:in_lemma],
        end=cased[in_word + size :],
        new_end=lemma[in_lemma + size :],
    )
    return str(replacement)


def apply_script(script: str, word: str) -> str | None:
    """The lemma that a script makes of a word; None where it does not fit the word.

    Raises:
        ValueError: If it is no script.

    >>> apply_script("lower;>;ies>y", "Bodies"), apply_script("lower;>;ies>y", "days")
    ('body', None)
    """
    if script.startswith(_LITERAL):
        return script.removeprefix(_LITERAL) or None
    return _parsed(script).apply(word)


@lru_cache(maxsize=1 << 14)
def _parsed(script: str) -> _Replacement:
    match = _FORM.fullmatch(script)
    if match is None:
        raise ValueError(
            f"expected an edit script such as 'lower;>;ies>y' or '=be', found {script!r}"
        )
    case, *texts = match.groups()
    return _Replacement(case, *(re.sub(r"\\(.)", r"\1", text) for text in texts))


def _common(word: str, lemma: str) -> tuple[int, int, int]:
    """Length of the longest common substring and where it begins in both, the earliest such."""
    match = SequenceMatcher(None, word, lemma, autojunk=False).find_longest_match()
    return match.size, match.a, match.b
