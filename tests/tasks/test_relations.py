"""Relations: read or refused, brought to the order of their spans, and scored."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.relations import (
    Relation,
    SpanGraph,
    likely_relations,
    pair_labels,
    read_relations,
    relation_scores,
)
from mtl_nlp.tasks.schemes import Span

LAW = settings(deadline=None, max_examples=60)
SPANS = st.builds(
    lambda start, width, label: Span(start, start + width, label),
    st.integers(0, 4),
    st.integers(1, 3),
    st.sampled_from(["a", "b"]),
)


def _relation(head: Any, tail: Any, label: Any = "in") -> dict[str, Any]:
    return {"head": head, "tail": tail, "label": label}


@st.composite
def graphs(draw: st.DrawFn) -> SpanGraph:
    spans = draw(st.lists(SPANS, max_size=5))
    if not spans:
        return SpanGraph((), ())
    index = st.integers(0, len(spans) - 1)
    related = st.builds(Relation, index, index, st.sampled_from(["in", "of"]))
    return SpanGraph.of(spans, draw(st.lists(related, max_size=6)))


# Reading


@pytest.mark.parametrize(
    "value",
    [
        [_relation(0, 1), _relation(1, 0), _relation(0, 1, "of")],
        {"head": [0, 1, 0], "tail": [1, 0, 1], "label": ["in", "in", "of"]},
    ],
)
def test_relations_have_a_direction_and_any_number_may_hold(value: Any) -> None:
    assert read_relations(value, 2) == [(0, 1, "in"), (1, 0, "in"), (0, 1, "of")]


def test_there_may_be_none() -> None:
    assert read_relations([], 0) == read_relations(None, 3) == []


@pytest.mark.parametrize(
    "value",
    [
        [{**_relation(0, 1), "type": "x", "spans": [1, 2, 3]}],
        {"head": [0], "tail": [1], "label": ["in"], "spans": [1, 2, 3], "id": None},
    ],
)
def test_other_keys_of_relations_are_not_read(value: Any) -> None:
    assert read_relations(value, 3) == [Relation(0, 1, "in")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("in", "expected a list of relations, found 'in'"),
        (["in"], "relation 0: expected a record of head, tail and label, found 'in'"),
        ([{"head": 0, "tail": 1}], "relation 0: expected a record of head, tail and label"),
        ([_relation(0, 1), _relation(0, 3)], "relation 1 points at span 3, but there are 3 spans"),
        ([_relation(-1, 1)], "relation 0 points at span -1, but there are 3 spans; head and tail"),
        ([_relation(0, 0.5)], "relation 0: expected the indices of two spans .*, found 0.5"),
        ([_relation("0", 1)], "relation 0: expected the indices of two spans .*, found '0'"),
        ([_relation(0, True)], "relation 0: expected the indices of two spans .*, found True"),
        ([_relation(0, None)], "relation 0: expected the indices of two spans .*, found None"),
        ([_relation(0, 1, None)], "relation 0: expected a label, found null"),
        ([_relation(0, 1, "")], "expected a label, found '', an empty one"),
        ([_relation(0, 1, ["in"])], r"expected a label's name or index, found \['in'\]"),
        ([_relation(2, 2)], "relation 0 joins span 2 to itself; give it two spans or drop it"),
        ([_relation(0, 1)] * 2, "relation 'in' from span 0 to span 1 comes twice; give it once"),
        ({"head": [0], "tail": [1, 2], "label": ["in"]}, "expected lists of heads, tails and"),
        (_relation(0, 1), "expected lists of heads, tails and labels of one length"),
    ],
)
def test_what_is_wrong_with_relations_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_relations(value, 3)


@LAW
@given(st.lists(SPANS, min_size=1, max_size=5), st.data())
def test_in_order_the_spans_keep_their_relations(spans: list[Span], data: st.DataObject) -> None:
    index = st.integers(0, len(spans) - 1)
    given = data.draw(st.lists(st.builds(Relation, index, index, st.just("in"))))
    graph = SpanGraph.of(spans, given)
    assert set(graph.spans) == set(spans)
    assert list(graph.spans) == sorted(set(spans), key=lambda s: (s.start, -s.end, s.label))
    named = {(graph.spans[head], graph.spans[tail], label) for head, tail, label in graph.relations}
    assert named == {(spans[head], spans[tail], label) for head, tail, label in given}
    assert list(graph.relations) == sorted(set(graph.relations))


# Pairs


@LAW
@given(graphs())
def test_every_ordered_pair_of_spans_is_there_once(graph: SpanGraph) -> None:
    names = ("in", "of")
    ends = np.array([(s.start, s.end - 1, 7) for s in graph.spans], dtype=np.int64).reshape(-1, 3)
    related = [(head, tail, names.index(label)) for head, tail, label in graph.relations]
    relations = np.array(related, dtype=np.int64).reshape(-1, 3)
    expected = [
        [ends[h, 0], ends[t, 0], ends[h, 1], ends[t, 1]]
        + [int((h, t, name) in graph.relations) for name in names]
        for h in range(len(ends))
        for t in range(len(ends))
        if h != t
    ]
    assert pair_labels(ends, relations, 2).tolist() == expected


@LAW
@given(st.lists(SPANS, max_size=5), st.sets(st.integers(0, 6)), st.integers(0, 2**32 - 1))
def test_relations_are_those_that_trying_all_finds(
    spans: list[Span], words: set[int], seed: int
) -> None:
    tables = np.random.default_rng(seed).normal(size=(8, 8, 2, 2)).astype(np.float32)
    found = likely_relations(tables, spans, np.array([*words, -1]), ("in", "of"))
    expected = []
    for h, head in enumerate(spans):
        for t, tail in enumerate(spans):
            for number, label in enumerate(("in", "of")):
                ends = {head.start, head.end - 1, tail.start, tail.end - 1}
                logit = (
                    tables[head.start, tail.start, 0, number]
                    + tables[head.end - 1, tail.end - 1, 1, number]
                )
                if h != t and ends <= words and logit > 0:
                    expected.append(((h, t, label), 1 / (1 + np.exp(-float(logit)))))
    assert [relation for relation, _ in found] == [relation for relation, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])


# Scoring


@LAW
@given(st.lists(st.tuples(graphs(), graphs()), max_size=4))
def test_scores_are_those_of_sets_of_triples(pairs: list[tuple[SpanGraph, SpanGraph]]) -> None:
    def triples(graph: SpanGraph) -> set[tuple[Span, Span, str]]:
        return {(graph.spans[h], graph.spans[t], label) for h, t, label in graph.relations}

    right = sum(len(triples(found) & triples(truth)) for found, truth in pairs)
    found = sum(len(triples(found)) for found, _ in pairs)
    truth = sum(len(triples(truth)) for _, truth in pairs)
    precision, recall = right / found if found else 0.0, right / truth if truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    scores = relation_scores([found for found, _ in pairs], [truth for _, truth in pairs])
    assert list(scores) == ["f1", "precision", "recall"]
    assert list(scores.values()) == pytest.approx([f1, precision, recall])


@pytest.mark.parametrize(
    ("spans", "relation"),
    [
        ((Span(0, 2, "a"), Span(3, 4, "b")), Relation(0, 1, "of")),
        ((Span(0, 2, "a"), Span(3, 4, "b")), Relation(1, 0, "in")),
        ((Span(0, 1, "a"), Span(3, 4, "b")), Relation(0, 1, "in")),
        ((Span(0, 2, "a"), Span(3, 4, "a")), Relation(0, 1, "in")),
    ],
)
def test_a_wrong_label_direction_end_or_span_label_is_an_error(
    spans: tuple[Span, ...], relation: Relation
) -> None:
    truth = SpanGraph((Span(0, 2, "a"), Span(3, 4, "b")), (Relation(0, 1, "in"),))
    assert relation_scores([truth], [truth])["f1"] == 1.0
    assert relation_scores([SpanGraph(spans, (relation,))], [truth])["f1"] == 0.0


def test_other_spans_cost_nothing_and_count_other_indices() -> None:
    truth = SpanGraph((Span(0, 2, "a"), Span(3, 4, "b")), (Relation(0, 1, "in"),))
    more = SpanGraph((Span(0, 1, "b"), *truth.spans), (Relation(1, 2, "in"),))
    assert relation_scores([more], [truth])["f1"] == 1.0
