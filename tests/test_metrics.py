import json
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import sklearn.metrics
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import sequence_labeling
from seqeval.metrics import v1 as strict
from seqeval.scheme import IOB2

from mtl_nlp.metrics import classification_scores, nested_span_scores, span_scores
from mtl_nlp.tasks.schemes import read_spans

NAMES = ["negative", "neutral", "positive", "äöü"]
LABELS = ["O", "B-person", "I-person", "B-creative-work", "I-creative-work"]
NO_SPANS = {"f1": 0.0, "precision": 0.0, "recall": 0.0, "per_type": {}}


def pairs_of(values):
    """As many predictions as references."""
    return st.lists(st.tuples(values, values), min_size=1, max_size=30).map(
        lambda pairs: ([truth for truth, _ in pairs], [guess for _, guess in pairs])
    )


def legal(tags):
    """The tags with every I- that begins a span made a B-."""
    pairs = zip(["O", *tags], tags, strict=False)
    return [
        "B" + tag[1:] if tag[0] == "I" and (old == "O" or old[1:] != tag[1:]) else tag
        for old, tag in pairs
    ]


@st.composite
def tagged(draw):
    """References and predictions of a few sentences, legal or not."""
    rows = draw(st.lists(pairs_of(st.sampled_from(LABELS)), max_size=4))
    return [truth for truth, _ in rows], [guess for _, guess in rows]


@settings(max_examples=40)  # scikit-learn takes its time
@given(pairs_of(st.sampled_from(NAMES)))
def test_label_scores_are_those_of_scikit_learn(pair):
    references, predictions = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sklearn.metrics.accuracy_score(references, predictions),
            "macro_f1": sklearn.metrics.f1_score(
                references, predictions, average="macro", zero_division=0
            ),
            "weighted_f1": sklearn.metrics.f1_score(
                references, predictions, average="weighted", zero_division=0
            ),
            "mcc": sklearn.metrics.matthews_corrcoef(references, predictions),
        }
    assert classification_scores(references, predictions) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40)  # scikit-learn takes its time
@given(pairs_of(st.sampled_from(NAMES)))
def test_ids_score_as_the_names_do(pair):
    references, predictions = pair
    ids = classification_scores(
        [NAMES.index(name) for name in references], [NAMES.index(name) for name in predictions]
    )
    assert ids == classification_scores(references, predictions)


@given(tagged())
def test_span_scores_are_those_of_seqeval(rows):
    references, predictions = rows
    scores = span_scores(references, predictions)
    precision, recall, f1, support = sequence_labeling.precision_recall_fscore_support(
        references or [[]], predictions or [[]], average=None, zero_division=0
    )
    ours = list(scores["per_type"].values())
    assert [row["precision"] for row in ours] == pytest.approx(precision.tolist())
    assert [row["recall"] for row in ours] == pytest.approx(recall.tolist())
    assert [row["f1"] for row in ours] == pytest.approx(f1.tolist())
    assert [row["support"] for row in ours] == support.tolist()
    micro = sequence_labeling.precision_recall_fscore_support(
        references or [[]], predictions or [[]], average="micro", zero_division=0
    )
    total = (scores["precision"], scores["recall"], scores["f1"])
    assert total == pytest.approx(tuple(float(number) for number in micro[:3]))


@given(tagged())
def test_legal_tags_score_as_in_the_strict_mode_of_seqeval(rows):
    references, predictions = ([legal(tags) for tags in side] for side in rows)
    scores = span_scores(references, predictions)
    micro = strict.precision_recall_fscore_support(
        references or [["O"]],
        predictions or [["O"]],
        average="micro",
        scheme=IOB2,
        zero_division=0,
    )
    total = (scores["precision"], scores["recall"], scores["f1"])
    assert total == pytest.approx(tuple(float(number) for number in micro[:3]))


@given(tagged())
def test_spans_of_tags_score_as_the_tags_do(rows):
    references, predictions = ([legal(tags) for tags in side] for side in rows)
    spans = [[read_spans(tags) for tags in side] for side in (references, predictions)]
    assert nested_span_scores(*spans) == span_scores(references, predictions)


SPANS = st.tuples(st.integers(0, 2), st.integers(3, 4), st.sampled_from(["a", "b"]))


@settings(max_examples=60, deadline=None)
@given(pairs_of(st.lists(SPANS, max_size=6)))
def test_nested_spans_score_as_counting_them_one_by_one(pair):
    references, predictions = ([list(dict.fromkeys(row)) for row in side] for side in pair)
    scores = nested_span_scores(*pair)
    rows = list(zip(references, predictions, strict=True))
    correct = sum(span in truth for truth, guess in rows for span in guess)
    guessed, true = sum(map(len, predictions)), sum(map(len, references))
    assert scores["precision"] == (correct / guessed if guessed else 0.0)
    assert scores["recall"] == (correct / true if true else 0.0)
    assert scores["f1"] == (2 * correct / (guessed + true) if guessed + true else 0.0)
    support = {label: sum(s[2] == label for row in references for s in row) for label in "ab"}
    assert {name: one["support"] for name, one in scores["per_type"].items()} == {
        label: support[label]
        for label in "ab"
        if any(span[2] == label for side in pair for row in side for span in row)
    }


@settings(max_examples=40)
@given(tagged())
def test_scores_are_plain_numbers_for_json_and_yaml(rows):
    flat = [[tag for tags in side for tag in tags] for side in rows]
    for scores in (span_scores(*rows), classification_scores(*flat)):
        assert json.loads(json.dumps(scores)) == scores
        assert yaml.safe_load(yaml.safe_dump(scores)) == scores


def test_a_worked_example():
    references = [["B-person", "I-person", "O", "B-place"], ["B-place", "O"]]
    predictions = [["B-person", "I-person", "O", "O"], ["B-person", "O"]]
    assert span_scores(references, predictions) == {
        "f1": pytest.approx(0.4),
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
        "per_type": {
            "person": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
            "place": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2},
        },
    }


def test_a_span_does_not_reach_into_the_next_sentence():
    together = span_scores([["B-a", "I-a"]], [["B-a", "I-a"]])
    apart = span_scores([["B-a"], ["I-a"]], [["B-a"], ["I-a"]])
    assert together["per_type"]["a"]["support"] == 1
    assert apart["per_type"]["a"]["support"] == 2


def test_tags_may_come_as_tuples_and_sentences_may_be_empty():
    assert span_scores([("B-a",), ()], [["B-a"], []])["f1"] == 1.0


@pytest.mark.parametrize(
    ("score", "references", "predictions", "expected"),
    [
        (nested_span_scores, [], [], NO_SPANS),
        (nested_span_scores, [[]], [[]], NO_SPANS),
        (span_scores, [], [], NO_SPANS),
        (span_scores, [[]], [[]], NO_SPANS),
        (span_scores, [["O", "O"]], [["O", "O"]], NO_SPANS),
        (
            classification_scores,
            [],
            [],
            {"accuracy": 0.0, "macro_f1": 0.0, "weighted_f1": 0.0, "mcc": 0.0},
        ),
        (
            classification_scores,
            ["a", "a"],
            ["a", "a"],
            {"accuracy": 1.0, "macro_f1": 1.0, "weighted_f1": 1.0, "mcc": 0.0},
        ),
        (
            classification_scores,
            ["a", "a"],
            ["b", "a"],
            {
                "accuracy": 0.5,
                "macro_f1": pytest.approx(1 / 3),
                "weighted_f1": pytest.approx(2 / 3),
                "mcc": 0.0,
            },
        ),
    ],
)
def test_what_has_no_answer_scores_zero_in_silence(score, references, predictions, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(references, predictions)
    assert scores == expected


@pytest.mark.parametrize("score", [span_scores, nested_span_scores, classification_scores])
def test_one_prediction_for_each_reference(score):
    with pytest.raises(ValueError, match="2 references but 1 predictions"):
        score([["O"], ["O"]], [["O"]])


def test_one_tag_for_each_word():
    with pytest.raises(ValueError, match="sentence 1 has 2 reference tags but 1 predicted tags"):
        span_scores([["O"], ["O", "O"]], [["O"], ["O"]])


def test_five_thousand_sentences_score_in_a_moment():
    rng = np.random.default_rng(0)
    references, predictions = (rng.choice(LABELS, size=(5000, 25)).tolist() for _ in range(2))
    began = time.process_time()
    span_scores(references, predictions)
    assert time.process_time() - began < 1.0


def test_importing_the_scores_imports_no_library():
    libraries = {"sklearn", "seqeval", "evaluate", "torch", "transformers", "datasets", "numpy"}
    program = f"import sys, mtl_nlp.metrics; print({libraries} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
