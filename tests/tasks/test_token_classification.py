"""One label per word, or spans of words: read, encoded, lost, decoded, shown and scored."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from transformers import PreTrainedConfig

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding
from mtl_nlp.tasks.schemes import illegal_positions, tag_names
from mtl_nlp.tasks.token_classification import TokenClassification
from mtl_nlp.words import Row, first_subwords, join_words, split_words
from tests.losses import assert_cross_entropy
from tests.tiny import tiny_config

TYPES = ("person", "place")


def _task(**fields: Any) -> TokenClassification:
    return TokenClassification(**{"name": "ner", "labels": TYPES, **fields})


def _row(*tokens: str) -> Row:
    return Row(join_words(tokens))


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Rows of 1 to 7 words with up to 3 sub-words each, some cut off at the end or lost."""
    pieces = draw(st.lists(st.integers(0, 3), min_size=1, max_size=7))
    words = [-1, *np.repeat(np.arange(len(pieces)), pieces), -1]
    cut = draw(st.integers(2, len(words)))
    return Encoding(_row(*"abcdefg"[: len(pieces)]), np.array([*words[: cut - 1], -1]))


@st.composite
def tagged(draw: st.DrawFn, scheme: str = "bio") -> tuple[Encoding, list[str]]:
    """An encoding and a legal BIO tag for each of its words."""
    encoding = draw(encodings())
    tags: list[str] = []
    for _ in range(len(encoding.row.words)):
        allowed = ["O", *(f"B-{t}" for t in TYPES)]
        if tags and tags[-1] != "O":
            allowed.append(f"I-{tags[-1][2:]}")
        tags.append(draw(st.sampled_from(allowed)))
    return encoding, tags


def _logits(task: TokenClassification, ids: list[int]) -> np.ndarray:
    """Logits (1, seq_len, num_labels) that favour these tags."""
    return 9 * np.eye(len(task.logit_names), dtype=np.float32)[np.maximum(ids, 0)][None]


# Learning and reading


@pytest.mark.parametrize(
    ("rows", "names", "scheme", "labels"),
    [
        ([["B-b", "O"], None, ["I-a"]], None, "bio", ("a", "b")),
        ([["S-b", "O"], ["B-a", "E-a"]], None, "bioes", ("a", "b")),
        ([["O"]], ["O", "B-y", "I-y", "B-x"], "bio", ("y", "x")),
        ([["N", None, "V"], None], None, "none", ("N", "V")),
        ([["N"]], ["V", "N"], "none", ("V", "N")),
        ([[1, 0, 10]], None, "none", ("0", "1", "10")),
    ],
)
def test_labels_are_those_of_train(
    rows: list[Any], names: list[str] | None, scheme: str, labels: tuple[str, ...]
) -> None:
    task = _task(labels=(), scheme=scheme).learn([{"tags": tags} for tags in rows], names)
    assert task.labels == labels


def test_labels_of_entities_are_learned() -> None:
    rows = [
        {"entities": [{"start": 0, "end": 1, "label": "b"}, {"start": 2, "end": 3, "label": "a"}]},
        {"entities": None},
        {"entities": []},
        {"entities": {"start": [0], "end": [1], "label": ["c"]}},
    ]
    assert _task(labels=()).learn(rows, None).labels == ("a", "b", "c")


def test_given_labels_stay_and_the_commonest_is_learned_without_a_scheme() -> None:
    rows = [{"tags": ["V", "N", "N"]}]
    assert _task(labels=("x",)).learn(rows, None).labels == ("x",)
    task = _task(labels=("V", "N"), scheme="none").learn(rows, None)
    assert (task.labels, task.commonest) == (("V", "N"), "N")


@pytest.mark.parametrize(("scheme", "found"), [("bio", "spans"), ("none", "labels")])
def test_rows_without_a_label_teach_nothing(scheme: str, found: str) -> None:
    rows = [{"tags": None}, {"tags": ["O"] if scheme == "bio" else [None]}]
    with pytest.raises(ValueError, match=f"expected some {found} in train, found none"):
        _task(labels=(), scheme=scheme).learn(rows, None)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize(
    "tags",
    [
        ["I-person", "I-person", "B-person", "O", "I-place"],
        ["B-person", "I-person", "B-person", "O", "B-place"],
        ["B-person", "E-person", "S-person", "O", "S-place"],
        ["B-person", "L-person", "U-person", "O", "U-place"],
    ],
)
def test_every_scheme_is_read_as_the_same_tags(scheme: str, tags: list[str]) -> None:
    read = _task(scheme=scheme).read({"tags": tags}, _row(*"abcde"))
    assert read == ["B-person", "I-person", "B-person", "O", "B-place"]


def test_without_a_scheme_tags_are_names_or_indices() -> None:
    task = _task(labels=("N", "V"), scheme="none")
    assert task.read({"tags": ["V", 0, None]}, _row(*"abc")) == ["V", "N", None]


@pytest.mark.parametrize("fields", [{"tags": None}, {"entities": None}])
def test_a_missing_label_is_none(fields: Any) -> None:
    assert _task().read(fields, _row("a")) is None


def test_entities_are_the_words_they_share_a_character_with() -> None:
    row = Row(split_words("In Nadia's New York, yes"))
    entities = [
        {"start": 3, "end": 8, "label": "person"},
        {"start": 11, "end": 19, "label": "place"},
    ]
    assert _task().read({"entities": entities}, row) == [
        "O", "B-person", "B-place", "I-place", "O", "O",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tags": ["O"]}, "2 words but 1 tags; give exactly one tag per word"),
        ({"tags": "OO"}, "expected a list of tags, one per word, found 'OO'"),
        ({"tags": ["O", 3]}, "expected tags such as 'O' or 'B-person', found 3"),
        ({"tags": ["O", "person"]}, "'person' is no tag of a span"),
        ({"entities": [{"start": 4, "end": 8, "label": "x"}]}, "outside the text of 7 characters"),
    ],
)
def test_what_is_wrong_with_a_label_is_told(fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task().read(fields, _row("two", "ord"))


# Encoding and the loss


@given(tagged())
def test_a_words_label_stands_on_its_first_sub_word(case: tuple[Encoding, list[str]]) -> None:
    encoding, tags = case
    task = _task()
    ids = task.encode(tags, encoding)
    first = first_subwords(encoding.token_words)
    assert len(ids) == len(encoding.token_words)
    assert [task.logit_names[i] for i in np.array(ids)[first]] == [
        tags[word] for word in encoding.token_words[first]
    ]
    assert all(i == -100 for i in np.array(ids)[~first])


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@given(case=tagged())
def test_what_is_encoded_is_decoded(scheme: str, case: tuple[Encoding, list[str]]) -> None:
    encoding, tags = case
    words = set(encoding.token_words)
    if not words >= set(range(len(tags))):
        return  # a word without a sub-word is O, whatever it was
    task = _task(scheme=scheme)
    (decoded,) = task.decode(_logits(task, task.encode(tags, encoding)), [encoding])
    assert decoded.value == tags


def test_labels_that_training_lacks_are_left_out_of_the_loss() -> None:
    encoding = Encoding(_row(*"abc"), np.array([-1, 0, 1, 2, -1]))
    tags = ["B-person", "B-new", "O"]
    assert _task().encode(tags, encoding) == [-100, 1, -100, 0, -100]
    assert _task(scheme="bioes").encode(tags, encoding) == [-100, 4, -100, 0, -100]
    ids = _task(scheme="none", labels=("N", "V")).encode(["V", "X", None], encoding)
    assert ids == [-100, 1, -100, -100, -100]


def test_labels_are_padded_with_the_mark_that_leaves_them_out() -> None:
    labels = Ragged.from_lists([[-100, 1], [0, 2, -100]])
    assert _task().collate(labels, 4).tolist() == [[-100, 1, -100, -100], [0, 2, -100, -100]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6))
def test_the_loss_is_that_of_scikit_learn_over_labelled_words(
    seed: int, rows: int, seq_len: int
) -> None:
    assert_cross_entropy(_task(), seed, rows, seq_len)


# Decoding


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@given(encoding=encodings(), seed=st.integers(0, 2**32 - 1))
def test_decoded_spans_are_always_legal(scheme: str, encoding: Encoding, seed: int) -> None:
    task = _task(scheme=scheme)
    shape = (1, len(encoding.token_words), len(task.logit_names))
    logits = np.random.default_rng(seed).normal(scale=9, size=shape).astype(np.float32)
    (decoded,) = task.decode(logits, [encoding])
    assert len(decoded.value) == len(decoded.scores) == len(encoding.row.words)
    assert illegal_positions(decoded.value, "bio") == []
    assert ((decoded.scores >= 0) & (decoded.scores <= 1)).all()


@given(encodings(), st.integers(0, 2**32 - 1))
def test_words_that_the_encoder_did_not_see_are_outside(encoding: Encoding, seed: int) -> None:
    shape = (1, len(encoding.token_words), 5)
    logits = np.random.default_rng(seed).normal(scale=9, size=shape).astype(np.float32)
    (decoded,) = _task().decode(logits, [encoding])
    unseen = set(range(len(encoding.row.words))) - set(encoding.token_words)
    assert all(decoded.value[word] == "O" for word in unseen)


def test_without_a_scheme_unseen_words_have_the_commonest_label() -> None:
    task = _task(labels=("N", "V"), scheme="none", commonest="V")
    encoding = Encoding(_row(*"abc"), np.array([-1, 0, -1]))
    logits = np.array([[[0, 0], [5, 0], [0, 0]]], dtype=np.float32)
    (decoded,) = task.decode(logits, [encoding])
    assert decoded.value == ["N", "V", "V"]


def test_an_illegal_best_guess_gives_way_to_the_best_legal_one() -> None:
    encoding = Encoding(_row("a"), np.array([0]))
    logits = np.array([[[0.0, 3.0, 4.0, 0.0, 0.0]]], dtype=np.float32)  # O, B-person, I-person …
    (decoded,) = _task().decode(logits, [encoding])
    assert decoded.value == ["B-person"]
    np.testing.assert_allclose(decoded.scores, torch.tensor(logits[0, 0]).softmax(0)[1], rtol=1e-5)


def test_the_second_text_of_a_pair_has_no_tags() -> None:
    row = Row(join_words(["a"]), join_words(["b", "c"]))
    encoding = Encoding(row, np.array([-1, 0, -1, 1, 2, -1]))
    (decoded,) = _task().decode(np.zeros((1, 6, 5), dtype=np.float32), [encoding])
    assert len(decoded.value) == 1


# Showing and scoring


def test_entities_are_shown_as_pipelines_show_them() -> None:
    row = Row(split_words("Anna Lee loved Berlin."))
    tags = ["B-person", "I-person", "O", "B-place", "O"]
    shown = _task().present(Decoded(tags, np.array([0.5, 1.0, 0.9, 0.75, 0.9])), row)
    assert shown == [
        {"entity_group": "person", "word": "Anna Lee", "score": 0.75, "start": 0, "end": 8},
        {"entity_group": "place", "word": "Berlin", "score": 0.75, "start": 15, "end": 21},
    ]
    assert all(type(one["score"]) is float and type(one["start"]) is int for one in shown)


@given(tagged())
def test_a_shown_word_is_exactly_that_slice_of_the_text(case: tuple[Encoding, list[str]]) -> None:
    encoding, tags = case
    shown = _task().present(Decoded(tags, np.ones(len(tags))), encoding.row)
    assert len(shown) == sum(tag.startswith("B-") for tag in tags)
    assert all(one["word"] == encoding.row.words.text[one["start"] : one["end"]] for one in shown)


def test_plain_tags_are_shown_with_their_words() -> None:
    shown = _task(scheme="none").present(Decoded(["N", "V"], np.ones(2)), _row("cats", "run"))
    assert shown == {"words": ["cats", "run"], "tags": ["N", "V"]}


@given(st.lists(st.tuples(tagged(), st.randoms()), min_size=1, max_size=4))
def test_span_scores_are_those_of_seqeval(cases: list[Any]) -> None:
    right = [tags for (_, tags), _ in cases]
    found = [random.sample(tags, len(tags)) for (_, tags), random in cases]
    scores = _task().metrics(found, right)
    assert tuple(scores) == _task().metric_names
    assert scores["f1"] == pytest.approx(f1_score(right, found, zero_division=0))


def test_a_span_of_a_type_that_train_lacks_counts_as_missed() -> None:
    scores = _task().metrics([["B-person", "O"]], [["B-person", "B-new"]])
    assert (scores["precision"], scores["recall"]) == (1.0, 0.5)
    assert scores["per_type"]["new"]["recall"] == 0.0


def test_words_without_a_label_are_not_scored() -> None:
    task = _task(labels=("N", "V"), scheme="none")
    scores = task.metrics([["N", "V", "V"]], [["N", None, "N"]])
    assert scores == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert tuple(scores) == task.metric_names


def test_metrics_of_the_hub_get_tags_as_seqeval_takes_them() -> None:
    predictions, references = [["B-person", "O"], []], [["O", "B-film"], []]
    assert _task(scheme="bioes").hub_values(predictions, references) == (predictions, references)


def test_metrics_of_the_hub_get_ids_of_labelled_words_without_a_scheme() -> None:
    task = _task(scheme="none", labels=("N", "V"))
    predictions, references = [["V", "N"], ["N", "V", "N"]], [["V", None], ["X", "N", "N"]]
    assert task.hub_values(predictions, references) == ([1, 0, 1, 0], [1, 2, 0, 0])


def test_spans_or_labelled_words_are_what_occurs() -> None:
    tags = ["B-person", "I-person", "B-person", "O"]
    assert list(_task().occurrences(tags)) == ["person", "person"]
    assert list(_task(scheme="none").occurrences(["N", None, "V"])) == ["N", "V"]


# Diagnosis


def _diagnose(task: TokenClassification, **datasets: dict[str, list[Any]]) -> list[str]:
    return task.diagnose({
        dataset: {
            split: [({"tags": tags}, _row(*"abcdef"[: len(tags or "a")])) for tags in rows]
            for split, rows in splits.items()
        }
        for dataset, splits in datasets.items()
    })  # fmt: skip


@pytest.mark.parametrize(
    "tags",
    [
        ["I-person", "I-person", "B-person"],
        ["B-person", "I-person", "B-person"],
        ["B-person", "E-person", "S-person"],
        ["B-person", "L-person", "U-person"],
    ],
)
def test_legal_tags_of_any_scheme_are_fine(tags: list[str]) -> None:
    assert _diagnose(_task(), d={"train": [tags, None, ["O", "O"]], "test": [["O"]]}) == []


def test_the_scheme_is_told_from_all_splits_together() -> None:
    train = [["B-person", "E-person"], ["S-place"]]
    assert _diagnose(_task(), d={"train": train, "test": [["B-place", "O"]]}) == [
        "task 'ner', dataset 'd', split test: 1 of 1 tagged rows break bioes and are read"
        " leniently, the first is row 0: word 1, tag 'O'"
    ]


def test_rows_are_numbered_with_those_that_have_no_label() -> None:
    (told,) = _diagnose(_task(), d={"train": [None, ["B-place", "O", "I-place"]]})
    assert "1 of 1 tagged rows break bio" in told
    assert "the first is row 1: word 2, tag 'I-place'" in told


def test_a_dataset_without_tags_has_no_scheme() -> None:
    assert _diagnose(_task(), d={"train": [["S-person"]]}, e={"train": [None]}) == []


def test_without_a_scheme_any_tags_are_fine() -> None:
    assert _diagnose(_task(scheme="none"), d={"train": [["N", "I-x"], [None]]}) == []


# Heads and stock checkpoints


@pytest.mark.parametrize("stock", [True, False])
@pytest.mark.parametrize("scheme", ["bio", "bioes", "none"])
def test_the_head_gives_a_logit_per_tag(stock: bool, scheme: str) -> None:
    task, config = _task(stock=stock, scheme=scheme), tiny_config("bert")
    states = EncoderStates(torch.randn(2, 5, config.hidden_size), torch.ones(2, 5))
    assert task.build_head(config)(states).shape == (2, 5, len(task.logit_names))
    assert len(task.logit_names) == {"bio": 5, "bioes": 9, "none": 2}[scheme]


def _checkpoint(*names: str) -> PreTrainedConfig:
    ids = dict(enumerate(names))
    return PreTrainedConfig(id2label=ids, label2id={name: i for i, name in ids.items()})


@pytest.mark.parametrize(
    ("names", "labels", "scheme"),
    [
        (tag_names(TYPES, "bio"), TYPES, "bio"),
        (["B-x", "I-x", "O"], ("x",), "bio"),
        (["O", "S-x", "B-x", "I-x", "E-x"], ("x",), "bioes"),
        (["O", "U-x", "B-x", "I-x", "L-x"], ("x",), "bioes"),
        (["NOUN", "VERB"], ("NOUN", "VERB"), "none"),
    ],
)
def test_a_checkpoint_of_tags_is_taken_in(
    names: list[str], labels: tuple[str, ...], scheme: str
) -> None:
    task = TokenClassification.of_stock("t", _checkpoint(*names))
    assert (task.labels, task.scheme) == (labels, scheme)
    normal = {"L": "E", "U": "S"}
    assert list(task.logit_names) == [normal.get(n[0], n[0]) + n[1:] for n in names]


def test_a_checkpoint_with_half_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a whole bio nor a whole bioes set"):
        TokenClassification.of_stock("t", _checkpoint("O", "I-x", "I-y"))
