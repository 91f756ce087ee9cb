"""Scores of answers found in a text, as the official scripts of SQuAD compute them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def answer_scores(
    references: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """Mean F1 over the words of an answer, and the share of exact answers.

    Answers are compared in lower case, without punctuation, articles and surplus white space; of
    several right ones the nearest counts, for each score by itself. These are the scripts of SQuAD
    1.1 (Rajpurkar et al., 2016, arXiv:1606.05250) and, as soon as a question has no answer, of 2.0
    (Rajpurkar et al., 2018, arXiv:1806.03822). The two differ only in right answers of articles and
    punctuation alone: for 1.1 they share no word with any answer, 2.0 leaves them out.

    Args:
        references: The right answers to each question; none where it has no answer.
        predictions: The predicted one, in the same order; empty where none was found.

    Returns:
        ``f1`` and ``exact_match`` in [0, 1], both 0.0 without questions.

    Raises:
        ValueError: If there are not as many predictions as references.

    >>> answer_scores([["the old city", "a city"], []], ["old city.", ""])
    {'f1': 1.0, 'exact_match': 1.0}
    """
    if len(references) != len(predictions):
        raise ValueError(
            f"{len(references)} references but {len(predictions)} predictions; "
            "give exactly one prediction per reference"
        )
    if not references:
        return {"f1": 0.0, "exact_match": 0.0}
    unanswerable = not all(references)
    scored = [
        _best(right, found, unanswerable=unanswerable)
        for right, found in zip(references, predictions, strict=True)
    ]
    f1, exact = (sum(scores) / len(scored) for scores in zip(*scored, strict=True))
    return {"f1": f1, "exact_match": exact}


def answer_f1(right: Sequence[str], found: str) -> float:
    """F1 of one answer where some questions have none, as SQuAD 2.0 counts it."""
    return _best(right, found, unanswerable=True)[0]


def plain(answer: str) -> str:
    """An answer as it is compared.

    >>> plain("The  Hague, a city.")
    'hague city'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def _best(right: Sequence[str], found: str, *, unanswerable: bool) -> tuple[float, float]:
    """F1 and exact match with the nearest of the right answers, for each score by itself."""
    answers = [plain(answer) for answer in right]
    if unanswerable:
        answers = [answer for answer in answers if answer] or [""]
    given = plain(found)
    exact = float(given in answers)
    if unanswerable and not given:
        return exact, exact
    return max(_f1(answer.split(), given.split()) for answer in answers), exact


def _f1(right: Sequence[str], found: Sequence[str]) -> float:
    shared = (Counter(right) & Counter(found)).total()
    return 2 * shared / (len(right) + len(found)) if shared else 0.0
