import json
from collections import Counter
from importlib import resources
from itertools import combinations, pairwise
from typing import Any

import pytest

from mtl_nlp.words import split_words

SIZES = {"train": 400, "validation": 100, "test": 100}
SENTIMENTS = ("negative", "neutral", "positive")
ENTITY_LABELS = ("person", "organization", "location", "product")
POSSESSIVES = ("'s", "’s", "'", "’")

Row = dict[str, Any]


def read(name: str) -> str:
    return resources.files("mtl_nlp.corpus").joinpath(name).read_text(encoding="utf-8")


def entities(rows: list[Row]) -> list[tuple[str, Row]]:
    return [(row["text"], entity) for row in rows for entity in row["entities"] or []]


def tokens(text: str) -> list[str]:
    return [word.lower() for word in split_words(text).strings() if word[-1].isalnum()]


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Row]]:
    return {
        split: [json.loads(line) for line in read(f"{split}.jsonl").splitlines()] for split in SIZES
    }


@pytest.fixture(scope="module")
def texts(corpus: dict[str, list[Row]]) -> list[str]:
    return [row["text"] for rows in corpus.values() for row in rows]


@pytest.fixture(params=SIZES)
def rows(request: pytest.FixtureRequest, corpus: dict[str, list[Row]]) -> list[Row]:
    return corpus[request.param]


def test_sizes(corpus: dict[str, list[Row]]) -> None:
    assert {split: len(rows) for split, rows in corpus.items()} == SIZES


def test_rows_follow_the_schema(rows: list[Row]) -> None:
    for row in rows:
        assert list(row) == ["text", "sentiment", "entities"]
        assert isinstance(row["text"], str)
        assert row["sentiment"] is None or row["sentiment"] in SENTIMENTS
        assert row["entities"] is None or isinstance(row["entities"], list)
    for _, entity in entities(rows):
        assert list(entity) == ["start", "end", "label"]
        assert type(entity["start"]) is int
        assert type(entity["end"]) is int
        assert entity["label"] in ENTITY_LABELS


@pytest.mark.parametrize("split", SIZES)
def test_files_are_written_unescaped(split: str) -> None:
    content = read(f"{split}.jsonl")
    rows = [json.loads(line) for line in content.splitlines()]
    assert content == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert not content.isascii()


def test_spans_stand_within_the_text_without_blanks_around(rows: list[Row]) -> None:
    for text, entity in entities(rows):
        assert 0 <= entity["start"] < entity["end"] <= len(text), text
        name = text[entity["start"] : entity["end"]]
        assert name == name.strip(), text


def test_spans_are_sorted_and_do_not_overlap(rows: list[Row]) -> None:
    for row in rows:
        for first, second in pairwise(row["entities"] or []):
            assert first["end"] <= second["start"], row["text"]


def test_spans_begin_and_end_at_words_or_before_a_possessive(rows: list[Row]) -> None:
    for text, entity in entities(rows):
        words = split_words(text)
        assert entity["start"] in words.starts, (text, entity)
        if entity["end"] not in words.ends:
            _, last = words.covering(entity["start"], entity["end"])
            rest = text[entity["end"] : words.ends[last - 1]]
            assert rest in POSSESSIVES, (text, entity)


def test_texts_have_a_plausible_length_and_no_stray_blanks(texts: list[str]) -> None:
    for text in texts:
        assert 3 <= len(tokens(text)) <= 45, text
        assert text == " ".join(text.split())


def test_no_two_texts_are_nearly_the_same(texts: list[str]) -> None:
    assert len(set(texts)) == len(texts)
    bags = [set(tokens(text)) for text in texts]
    for (a, one), (b, other) in combinations(enumerate(bags), 2):
        assert len(one & other) <= 0.6 * len(one | other), (texts[a], texts[b])


def test_no_opening_is_used_more_than_twice(texts: list[str]) -> None:
    openings = Counter(tuple(tokens(text)[:4]) for text in texts)
    assert openings.most_common(1)[0][1] <= 2, openings.most_common(3)


def test_sentiments_are_balanced(rows: list[Row]) -> None:
    counts = Counter(row["sentiment"] for row in rows if row["sentiment"] is not None)
    for sentiment in SENTIMENTS:
        assert 0.28 <= counts[sentiment] / counts.total() <= 0.38, counts


def test_entity_labels_are_frequent_and_balanced(rows: list[Row]) -> None:
    counts = Counter(entity["label"] for _, entity in entities(rows))
    for label in ENTITY_LABELS:
        assert counts[label] >= 0.15 * len(rows), counts
        assert 0.15 <= counts[label] / counts.total() <= 0.35, counts


def test_some_annotated_texts_have_no_entity(rows: list[Row]) -> None:
    assert 0.2 <= sum(row["entities"] == [] for row in rows) / len(rows) <= 0.4


@pytest.mark.parametrize("column", ["sentiment", "entities"])
def test_a_few_labels_are_missing(rows: list[Row], column: str) -> None:
    assert 0.02 <= sum(row[column] is None for row in rows) / len(rows) <= 0.08


def test_guide_gives_the_counts(corpus: dict[str, list[Row]]) -> None:
    guide = read("GUIDE.md")
    for split, rows in corpus.items():
        sentiments = Counter(row["sentiment"] for row in rows)
        labels = Counter(entity["label"] for _, entity in entities(rows))
        counts = [
            len(rows),
            *(sentiments[name] for name in (*SENTIMENTS, None)),
            *(labels[name] for name in ENTITY_LABELS),
            sum(row["entities"] == [] for row in rows),
            sum(row["entities"] is None for row in rows),
        ]
        assert f"| {split} | {' | '.join(map(str, counts))} |" in guide


def test_licence_is_shipped() -> None:
    assert "CC0 1.0 Universal" in read("LICENSE")
    assert "CC0-1.0" in read("GUIDE.md")
