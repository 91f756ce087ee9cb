"""Thresholds of labels that are questions of their own: none scores better on validation."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.multi_label_classification import LabelSet
from mtl_nlp.tasks.questions import QuestionTask
from mtl_nlp.words import Row, join_words

LABELS = ("noun", "plural")
ROW = Row(join_words(["cats", "run", "home"]))
ENCODING = Encoding(ROW, np.array([-1, 0, 0, 1, -1]))  # the last word is cut off
NAMES = st.lists(st.sampled_from([*LABELS, "new"]), unique=True, max_size=3)
TEXTS = st.lists(NAMES.map(lambda names: LabelSet(tuple(names))), min_size=1, max_size=4)
WORDS = st.lists(st.lists(st.none() | NAMES, min_size=3, max_size=3), min_size=1, max_size=2)


def _task(kind: str, **fields: Any) -> QuestionTask:
    task = build_task("t", kind, {"labels": LABELS, **fields}, where="tasks.t")
    assert isinstance(task, QuestionTask)
    return task


def _items(value: Any) -> list[Any]:
    return [value.names] if isinstance(value, LabelSet) else value


def _score(task: QuestionTask, logits: np.ndarray, references: list[Any]) -> float:
    """Micro F1 over all labels, also those that the task lacks."""
    correct = total = 0
    decoded = task.decode(logits, [ENCODING] * len(references))
    for one, reference in zip(decoded, references, strict=True):
        for given_names, names in zip(_items(one.value), _items(reference), strict=True):
            if names is not None:
                correct += len({*names} & {*given_names})
                total += len(names) + len(given_names)
    return 2 * correct / total if total else 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.one_of(TEXTS, WORDS))
def test_no_thresholds_score_better_than_the_tuned_ones(seed: int, references: list[Any]) -> None:
    texts = isinstance(references[0], LabelSet)
    kind = "multi_label_classification" if texts else "multi_label_token_classification"
    shape = (len(references), 2) if texts else (len(references), 5, 2)
    logits = np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)
    task = _task(kind)
    tuned = task.tune(logits, [ENCODING] * len(references), references)
    cuts = [0.0, *np.unique(1 / (1 + np.exp(-logits.astype(np.float64)))) + 1e-6]
    every = (replace(task, thresholds=one) for one in product(cuts, cuts))
    best = max(_score(one, logits, references) for one in every)
    assert _score(tuned, logits, references) == pytest.approx(best)
    assert tuned.tune(logits, [ENCODING] * len(references), references) == tuned
    saved = json.loads(json.dumps(saved_form(tuned)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="x") == tuned


def test_words_without_labelling_and_without_a_sub_word_tune_nothing() -> None:
    logits = np.full((1, 5, 2), -1.0, dtype=np.float32)
    task = _task("multi_label_token_classification")
    for reference in ([None, None, None], [None, None, ["noun"]]):
        assert task.tune(logits, [ENCODING], [reference]).thresholds == (0.5, 0.5)


def test_each_label_of_a_word_has_its_own_threshold() -> None:
    task = _task("multi_label_token_classification", thresholds=(0.2, 0.8))
    logits = np.zeros((1, 5, 2), dtype=np.float32)
    logits[0, 1] = [-2.0, 2.0]
    (decoded,) = task.decode(logits, [ENCODING])
    assert decoded.value == [["noun"], ["plural"], []]
    assert decoded.scores[0] == pytest.approx([0.5])
