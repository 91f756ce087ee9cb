"""Scores of answers, against the formulas of SQuAD's two official scripts written out anew."""

import collections
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.answer_metrics import answer_f1, answer_scores, plain

PIECES = ["the", "The ", "a", "an", "city", "City", ",", "-", " ", "  ", "old", "\n", "é", "“", "1"]
ANSWER = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
GIVEN = ANSWER.filter(str.strip)


def normalized(text: str) -> str:
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official_f1(gold: str, found: str, *, version: int) -> float:
    right, guess = normalized(gold).split(), normalized(found).split()
    if version == 2 and (not right or not guess):
        return float(right == guess)
    same = sum((collections.Counter(guess) & collections.Counter(right)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(guess), same / len(right)
    return 2 * precision * recall / (precision + recall)


def official(golds: list[list[str]], found: list[str], *, version: int) -> dict[str, float]:
    """Both scores in percent."""
    f1 = exact = 0.0
    for right, guess in zip(golds, found, strict=True):
        if version == 2:
            right = [gold for gold in right if normalized(gold)] or [""]
        f1 += max(official_f1(gold, guess, version=version) for gold in right)
        exact += max(normalized(gold) == normalized(guess) for gold in right)
    return {"f1": 100 * f1 / len(golds), "exact_match": 100 * exact / len(golds)}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.lists(GIVEN, min_size=1, max_size=3), ANSWER), min_size=1, max_size=5))
def test_where_all_have_answers_scores_are_those_of_squad_1(
    rows: list[tuple[list[str], str]],
) -> None:
    golds, found = [right for right, _ in rows], [guess for _, guess in rows]
    expected = official(golds, found, version=1)
    for name, score in answer_scores(golds, found).items():
        assert 100 * score == pytest.approx(expected[name])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.lists(GIVEN, max_size=3), ANSWER), max_size=5), ANSWER)
def test_with_unanswerable_questions_scores_are_those_of_squad_2(
    rows: list[tuple[list[str], str]], last: str
) -> None:
    golds, found = [*(right for right, _ in rows), []], [*(guess for _, guess in rows), last]
    expected = official(golds, found, version=2)
    for name, score in answer_scores(golds, found).items():
        assert 100 * score == pytest.approx(expected[name])
    for right, guess in zip(golds, found, strict=True):
        one = official([right], [guess], version=2)["f1"]
        assert 100 * answer_f1(right, guess) == pytest.approx(one)


def test_the_two_scripts_differ_where_an_answer_is_an_article() -> None:
    assert answer_scores([["The"]], ["the"]) == {"f1": 0.0, "exact_match": 1.0}
    assert answer_scores([["The"], []], ["the", ""]) == {"f1": 1.0, "exact_match": 1.0}


@pytest.mark.parametrize(
    ("right", "found", "f1", "exact"),
    [
        (["Denver Broncos", "The Denver Broncos!"], "denver broncos", 1.0, 1.0),
        (["Denver Broncos"], "the Broncos", 2 / 3, 0.0),
        (["Denver Broncos", "Broncos of Denver"], "Broncos of", 0.8, 0.0),
        (["in 1990"], "", 0.0, 0.0),
        (["U.S."], "US", 1.0, 1.0),
        (["1,000"], "1000", 1.0, 1.0),
    ],
)
def test_examples(right: list[str], found: str, f1: float, exact: float) -> None:
    scores = answer_scores([right], [found])
    assert scores == {"f1": pytest.approx(f1), "exact_match": exact}


def test_normalisation_is_done_once_for_all() -> None:
    for text in ("A an THE theatre", "don't", "  x\ty ", "“a”"):
        assert plain(text) == normalized(text) == plain(plain(text))


def test_nothing_to_score_and_a_missing_prediction() -> None:
    assert answer_scores([], []) == {"f1": 0.0, "exact_match": 0.0}
    with pytest.raises(ValueError, match="2 references but 1 predictions; give exactly one"):
        answer_scores([["a"], ["b"]], ["a"])
