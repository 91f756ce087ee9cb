"""Lemmas: scripts learned, encoded, decoded, shown and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp import check, pipeline, train
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.ragged import Ragged
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.lemmatization import Lemmas, Lemmatization
from mtl_nlp.words import Row, join_words
from tests.losses import assert_cross_entropy
from tests.tiny import tiny_config, tiny_encoder

SCRIPTS = ("lower;>;>", "lower;>;s>", "keep;>;>", "lower;>;ies>y", "=be")


def task(**fields: Any) -> Lemmatization:
    return Lemmatization(**{"name": "lemmas", "labels": SCRIPTS, **fields})


def row(*tokens: str) -> Row:
    return Row(join_words(tokens))


def learned(*pairs: tuple[list[str], Any], **fields: Any) -> Lemmatization:
    rows = [{"words": join_words(words), "lemmas": lemmas} for words, lemmas in pairs]
    return task(labels=(), **fields).learn(rows, None)


def favouring(*ids: int) -> np.ndarray:
    """Logits (1, len(ids), 5) that favour these scripts."""
    return 9 * np.eye(len(SCRIPTS), dtype=np.float32)[list(ids)][None]


# Learning and reading


def test_scripts_are_learned_the_commonest_first() -> None:
    rows = [
        (["Cities", "bodies", "days"], ["city", "body", "day"]),
        (["the", "the", "boys", "is"], ["the", "the", "boy", "be"]),
        (["cats"], ["cat"]),
        (["x"], None),
        (["x"], [None]),
    ]
    expected = ("lower;>;s>", "lower;>;>", "lower;>;ies>y")
    assert learned(*rows).labels == expected
    assert learned(*rows, min_count=3).labels == expected[:1]
    assert learned(*rows, min_count=1).labels == (*expected, "=be")


def test_scripts_stay_where_none_is_common() -> None:
    assert learned((["is", "cats"], ["be", "cat"])).labels == ("=be", "lower;>;s>")


def test_given_scripts_stay_and_are_checked() -> None:
    assert task().learn([], None).labels == SCRIPTS
    with pytest.raises(ValueError, match=r"expected an edit script such as .*, found 'walk'"):
        task(labels=("walk",)).learn([], None)


def test_rows_without_a_lemma_teach_nothing() -> None:
    with pytest.raises(ValueError, match="expected some lemmas in train, found none"):
        learned((["a"], None), (["a"], [None]))


@pytest.mark.parametrize(
    ("lemmas", "message"),
    [
        (["a"], "2 words but 1 lemmas; give exactly one lemma per word"),
        ("ab", "expected a list of lemmas, one per word, found 'ab'"),
        (["a", 3], "expected a lemma or null, found 3"),
        (["a", ""], "expected a lemma or null, found ''; null is for a word without a label"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(lemmas: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task().read({"lemmas": lemmas}, row("two", "words"))
    with pytest.raises(ValueError, match=message):
        learned((["two", "words"], lemmas))


def test_a_row_is_read_as_words_and_lemmas() -> None:
    assert task().read({"lemmas": ["a", None]}, row("A", "b")) == Lemmas(("A", "b"), ("a", None))
    assert task().read({"lemmas": None}, row("A", "b")) is None


@pytest.mark.parametrize("options", [{"min_count": 0}, {"pooling": "max"}, {"min_count": "few"}])
def test_options_are_checked(options: Any) -> None:
    with pytest.raises(RecipeError, match=rf"tasks\.lemmas\.{next(iter(options))}: .*should"):
        build_task("lemmas", "lemmatization", options, where="tasks.lemmas")


# Encoding and the loss


def test_labels_stand_at_the_words_numbers() -> None:
    encoding = Encoding(row("Cats", "are", "", "ponies", "x"), np.array([-1, 0, 0, 1, 3, -1]))
    value = Lemmas(("Cats", "are", "", "ponies", "x"), ("cat", "be", "e", "pony", "x"))
    assert task().encode(value, encoding) == [1, 4, -100, 3, -100]


def test_a_lemma_that_no_script_makes_is_left_out_and_not_refused() -> None:
    value = Lemmas(("went", "cats", "x"), ("go", "cat", None))
    encoding = Encoding(row("went", "cats", "x"), np.array([0, 1, 2]))
    assert task().encode(value, encoding) == [-100, 1, -100]
    assert list(task().occurrences(value)) == ["lower;>;s>"]


def test_a_rarer_script_gives_way_to_a_commoner_one_that_does_the_same() -> None:
    value = Lemmas(("BE",), ("be",))
    assert list(task(labels=("=be",)).occurrences(value)) == ["=be"]


def test_no_more_labels_than_sub_words() -> None:
    encoding = Encoding(row("", "", "a"), np.array([-1, 2]))
    assert task().encode(Lemmas(("", "", "a"), (None, None, "a")), encoding) == [-100, -100]
    assert task().collate(Ragged.from_lists([[1], [0, 2]]), 3).tolist() == [
        [1, -100, -100],
        [0, 2, -100],
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6))
def test_the_loss_is_that_of_scikit_learn_over_labelled_words(
    seed: int, rows: int, seq_len: int
) -> None:
    assert_cross_entropy(task(), seed, rows, seq_len)


# Decoding and scoring


def test_a_script_that_does_not_fit_gives_way_to_the_next_best() -> None:
    logits = np.array([[[0, 2, 1, 3, 0], [0, 0, 1, 3, 2]]], dtype=np.float32)
    (decoded,) = task().decode(logits, [Encoding(row("Cats", "Is"), np.array([0, 1]))])
    assert decoded.value == Lemmas(("Cats", "Is"), ("cat", "be"))
    expected = torch.from_numpy(logits).softmax(-1)[0, [0, 1], [1, 4]].numpy()
    np.testing.assert_allclose(decoded.scores, expected, rtol=1e-6)


def test_words_that_the_encoder_missed_take_the_commonest_script_that_fits() -> None:
    encoding = Encoding(row("cats", "Cats", ""), np.array([-1, 0, -1]))
    (decoded,) = task().decode(favouring(1, 3, 3), [encoding])
    assert decoded.value.lemmas == ("cat", "cats", "be")
    assert task(labels=("lower;>;s>",)).decode(
        np.zeros((1, 1, 1), dtype=np.float32), [Encoding(row("a"), np.array([-1]))]
    )[0].value.lemmas == ("a",)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(range(4)), min_size=1, max_size=6))
def test_what_is_encoded_is_decoded(ids: list[int]) -> None:
    words = tuple("Ponies" for _ in ids)
    lemmas = tuple(("ponies", "ponie", "Ponies", "pony")[i] for i in ids)
    encoding = Encoding(row(*words), np.repeat(np.arange(len(ids)), 2))
    labels = task().encode(Lemmas(words, lemmas), encoding)
    (decoded,) = task().decode(favouring(*labels, 0), [encoding])
    assert decoded.value == Lemmas(words, lemmas)


def test_accuracy_is_of_labelled_words_whatever_their_script() -> None:
    right = [Lemmas(("a", "b"), ("a", None)), Lemmas(("went", "x"), ("go", "x"))]
    guess = [Lemmas(("a", "b"), ("a", "q")), Lemmas(("went", "x"), ("wen", "x"))]
    assert task().metrics(guess, right) == {"accuracy": 2 / 3}
    assert task().metrics([], []) == {"accuracy": 0.0}


def test_lemmas_that_no_script_makes_are_counted() -> None:
    fields = [({"lemmas": ["go", "cat"]}, row("went", "cats")), ({"lemmas": None}, row("a"))]
    told = task().diagnose({"d": {"train": fields[1:], "test": fields}})
    assert told == [
        "task 'lemmas', dataset 'd', split test: 1 of 2 words have a lemma that no edit script"
        " makes and count as errors, the first is 'went' to 'go'"
    ]


# In a model and a run


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = MultiTaskModel(MultiTaskConfig(tiny_config()))
    saved.set_head(task(pooling="last", min_count=3))
    saved.eval().save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    batch = {
        "input_ids": torch.randint(5, 60, (2, 6)),
        "attention_mask": torch.ones(2, 6, dtype=torch.long),
        "words": torch.tensor([[-1, 0, 0, 1, 2, -1], [-1, 0, 1, 2, 3, -1]]),
    }
    assert loaded.tasks == saved.tasks
    assert torch.equal(loaded(**batch).logits["lemmas"], saved(**batch).logits["lemmas"])


def tiny_run(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Recipe:
    for split in ("train", "validation"):
        lines = [json.dumps(one) for one in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")}
    return Recipe(
        encoder=str(tiny_encoder(folder / "encoder")),
        output=str(folder / "run"),
        datasets={"d": {"path": "json", "data_files": files, "tokens": "tokens"}},
        tasks={"lemmas": {"type": "lemmatization", "dataset": "d", "lemmas": "lemmas", **options}},
        training={"max_steps": 30, "batch_size": 8, "learning_rate": 0.01, "precision": "fp32"},
    )


ROWS = [
    {"tokens": ["the", "cities", "loved", "books"], "lemmas": ["the", "city", "love", "book"]},
    {"tokens": ["days", "was", "Bad"], "lemmas": ["day", "be", "bad"]},
    {"tokens": ["films", "is"], "lemmas": ["film", None]},
    {"tokens": ["films"], "lemmas": None},
]


def test_lemmas_are_learned(tmp_path: Path) -> None:
    recipe = tiny_run(tmp_path, ROWS * 2, pooling="mean")
    report = check(recipe)
    assert report["tasks"]["lemmas"]["labels"]["train"] == {
        "lower;>;s>": 6, "lower;>;>": 4, "=be": 2, "lower;>;d>": 2, "lower;>;ies>y": 2,
    }  # fmt: skip
    run = train(recipe)
    assert run.metrics["validation"]["lemmas"]["accuracy"] == 1.0
    assert pipeline(run.path)({"tokens": ["the", "books"]})["lemmas"] == {
        "words": ["the", "books"],
        "lemmas": ["the", "book"],
    }


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    recipe = tiny_run(tmp_path, [*ROWS, {"tokens": ["a", "b"], "lemmas": ["a"]}])
    with pytest.raises(DataError, match=r"'d', split train, row 4, column lemmas: .*2 words but 1"):
        check(recipe)
