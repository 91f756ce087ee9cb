import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from seqeval.metrics.sequence_labeling import get_entities

from mtl_nlp.tasks.schemes import (
    LegalPaths,
    Span,
    best_legal_path,
    detect_scheme,
    illegal_positions,
    read_spans,
    tag_names,
    write_tags,
)

TYPES = ["person", "creative-work"]  # a type may contain a hyphen
SCHEMES = ["bio", "bioes"]


@st.composite
def sentences(draw, min_spans=0):
    """Any spans of a sentence and its length, touching or not, of equal and of other types."""
    spans, end = [], 0
    for _ in range(draw(st.integers(min_spans, 5))):
        start = end + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        spans.append(Span(start, end, draw(st.sampled_from(TYPES))))
    return spans, end + draw(st.integers(0, 2))


def tag_sequences(prefixes, min_size=0):
    tags = ["O", *(f"{prefix}-{label}" for prefix in prefixes for label in TYPES)]
    return st.lists(st.sampled_from(tags), min_size=min_size, max_size=8)


def write_iob1(spans, length):
    tags = ["O"] * length
    for span in spans:
        touches = span.start > 0 and tags[span.start - 1].endswith(f"-{span.label}")
        tags[span.start : span.end] = [f"I-{span.label}"] * (span.end - span.start)
        if touches:
            tags[span.start] = f"B-{span.label}"
    return tags


def write_bilou(spans, length):
    to_bilou = {"E": "L", "S": "U"}
    tags = write_tags(spans, length, "bioes")
    return [to_bilou.get(tag[0], tag[0]) + tag[1:] for tag in tags]


def write_ioe2(spans, length):
    return [
        tag.replace("B-", "I-").replace("S-", "E-") for tag in write_tags(spans, length, "bioes")
    ]


WRITERS = {
    "bio": lambda spans, length: write_tags(spans, length, "bio"),
    "bioes": lambda spans, length: write_tags(spans, length, "bioes"),
    "iob1": write_iob1,
    "bilou": write_bilou,
}


@pytest.mark.parametrize("writer", [*WRITERS.values(), write_ioe2])
@given(sentence=sentences())
def test_every_scheme_reads_as_the_spans_it_was_written_from(writer, sentence):
    spans, length = sentence
    tags = writer(spans, length)
    assert len(tags) == length
    assert read_spans(tags) == spans


@given(sentence=sentences(), order=st.randoms())
def test_spans_may_come_in_any_order(sentence, order):
    spans, length = sentence
    shuffled = order.sample(spans, k=len(spans))
    assert write_tags(shuffled, length, "bio") == write_tags(spans, length, "bio")


@given(tags=tag_sequences("BIES"))
def test_reading_agrees_with_seqeval_legal_or_not(tags):
    theirs = [Span(first, last + 1, label) for label, first, last in get_entities(tags)]
    assert read_spans(tags) == theirs


@given(tags=tag_sequences("BILU"))
def test_bilou_reads_as_bioes_legal_or_not(tags):
    assert read_spans(tags) == read_spans(
        [tag.replace("L-", "E-").replace("U-", "S-") for tag in tags]
    )


def test_reading_wnut17_style_tags():
    tags = ["B-creative-work", "I-creative-work", "B-creative-work", "O", "I-person", "I-location"]
    assert read_spans(tags) == [
        Span(0, 2, "creative-work"),
        Span(2, 3, "creative-work"),
        Span(4, 5, "person"),
        Span(5, 6, "location"),
    ]


@pytest.mark.parametrize(
    "tag", ["person", "X-foo", "b-foo", "B-", "B", "", "o", "BI-foo", "-foo", "O-x"]
)
def test_what_is_no_tag_is_named(tag):
    with pytest.raises(ValueError, match=f"'{tag}' is no tag of a span: expected 'O'"):
        read_spans(["O", tag])


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span(0, 2, "a"), Span(1, 3, "b")], "'b' of words 1 to 3 .* overlaps .* ends at 2"),
        ([Span(1, 2, "a"), Span(1, 2, "a")], "overlaps"),
        ([Span(0, 4, "a"), Span(1, 2, "b")], "overlaps"),
        ([Span(3, 5, "a")], "'a' of words 3 to 5 .* leaves the sentence of 4 words"),
        ([Span(-1, 1, "a")], "words -1 to 1"),
        ([Span(2, 2, "a")], "is empty"),
        ([Span(3, 1, "a")], "is empty"),
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_that_tags_cannot_hold_are_refused(spans, message, scheme):
    with pytest.raises(ValueError, match=message):
        write_tags(spans, 4, scheme)


def test_tag_names_go_type_by_type():
    assert tag_names(["a", "b-c"], "bio") == ["O", "B-a", "I-a", "B-b-c", "I-b-c"]
    assert tag_names(["a"], "bioes") == ["O", "B-a", "I-a", "E-a", "S-a"]
    assert tag_names([], "bio") == ["O"]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=sentences())
def test_tag_names_hold_every_tag_that_is_written(scheme, sentence):
    assert set(write_tags(*sentence, scheme)) <= set(tag_names(TYPES, scheme))


@pytest.mark.parametrize("scheme", list(WRITERS))
@given(column=st.lists(sentences(min_spans=1), min_size=1, max_size=4))
def test_the_scheme_of_a_column_is_detected(scheme, column):
    assert detect_scheme([WRITERS[scheme](*sentence) for sentence in column]) == scheme


@pytest.mark.parametrize(
    ("column", "scheme"),
    [
        ([], "bio"),
        ([[], ["O", "O"]], "bio"),
        ([["NOUN", "VERB"]], "none"),
        ([["B-a", "I-a", "person"]], "none"),
        ([["I-a", "B-a", "O"]], "iob1"),
        ([["B-a", "O"], ["I-a", "O"]], "bio"),  # the evidence of both: bio with a mistake
        ([["I-a", "I-b"]], "iob1"),
        ([["B-a", "B-b"]], "bio"),  # iob1 writes I-b beside another type
        ([["I-a", "E-a"]], "bioes"),
        ([["B-a", "L-a"], ["O"]], "bilou"),
    ],
)
def test_the_evidence_for_a_scheme(column, scheme):
    assert detect_scheme(iter(column)) == scheme


@pytest.mark.parametrize("scheme", list(WRITERS))
@given(sentence=sentences())
def test_what_is_written_is_legal(scheme, sentence):
    assert illegal_positions(WRITERS[scheme](*sentence), scheme) == []


@pytest.mark.parametrize(
    ("scheme", "prefixes"), [("bio", "BI"), ("iob1", "BI"), ("bioes", "BIES"), ("bilou", "BILU")]
)
@given(draw=st.data())
def test_legal_is_exactly_what_the_scheme_writes(scheme, prefixes, draw):
    tags = draw.draw(tag_sequences(prefixes))
    rewritten = WRITERS[scheme](read_spans(tags), len(tags))
    assert (illegal_positions(tags, scheme) == []) == (rewritten == tags)


@pytest.mark.parametrize(
    ("tags", "scheme", "words"),
    [
        ("I-a I-a O I-b B-b I-a", "bio", [0, 3, 5]),
        ("B-a I-a B-a I-b B-a", "iob1", [0, 4]),
        ("B-a O", "bioes", [1]),
        ("O B-a", "bioes", [1]),
        ("B-a I-a B-a", "bioes", [2]),  # named once, though it also stays open
        ("S-a E-a I-b E-b", "bioes", [1, 2]),
        ("B-a E-a", "bio", [1]),
        ("B-a L-a U-a I-a", "bilou", [3]),
        ("", "bioes", []),
    ],
)
def test_the_words_that_break_a_scheme(tags, scheme, words):
    assert illegal_positions(tags.split(), scheme) == words


def best_by_enumeration(scores, names, scheme):
    """The highest score over all tag sequences that the scheme itself would write."""
    num_words, num_tags = scores.shape
    return max(
        sum(scores[word, tag] for word, tag in enumerate(path))
        for path in itertools.product(range(num_tags), repeat=num_words)
        if is_written(tuple(names[tag] for tag in path), scheme)
    )


def is_written(tags, scheme):
    return write_tags(read_spans(tags), len(tags), scheme) == list(tags)


def score_arrays(num_tags, max_words, elements):
    return st.integers(1, max_words).flatmap(
        lambda num_words: hnp.arrays(np.float32, (num_words, num_tags), elements=elements)
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@given(draw=st.data())
def test_the_path_is_the_best_of_all_legal_ones(scheme, draw):
    names = tag_names(TYPES if scheme == "bio" else TYPES[:1], scheme)  # 5 tags
    scores = draw.draw(score_arrays(len(names), max_words=4, elements=st.integers(-20, 20)))
    path = best_legal_path(scores, LegalPaths.of_tags(names, scheme))
    assert is_written([names[tag] for tag in path], scheme)
    reached = scores[np.arange(len(scores)), path].sum()
    assert reached == best_by_enumeration(scores, names, scheme)  # whole numbers: exact


@pytest.mark.parametrize("scheme", SCHEMES)
@given(draw=st.data())
def test_the_path_is_legal_whatever_the_scores(scheme, draw):
    names = tag_names(TYPES, scheme)
    numbers = st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    scores = draw.draw(score_arrays(len(names), max_words=6, elements=numbers))
    path = best_legal_path(scores, LegalPaths.of_tags(names, scheme))
    assert illegal_positions([names[tag] for tag in path], scheme) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=sentences(min_spans=1), noise=st.integers(0, 2**32 - 1))
def test_where_the_argmax_is_legal_it_is_the_path(scheme, sentence, noise):
    names = tag_names(TYPES, scheme)
    argmax = [names.index(tag) for tag in write_tags(*sentence, scheme)]
    scores = np.random.default_rng(noise).random((len(argmax), len(names)))
    scores[np.arange(len(argmax)), argmax] += 1
    assert best_legal_path(scores, LegalPaths.of_tags(names, scheme)).tolist() == argmax


@given(
    scores=score_arrays(5, max_words=6, elements=st.integers(-20, 20)),
    order=st.permutations(range(5)),
)
def test_the_order_of_the_names_does_not_matter(scores, order):
    names = tag_names(TYPES, "bio")
    path = best_legal_path(scores, LegalPaths.of_tags(names, "bio"))
    other = best_legal_path(
        scores[:, order], LegalPaths.of_tags([names[tag] for tag in order], "bio")
    )
    words = np.arange(len(scores))
    assert scores[words, path].sum() == scores[:, order][words, other].sum()


@pytest.mark.parametrize("scheme", SCHEMES)
@given(draw=st.data())
def test_paths_are_allowed_exactly_where_no_word_is_illegal(scheme, draw):
    names = tag_names(TYPES, scheme)
    path = draw.draw(st.lists(st.integers(0, len(names) - 1), max_size=6))
    legal = LegalPaths.of_tags(names, scheme)
    allowed = legal.allow(np.array(path, dtype=np.intp))
    assert allowed == (illegal_positions([names[tag] for tag in path], scheme) == [])


def test_no_words_have_an_empty_path():
    path = best_legal_path(np.zeros((0, 3)), LegalPaths.of_tags(tag_names(["a"], "bio"), "bio"))
    assert path.shape == (0,)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["B-a", "I-a"], r"scheme bio, but found no 'O' among \['B-a', 'I-a'\]"),
        (["O", "B-a", "E-a"], r"scheme bio, but found \['E-a'\]"),
        (["O", "NOUN"], "'NOUN' is no tag of a span"),
    ],
)
def test_constraints_need_the_tags_of_the_scheme(names, message):
    with pytest.raises(ValueError, match=message):
        LegalPaths.of_tags(names, "bio")


def test_two_thousand_sentences_decode_well_under_a_second():
    names = tag_names([f"slot{number}" for number in range(39)], "bio")
    legal = LegalPaths.of_tags(names, "bio")
    scores = np.random.default_rng(0).normal(size=(2000, 25, len(names)))  # hardly one is legal
    began = time.process_time()
    for sentence in scores:
        best_legal_path(sentence, legal)
    assert time.process_time() - began < 2.0
