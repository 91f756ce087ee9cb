"""Labelled spans that may nest: read, encoded, lost, decoded, shown, scored, and learned."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.errors import RecipeError
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Decoded, Encoding
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.tasks.span_classification import SpanClassification
from mtl_nlp.words import Row, split_words
from tests.spans import encodings, letters, mark

LABELS = ("org", "place")
LAW = settings(deadline=None, max_examples=50)


def _task(**fields: Any) -> SpanClassification:
    default = {"name": "t", "labels": LABELS, "inputs": ("tokens",), "max_width": 3}
    return SpanClassification(**{**default, **fields})


@st.composite
def cases(draw: st.DrawFn) -> tuple[Encoding, list[Span]]:
    """An encoding and any spans of its words, as they are read."""
    encoding = draw(encodings(7, 3))
    place = st.tuples(*[st.integers(0, len(encoding.row.words) - 1)] * 2)
    spans = [
        mark(min(ends), max(ends) + 1, label)
        for ends, label in draw(st.lists(st.tuples(place, st.sampled_from([*LABELS, "new"]))))
    ]
    read = _task().read({"spans": spans}, encoding.row)
    assert read is not None
    return encoding, read


def _possible(encoding: Encoding, max_width: int) -> set[tuple[int, int]]:
    """Every span there can be, by enumeration."""
    seen = {int(word) for word in encoding.token_words}
    seen &= set(range(len(encoding.row.words))) & set(range(len(encoding.token_words)))
    return {(a, b + 1) for a in seen for b in seen if a <= b < a + max_width}


def _collated(task: SpanClassification, *rows: tuple[Encoding, list[Span]]) -> np.ndarray:
    labels = Ragged.from_lists([task.encode(spans, encoding) for encoding, spans in rows])
    return task.collate(labels, max(len(encoding.token_words) for encoding, _ in rows) + 2)


# Learning and reading


def test_labels_and_width_are_those_of_train() -> None:
    rows = [
        {"spans": [mark(0, 4, "b"), mark(1, 2, "a")]},
        {"spans": None},
        {"spans": []},
    ]
    task = _task(labels=(), max_width=None)
    assert task.learn(rows, None) == _task(labels=("a", "b"), max_width=4)
    assert task.learn(rows, ["b", "a"]) == _task(labels=("b", "a"), max_width=4)
    given = _task(labels=("b",), max_width=2)
    assert given.learn(rows, None) == given


@pytest.mark.parametrize(("rest", "width"), [(98, 40), (99, 2), (400, 2)])
def test_a_learned_width_has_room_for_99_of_100_spans(rest: int, width: int) -> None:
    rows = [{"spans": [mark(0, 40)]}, {"spans": [mark(i, i + 2) for i in range(rest)]}]
    assert _task(labels=(), max_width=None).learn(rows, None).max_width == width


def test_the_width_of_spans_of_a_text_is_in_words() -> None:
    task = _task(labels=(), max_width=None, inputs=("text",))
    words = split_words("She teaches at New York University.")
    rows = [{"spans": [mark(15, 34), mark(16, 23)], "words": words}]
    assert task.learn(rows, None).max_width == 3
    with pytest.raises(ValueError, match="'org' of characters 30 to 90 lies outside the text"):
        task.learn([{"spans": [mark(30, 90)], "words": words}], None)


def test_without_spans_the_width_is_that_of_no_data() -> None:
    assert _task(max_width=None).learn([{"spans": []}], None).max_width == 12


def test_no_spans_teach_nothing() -> None:
    with pytest.raises(ValueError, match="expected some spans in train, found none"):
        _task(labels=()).learn([{"spans": None}, {"spans": []}], None)


@pytest.mark.parametrize(
    "spans",
    [
        [
            mark(1, 2),
            mark(0, 1, "place"),
            mark(0, 3),
            mark(1, 2),
            mark(1, 2, "place"),
        ],
        {"start": [0, 0, 1, 1], "end": [3, 1, 2, 2], "label": ["org", "place", "place", "org"]},
    ],
)
def test_spans_of_words_may_nest_and_share_their_words(spans: Any) -> None:
    assert _task().read({"spans": spans}, letters("abc")) == [
        Span(0, 3, "org"),
        Span(0, 1, "place"),
        Span(1, 2, "org"),
        Span(1, 2, "place"),
    ]


def test_spans_of_characters_are_widened_to_words() -> None:
    row = Row(split_words("In Nadia's New York, yes"))
    spans = [mark(3, 8), mark(5, 14, "place"), mark(15, 19), mark(3, 10)]
    assert _task(inputs=("text",)).read({"spans": spans}, row) == [
        Span(1, 3, "place"),
        Span(1, 2, "org"),
        Span(3, 4, "org"),
    ]


def test_a_row_may_be_unlabelled_or_without_spans() -> None:
    assert _task().read({"spans": None}, letters("a")) is None
    assert _task().read({"spans": []}, letters("a")) == []


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            [mark(1, 4)],
            "'org' of words 1 to 4 is empty or lies outside the row of 3 words; start",
        ),
        ([mark(-1, 1)], "'org' of words -1 to 1 is empty or lies outside the row"),
        ([mark(2, 2)], "'org' of words 2 to 2 is empty or lies outside the row of 3"),
        ([mark(2, 1)], "'org' of words 2 to 1 is empty or lies outside the row of 3"),
        ([{"start": 0, "label": "org"}], "expected an entity with start, end and label, found"),
        ([mark(0, 1.5)], "expected an entity with start, end and label, found"),
        (["org"], "expected an entity with start, end and label, found 'org'"),
        ("org", "expected a list of entities, found 'org'"),
        ({"start": [0], "end": [1, 2], "label": ["org"]}, "expected lists of starts, ends and"),
        ({"start": 0, "end": 1, "label": "org"}, "expected lists of starts, ends and labels of"),
    ],
)
def test_what_is_wrong_with_spans_of_words_is_told(spans: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task().read({"spans": spans}, letters("abc"))


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (mark(4, 9), "of characters 4 to 9 lies outside the text of 7 characters"),
        (mark(2, 2), "of characters 2 to 2 lies outside the text of 7"),
        (mark(3, 4), "of characters 3 to 4 is only blanks"),
    ],
)
def test_what_is_wrong_with_spans_of_characters_is_told(span: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task(inputs=("text",)).read({"spans": [span]}, Row(split_words("two ord")))


# Encoding and the loss


@LAW
@given(st.lists(cases(), min_size=1, max_size=3), st.integers(1, 4))
def test_labels_are_those_of_every_span_there_can_be(
    rows: list[tuple[Encoding, list[Span]]], max_width: int
) -> None:
    task = _task(max_width=max_width)
    labels = _collated(task, *rows)
    assert labels.shape[2:] == (max_width, 2)
    expected = np.full_like(labels, -100)
    for row, (encoding, spans) in enumerate(rows):
        for start, end in _possible(encoding, max_width):
            there = [Span(start, end, label) in spans for label in LABELS]
            expected[row, start, end - start - 1] = there
    assert np.array_equal(labels, expected)


@LAW
@given(st.lists(cases(), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_the_loss_is_the_sum_over_all_spans_for_the_seen_words(
    rows: list[tuple[Encoding, list[Span]]], seed: int
) -> None:
    task = _task()
    labels = torch.from_numpy(_collated(task, *rows))
    logits = torch.randn(labels.shape, generator=torch.Generator().manual_seed(seed))
    loss = task.loss(logits, labels)
    expected, words = torch.zeros(()), 0
    for row, (encoding, spans) in enumerate(rows):
        possible = _possible(encoding, 3)
        words += sum(end - start == 1 for start, end in possible)
        for start, end in possible:
            for i, label in enumerate(LABELS):
                right = 1.0 if Span(start, end, label) in spans else -1.0
                expected -= F.logsigmoid(right * logits[row, start, end - start - 1, i])
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-4)
    assert loss.count == task.count(labels) == words


def test_what_is_no_span_has_no_part_in_the_loss() -> None:
    task = _task()
    row = Encoding(letters("ab"), np.array([-1, 0, 1, -1])), [Span(0, 2, "org")]
    labels = torch.from_numpy(_collated(task, row))
    logits = torch.full(labels.shape, 7.0, requires_grad=True)
    task.loss(logits, labels).total.backward()
    assert isinstance(logits.grad, Tensor)
    assert torch.equal(logits.grad != 0, labels != -100)


# Decoding


def _logits(labels: np.ndarray) -> np.ndarray:
    """Logits that say what the labels do, and nonsense where there can be no span."""
    return np.where(labels == 0, -3.0, 3.0).astype(np.float32)


@LAW
@given(st.lists(cases(), min_size=1, max_size=3))
def test_what_is_encoded_is_decoded(rows: list[tuple[Encoding, list[Span]]]) -> None:
    task = _task()
    decoded = task.decode(_logits(_collated(task, *rows)), [encoding for encoding, _ in rows])
    for one, (encoding, spans) in zip(decoded, rows, strict=True):
        possible = _possible(encoding, 3)
        assert one.value == [s for s in spans if s[:2] in possible and s.label in LABELS]
        assert one.scores == pytest.approx([1 / (1 + np.exp(-3))] * len(one.value))


@LAW
@given(encodings(7, 3), st.integers(0, 2**32 - 1))
def test_flat_spans_share_no_word_and_none_that_is_likelier_is_left_out(
    encoding: Encoding, seed: int
) -> None:
    shape = (1, len(encoding.token_words), 3, 2)
    logits = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    (nested,) = _task().decode(logits, [encoding])
    (flat,) = _task(overlap="flat").decode(logits, [encoding])
    scores = dict(zip(nested.value, nested.scores, strict=True))
    assert flat.scores == [scores[span] for span in flat.value]
    words = [word for span in flat.value for word in range(span.start, span.end)]
    assert words == sorted(set(words))
    for span in set(nested.value) - set(flat.value):
        rivals = [one for one in flat.value if one.start < span.end and span.start < one.end]
        assert max(scores[one] for one in rivals) >= scores[span]


# Showing and scoring


def test_spans_are_shown_as_pipelines_show_entities() -> None:
    row = Row(split_words("New York University, USA"))
    spans = [Span(0, 3, "org"), Span(0, 2, "place"), Span(4, 5, "place")]
    assert _task().present(Decoded(spans, [0.75, 0.5, 1.0]), row) == [
        {
            "entity_group": "org",
            "word": "New York University",
            "score": 0.75,
            "start": 0,
            "end": 19,
        },
        {"entity_group": "place", "word": "New York", "score": 0.5, "start": 0, "end": 8},
        {"entity_group": "place", "word": "USA", "score": 1.0, "start": 21, "end": 24},
    ]


def test_scores_are_of_whole_spans_and_labels_occur_as_often_as_spans() -> None:
    right = [[Span(0, 3, "org"), Span(0, 2, "place")], []]
    found = [[Span(0, 3, "org"), Span(0, 3, "place")], [Span(0, 1, "org")]]
    scores = _task().metrics(found, right)
    assert tuple(scores) == _task().metric_names
    assert (scores["precision"], scores["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert list(_task().occurrences(right[0])) == ["org", "place"]


# Diagnosis


def test_long_and_overlapping_training_spans_are_told() -> None:
    row = letters("abcdef")
    spans = {"spans": [mark(0, 6), mark(0, 4), mark(1, 2)]}
    rows = {"train": [({"spans": None}, row), (spans, row)], "test": [(spans, row)]}
    where = "task 't', dataset 'd', split train: "
    long = (
        "2 of 3 spans have more words than max_width, 3, and are neither learned nor found; the"
        " longest has 6, in row 1; time and memory grow with max_width"
    )
    shared = (
        "rows with spans that share a word: 1, the first is row 1; overlap: flat finds one of such"
        " spans at most"
    )
    assert _task().diagnose({"d": rows}) == [where + long]
    assert _task(overlap="flat").diagnose({"d": rows}) == [where + long, where + shared]


def test_spans_that_split_a_word_are_told() -> None:
    row = Row(split_words("In Nadia's New York"))
    rows = {"test": [({"spans": []}, row), ({"spans": [mark(3, 8), mark(11, 14)]}, row)]}
    assert _task(inputs=("text",)).diagnose({"d": rows}) == [
        "task 't', dataset 'd', split test: spans that begin or end inside a word are widened to"
        " whole words: 1, the first in row 1: 'Nadia' becomes \"Nadia's\""
    ]


# Settings


@pytest.mark.parametrize("value", [0, "wide"])
def test_a_width_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"tasks\.t\.max_width: .*found"):
        build_task("t", "span_classification", {"max_width": value}, where="tasks.t")


def test_saved_and_built_again_it_is_the_same_task() -> None:
    task = _task(overlap="flat", pooling="mean")
    saved = json.loads(json.dumps(saved_form(task)))
    del saved["type"], saved["name"]
    assert build_task("t", "span_classification", saved, where="config.json") == task
