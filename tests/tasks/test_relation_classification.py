"""Relations between spans: learned, read, encoded, lost, decoded, shown and diagnosed."""

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.errors import RecipeError
from mtl_nlp.heads.relations import unpacked
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.relation_classification import RelationClassification
from mtl_nlp.tasks.relations import Relation, SpanGraph
from mtl_nlp.tasks.schemes import Span
from mtl_nlp.words import Row, split_words
from tests.spans import encodings, letters, mark

LABELS, SPAN_LABELS = ("in", "of"), ("org", "place", "time")
WIDTH = 2
LAW = settings(deadline=None, max_examples=50)


def _task(**fields: Any) -> RelationClassification:
    default = {
        "name": "t",
        "labels": LABELS,
        "span_labels": SPAN_LABELS,
        "inputs": ("tokens",),
        "max_width": WIDTH,
    }
    return RelationClassification(**{**default, **fields})


def _relation(head: Any, tail: Any, label: Any = "in") -> dict[str, Any]:
    return {"head": head, "tail": tail, "label": label}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Encoding, SpanGraph]:
    """An encoding, any spans of its words, and relations between them, as they are read."""
    encoding = draw(encodings(6, 2))
    place = st.tuples(*[st.integers(0, len(encoding.row.words) - 1)] * 2)
    spans = [
        mark(min(ends), max(ends) + 1, label)
        for ends, label in draw(
            st.lists(st.tuples(place, st.sampled_from(SPAN_LABELS)), max_size=4)
        )
    ]
    pairs = list(permutations(range(len(spans)), 2))
    some = st.tuples(st.sampled_from(pairs or [(0, 1)]), st.sampled_from([*LABELS, "new"]))
    chosen = draw(st.lists(some, max_size=4 if pairs else 0, unique=True))
    fields = {"spans": spans, "relations": [_relation(*pair, label) for pair, label in chosen]}
    read = _task().read(fields, encoding.row)
    assert read is not None
    return encoding, read


def _seen(encoding: Encoding) -> set[int]:
    seen = {int(word) for word in encoding.token_words}
    return seen & set(range(len(encoding.row.words))) & set(range(len(encoding.token_words)))


def _visible(encoding: Encoding, graph: SpanGraph) -> list[Span]:
    return [one for one in graph.spans if {one.start, one.end - 1} <= _seen(encoding)]


def _collated(
    task: RelationClassification, *rows: tuple[Encoding, SpanGraph], spare: int = 2
) -> np.ndarray:
    labels = Ragged.from_lists([task.encode(graph, encoding) for encoding, graph in rows])
    return task.collate(labels, max(len(encoding.token_words) for encoding, _ in rows) + spare)


def _logits(rows: int, seq_len: int, seed: int) -> Tensor:
    width = WIDTH * len(SPAN_LABELS) + seq_len * 2 * len(LABELS)
    return torch.randn(rows, seq_len, width, generator=torch.Generator().manual_seed(seed))


def _parts(logits: Any) -> Any:
    return unpacked(logits, span_labels=len(SPAN_LABELS), relations=len(LABELS), max_width=WIDTH)


# Learning and reading


def test_labels_and_width_are_those_of_train() -> None:
    rows = [
        {
            "spans": [mark(0, 2, "b"), mark(1, 2, "a")],
            "relations": [_relation(1, 0, "y")],
        },
        {
            "spans": [mark(0, 1, "a"), mark(1, 2, "b")],
            "relations": [_relation(1, 0, "x")],
        },
        {"spans": [mark(0, 9, "c")], "relations": None},
        {"spans": None, "relations": [_relation(0, 1, "z")]},
    ]
    bare = _task(labels=(), span_labels=(), max_width=None)
    learned = _task(labels=("x", "y"), span_labels=("a", "b"), max_width=2)
    assert bare.learn(rows, None) == learned
    assert _task(labels=("y",), span_labels=("b", "a"), max_width=7).learn(rows, None) == _task(
        labels=("y",), span_labels=("b", "a"), max_width=7
    )


def test_the_width_of_a_texts_spans_is_learned_in_words() -> None:
    row = {
        "spans": [mark(0, 8), mark(9, 13)],
        "relations": [_relation(0, 1)],
        "words": split_words("New York city"),
    }
    assert _task(inputs=("text",), max_width=None).learn([row], None).max_width == 2


@pytest.mark.parametrize(
    ("names", "labels", "span_labels"),
    [(("y", "x"), ("y", "x"), ("a", "b")), (("b", "a", "c"), ("x", "y"), ("b", "a", "c"))],
)
def test_a_class_names_the_column_that_it_fits(
    names: tuple[str, ...], labels: tuple[str, ...], span_labels: tuple[str, ...]
) -> None:
    spans = [mark(0, 1, "b"), mark(1, 2, "a")]
    rows = [{"spans": spans, "relations": [_relation(0, 1, "x"), _relation(1, 0, "y")]}]
    learned = _task(labels=(), span_labels=()).learn(rows, names)
    assert (learned.labels, learned.span_labels) == (labels, span_labels)


@pytest.mark.parametrize(
    ("row", "task", "message"),
    [
        ({"spans": [], "relations": []}, {}, "expected some spans in train, found none; check"),
        (
            {"spans": [mark(0, 1)], "relations": []},
            {},
            "expected some relations in train, found",
        ),
        ({"spans": None, "relations": None}, {}, "expected some spans in train, found none"),
        (
            {"spans": [mark(0, 1, "new")], "relations": []},
            {"span_labels": SPAN_LABELS},
            "there is no span label 'new'; they are org, place, time; mend the row, or add it",
        ),
        (
            {"spans": [mark(0, 1)], "relations": [_relation(0, 1)]},
            {},
            "relation 0 points at span 1, but there are 1 spans",
        ),
    ],
)
def test_rows_that_teach_nothing_usable_are_told(
    row: dict[str, Any], task: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _task(**{"labels": (), "span_labels": (), **task}).learn([row], None)


def test_spans_come_in_reading_order_with_their_relations() -> None:
    spans = [mark(2, 3), mark(0, 1, "place"), mark(2, 3), mark(0, 2)]
    fields = {"spans": spans, "relations": [_relation(0, 1), _relation(2, 1), _relation(3, 0)]}
    assert _task().read(fields, letters("abc")) == SpanGraph(
        (Span(0, 2, "org"), Span(0, 1, "place"), Span(2, 3, "org")),
        (Relation(0, 2, "in"), Relation(2, 1, "in")),
    )


def test_spans_of_characters_are_widened_to_words() -> None:
    row = Row(split_words("In Nadia's New York"))
    fields = {
        "spans": [mark(11, 19, "place"), mark(3, 8)],
        "relations": [_relation(1, 0)],
    }
    assert _task(inputs=("text",)).read(fields, row) == SpanGraph(
        (Span(1, 2, "org"), Span(2, 4, "place")), (Relation(0, 1, "in"),)
    )


@pytest.mark.parametrize("column", ["spans", "relations"])
def test_a_row_that_lacks_a_column_is_unlabelled(column: str) -> None:
    fields = {
        "spans": [mark(0, 1), mark(1, 2)],
        "relations": [_relation(0, 1)],
        column: None,
    }
    assert _task().read(fields, letters("ab")) is None
    assert _task().read({"spans": [], "relations": []}, letters("a")) == SpanGraph((), ())


@pytest.mark.parametrize(
    ("spans", "relations", "message"),
    [
        (
            [mark(1, 4)],
            [],
            "'org' of words 1 to 4 is empty or lies outside the row of 3 words",
        ),
        ([mark(2, 2)], [], "'org' of words 2 to 2 is empty or lies outside the row of 3"),
        ([mark(0, 1.5)], [], "expected an entity with start, end and label, found"),
        ("org", [], "expected a list of entities, found 'org'"),
        (
            [mark(0, 1)],
            [_relation(0, 1)],
            "relation 0 points at span 1, but there are 1 spans",
        ),
        ([mark(0, 1)], "in", "expected a list of relations, found 'in'"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(spans: Any, relations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task().read({"spans": spans, "relations": relations}, letters("abc"))


# Encoding and the loss


@LAW
@given(st.lists(cases(), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_all_spans_and_of_all_pairs_of_right_ones(
    rows: list[tuple[Encoding, SpanGraph]], seed: int
) -> None:
    task = _task()
    labels = torch.from_numpy(_collated(task, *rows))
    logits = _logits(len(rows), max(len(e.token_words) for e, _ in rows) + 2, seed)
    loss = task.loss(logits, labels)
    expected, words = torch.zeros(()), 0
    for spans, pairs, (encoding, graph) in zip(*_parts(logits), rows, strict=True):
        seen, visible = _seen(encoding), _visible(encoding, graph)
        words += len(seen)
        for start in seen:
            for end in seen & set(range(start, start + WIDTH)):
                for i, label in enumerate(SPAN_LABELS):
                    sign = 1.0 if Span(start, end + 1, label) in graph.spans else -1.0
                    expected -= F.logsigmoid(sign * spans[start, end - start, i])
        named = {(graph.spans[h], graph.spans[t], label) for h, t, label in graph.relations}
        for head, tail in permutations(visible, 2):
            for i, label in enumerate(LABELS):
                first, last = pairs[head.start, tail.start, 0], pairs[head.end - 1, tail.end - 1, 1]
                sign = 1.0 if (head, tail, label) in named else -1.0
                expected -= F.logsigmoid(sign * (first[i] + last[i]))
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-4)
    assert loss.count == task.count(labels) == words


@LAW
@given(st.lists(cases(), min_size=2, max_size=3), st.integers(0, 4))
def test_company_and_padding_change_no_loss(
    rows: list[tuple[Encoding, SpanGraph]], spare: int
) -> None:
    task = _task()
    seq_len = max(len(encoding.token_words) for encoding, _ in rows) + spare
    logits = _logits(len(rows), seq_len, 0)
    together = task.loss(logits, torch.from_numpy(_collated(task, *rows, spare=spare)))
    totals, counts = [], []
    for row, (encoding, graph) in enumerate(rows):
        own = len(encoding.token_words)
        narrow = logits[row : row + 1, :own, : logits.shape[2] - 4 * (seq_len - own)]
        labels = torch.from_numpy(_collated(task, (encoding, graph), spare=0))
        alone = task.loss(narrow, labels)
        totals.append(alone.total)
        counts.append(alone.count)
    torch.testing.assert_close(together.total, torch.stack(totals).sum(), rtol=1e-5, atol=1e-5)
    assert together.count == sum(counts)


def test_words_that_are_in_no_right_span_have_no_part_in_the_relations() -> None:
    task = _task()
    graph = SpanGraph((Span(0, 2, "org"), Span(3, 4, "place")), (Relation(0, 1, "in"),))
    row = Encoding(letters("abcd"), np.array([-1, 0, 1, 2, 3, -1])), graph
    labels = torch.from_numpy(_collated(task, row, spare=0))
    logits = torch.zeros(1, 6, 6 + 6 * 4, requires_grad=True)
    task.loss(logits, labels).total.backward()
    assert logits.grad is not None
    _, pairs = _parts(logits.grad)
    places = {tuple(place) for place in pairs[0, ..., 0].nonzero().tolist()}
    assert places == {(0, 3, 0), (3, 0, 0), (1, 3, 1), (3, 1, 1)}
    assert pairs[0, 0, 3, 0].tolist() == [-0.5, 0.5]  # the first relation is right there


# Decoding


@LAW
@given(st.lists(cases(), min_size=1, max_size=3))
def test_what_is_encoded_is_decoded(rows: list[tuple[Encoding, SpanGraph]]) -> None:
    task = _task()
    seq_len = max(len(encoding.token_words) for encoding, _ in rows)
    logits = np.full((len(rows), seq_len, 6 + seq_len * 4), -3.0, dtype=np.float32)
    spans, pairs = _parts(logits)
    truth = []
    for row, (encoding, graph) in enumerate(rows):
        visible = [one for one in _visible(encoding, graph) if one.end - one.start <= WIDTH]
        for start, end, label in visible:
            spans[row, start, end - start - 1, SPAN_LABELS.index(label)] = 2.0
        named = {(graph.spans[h], graph.spans[t], label) for h, t, label in graph.relations}
        for head, tail, label in named:
            if head in visible and tail in visible and label in LABELS and head != tail:
                pairs[row, head.start, tail.start, 0, LABELS.index(label)] = 4.0
                pairs[row, head.end - 1, tail.end - 1, 1, LABELS.index(label)] = 4.0
        truth.append(tuple(visible))
    width = 6 + seq_len * 4
    packed = np.concatenate([s.reshape(*s.shape[:2], -1) for s in (spans, pairs)], axis=2)
    assert packed.shape[2] == width
    decoded = task.decode(packed, [encoding for encoding, _ in rows])
    assert [one.value.spans for one in decoded] == truth
    for one, (_, graph) in zip(decoded, rows, strict=True):
        found = {(one.value.spans[h], one.value.spans[t], x) for h, t, x in one.value.relations}
        named = {(graph.spans[h], graph.spans[t], x) for h, t, x in graph.relations if h != t}
        kept = {n for n in named if {n[0], n[1]} <= set(one.value.spans) and n[2] in LABELS}
        assert kept <= found  # the tables cannot tell spans apart that share both ends' words
        assert one.scores.spans == pytest.approx([1 / (1 + np.exp(-2))] * len(one.value.spans))


@LAW
@given(encodings(6, 2), st.sampled_from(["nested", "flat"]), st.integers(0, 2**32 - 1))
def test_spans_come_first_then_all_their_likely_relations(
    encoding: Encoding, overlap: str, seed: int
) -> None:
    seq_len = len(encoding.token_words)
    logits = _logits(1, seq_len, seed).numpy()
    (one,) = _task(overlap=overlap).decode(logits, [encoding])
    spans, pairs = _parts(logits[0][None])
    likely = {
        (start, end + 1, label): spans[0, start, end - start, i]
        for start in _seen(encoding)
        for end in _seen(encoding) & set(range(start, start + WIDTH))
        for i, label in enumerate(SPAN_LABELS)
        if spans[0, start, end - start, i] > 0
    }
    found = one.value.spans
    words = [word for span in found for word in range(span.start, span.end)]
    assert set(found) <= set(likely)
    assert len(words) == len(set(words)) if overlap == "flat" else set(found) == set(likely)
    expected = [
        (h, t, label)
        for h, head in enumerate(found)
        for t, tail in enumerate(found)
        for i, label in enumerate(LABELS)
        if h != t
        and pairs[0, head.start, tail.start, 0, i] + pairs[0, head.end - 1, tail.end - 1, 1, i] > 0
    ]
    assert list(one.value.relations) == expected
    assert len(one.scores.relations) == len(expected)
    assert all(0.5 < score < 1 for score in [*one.scores.spans, *one.scores.relations])


@LAW
@given(cases(), st.integers(0, 2**32 - 1))
def test_spans_that_a_row_brings_are_kept_and_related(
    case: tuple[Encoding, SpanGraph], seed: int
) -> None:
    encoding, graph = case
    given = tuple(reversed(graph.spans))
    brought = replace(encoding, row=replace(encoding.row, spans=given))
    logits = _logits(1, len(encoding.token_words), seed).numpy()
    (one,) = _task(overlap="flat").decode(logits, [brought])
    pairs = _parts(logits)[1][0]
    assert one.value.spans == given
    assert one.scores.spans == [1.0] * len(given)
    visible = _visible(encoding, graph)
    expected = [
        (h, t, label)
        for (h, head), (t, tail) in permutations(enumerate(given), 2)
        for i, label in enumerate(LABELS)
        if head in visible
        and tail in visible
        and pairs[head.start, tail.start, 0, i] + pairs[head.end - 1, tail.end - 1, 1, i] > 0
    ]
    assert list(one.value.relations) == expected


# Showing and diagnosing


def test_a_graph_is_shown_with_characters_and_indices() -> None:
    row = Row(split_words("Ada left Old Paris"))
    logits = np.full((1, 6, 6 + 6 * 4), -9.0, dtype=np.float32)
    spans, pairs = _parts(logits)
    spans[0, 0, 0, 0] = spans[0, 2, 1, 1] = 1.0
    pairs[0, 0, 2, 0, 1], pairs[0, 0, 3, 1, 1] = 0.25, 0.75
    packed = np.concatenate([one.reshape(1, 6, -1) for one in (spans, pairs)], axis=2)
    (decoded,) = _task().decode(packed, [Encoding(row, np.array([-1, 0, 1, 2, 3, -1]))])
    score = pytest.approx(1 / (1 + np.exp(-1)))
    assert _task().present(decoded, row) == {
        "spans": [
            {"entity_group": "org", "word": "Ada", "score": score, "start": 0, "end": 3},
            {"entity_group": "place", "word": "Old Paris", "score": score, "start": 9, "end": 18},
        ],
        "relations": [{"head": 0, "tail": 1, "label": "of", "score": score}],
    }
    json.dumps(_task().present(decoded, row))


def test_what_occurs_are_the_relations_and_metrics_bear_their_names() -> None:
    graph = SpanGraph((Span(0, 1, "org"), Span(1, 2, "org")), (Relation(0, 1, "of"),))
    assert list(_task().occurrences(graph)) == ["of"]
    assert tuple(_task().metrics([graph], [graph])) == _task().metric_names
    assert _task().metrics([graph], [graph])["f1"] == 1.0


def test_relations_inside_one_word_and_odd_spans_are_told() -> None:
    row = Row(split_words("the MDM2-p53 and a long b"))
    spans = [mark(4, 8), mark(9, 12), mark(13, 25)]
    fields = {"spans": spans, "relations": [_relation(0, 1), _relation(2, 1)]}
    rows = {"train": [({"spans": None, "relations": None}, row), (fields, row)]}
    where = "task 't', dataset 'd', split train: "
    assert _task(inputs=("text",)).diagnose({"d": rows}) == [
        where + "spans that begin or end inside a word are widened to whole words: 2, the first in"
        " row 1: 'MDM2' becomes 'MDM2-p53'",
        where + "1 of 2 spans have more words than max_width, 2, and are neither learned nor found;"
        " the longest has 4, in row 1; time and memory grow with max_width",
        where + "relations between two spans that are the same words with the same label: 1, the"
        " first in row 1; they are neither learned nor found",
    ]
    graph = _task(inputs=("text",)).read(fields, row)
    assert graph is not None
    encoding = Encoding(row, np.arange(6))
    lone = SpanGraph(graph.spans, tuple(r for r in graph.relations if r.head != r.tail))
    assert _task().encode(graph, encoding) == _task().encode(lone, encoding)


# Settings


@pytest.mark.parametrize(("option", "value"), [("max_width", 0), ("overlap", "both")])
def test_a_setting_that_is_none_is_refused(option: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"tasks\.t\.{option}: .*found"):
        build_task("t", "relation_classification", {option: value}, where="tasks.t")


def test_saved_and_built_again_it_is_the_same_task() -> None:
    task = _task(overlap="flat", pooling="mean")
    saved = json.loads(json.dumps(saved_form(task)))
    del saved["type"], saved["name"]
    assert build_task("t", "relation_classification", saved, where="config.json") == task
