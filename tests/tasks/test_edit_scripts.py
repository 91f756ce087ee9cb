"""Edit scripts: what they make of words is what they were made of."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.edit_scripts import apply_script, edit_script

TEXT = st.text(max_size=12)
LEMMA = st.text(min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@example("İSTANBUL", "i̇stanbul")
@example("Straße", "STRASSE")
@example("ǆungla", "ǅungla")
@example("a;b>c\\d", "x;b>c\\>")
@example("\nab", "\nb")
@example("", "x")
@given(TEXT, LEMMA)
def test_a_script_makes_its_lemma_of_its_word(word: str, lemma: str) -> None:
    assert apply_script(edit_script(word, lemma), word) == lemma


@settings(deadline=None, max_examples=60)
@given(TEXT, LEMMA, TEXT, TEXT)
def test_so_it_does_where_word_and_lemma_share_a_stem(
    start: str, stem: str, end: str, new: str
) -> None:
    for word, lemma in ((start + stem + end, stem + new), (stem.upper() + end, new + stem)):
        assert apply_script(edit_script(word, lemma), word) == lemma


@settings(deadline=None, max_examples=60)
@given(TEXT, LEMMA, TEXT)
def test_on_any_other_word_it_makes_a_lemma_or_does_not_fit(
    word: str, lemma: str, other: str
) -> None:
    made = apply_script(edit_script(word, lemma), other)
    assert made is None or len(made) > 0


@pytest.mark.parametrize(
    ("word", "lemma", "script"),
    [
        ("walked", "walk", "lower;>;ed>"),
        ("Walked", "walk", "lower;>;ed>"),
        ("walk", "walk", "lower;>;>"),
        ("NATO", "NATO", "keep;>;>"),
        ("iPhones", "iPhone", "keep;>;s>"),
        ("PARIS", "Paris", "title;>;>"),
        ("us", "US", "upper;>;>"),
        ("gefragt", "fragen", "lower;ge>;t>en"),
        ("went", "go", "=go"),
        ("men", "man", "=man"),
        ("«", "«", "lower;>;>"),
        (">;", ">;", "lower;>;>"),
        ("x>s", "xyz>", "=xyz>"),
        ("abc>", "abc;", r"lower;>;\>>\;"),
    ],
)
def test_scripts_are_written_so(word: str, lemma: str, script: str) -> None:
    assert edit_script(word, lemma) == script


@pytest.mark.parametrize(
    ("script", "word", "lemma"),
    [
        ("lower;>;ies>y", "Bodies", "body"),
        ("lower;>;ies>y", "days", None),
        ("lower;>;ies>y", "ies", "y"),
        ("lower;>;ies>", "ies", None),
        ("lower;ab>;ba>", "aba", None),
        ("keep;un>;>", "undo", "do"),
        ("keep;un>;>", "Undo", None),
        ("=be", "whatever", "be"),
        ("=", "whatever", None),
    ],
)
def test_unseen_words_get_a_lemma_where_the_script_fits(
    script: str, word: str, lemma: str | None
) -> None:
    assert apply_script(script, word) == lemma


@pytest.mark.parametrize(
    "script", ["", "walk", "lower;a;b", "small;>;>", "lower;>;>>", "lower;>;\\"]
)
def test_what_is_no_script_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r"expected an edit script such as .*, found"):
        apply_script(script, "word")


def test_decomposed_letters_are_not_composed() -> None:
    word = unicodedata.normalize("NFD", "Cafés")
    assert apply_script(edit_script(word, word[:-1]), word) == word[:-1]
