"""Any number of labels per word: read, encoded, lost, decoded, shown and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import MultiLabelBinarizer

from mtl_nlp import train
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding
from mtl_nlp.tasks.class_loss import sigmoid_loss
from mtl_nlp.tasks.multi_label_token_classification import MultiLabelTokenClassification
from mtl_nlp.words import Row, join_words
from tests.runs import steps_of, tiny_recipe
from tests.tasks.test_token_classification import encodings
from tests.tiny import tiny_encoder

LABELS = ("noun", "plural", "verb")
brief = settings(deadline=None, max_examples=60)


def _task(labels: tuple[str, ...] = LABELS) -> MultiLabelTokenClassification:
    return MultiLabelTokenClassification(name="feats", labels=labels)


def _row(*tokens: str) -> Row:
    return Row(join_words(tokens))


words_labels = st.none() | st.lists(st.sampled_from([*LABELS, "new"]), unique=True, max_size=4)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Encoding, list[list[str] | None]]:
    encoding = draw(encodings())
    size = len(encoding.row.words)
    return encoding, draw(st.lists(words_labels, min_size=size, max_size=size))


def _seen(encoding: Encoding) -> list[int]:
    """Words with a sub-word that have a place among as many as there are sub-words."""
    words = encoding.token_words.tolist()
    return [word for word in range(len(words)) if word in words]


# Learning and reading


@pytest.mark.parametrize(
    ("rows", "names", "labels"),
    [
        ([[["b"], None, []], None, [["a", "b"]]], None, ("a", "b")),
        ([[[10, 9], [0]]], None, ("0", "9", "10")),
        ([[["x"]]], ["y", "x"], ("y", "x")),
    ],
)
def test_labels_are_those_of_train(
    rows: list[Any], names: list[str] | None, labels: tuple[str, ...]
) -> None:
    assert _task(()).learn([{"tags": tags} for tags in rows], names).labels == labels


def test_given_labels_stay() -> None:
    assert _task(("q",)).learn([{"tags": [["a"]]}], ["z"]).labels == ("q",)


@pytest.mark.parametrize("rows", [[], [None], [[[], None]]])
def test_rows_without_a_label_teach_nothing(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected some labels in train, found none"):
        _task(()).learn([{"tags": tags} for tags in rows], None)


def test_labels_are_names_or_indices_and_none_comes_twice() -> None:
    tags = [["verb", "noun", "verb"], [], None, [1, "plural"]]
    read = _task().read({"tags": tags}, _row(*"abcd"))
    assert read == [["verb", "noun"], [], None, ["plural"]]
    assert _task().read({"tags": None}, _row("a")) is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([["noun"]], r"2 words but 1 lists of labels; give exactly one list per word, \[\] for"),
        ("nn", "expected a list of labels for every word, found 'nn'"),
        (["noun", []], r"expected a list of labels for word 0, found 'noun'; write \[\] for a"),
        ([[], 3], "expected a list of labels for word 1, found 3"),
        ([[], [7]], "label index 7 is out of range: there are 3 labels, noun, plural, verb"),
        ([[], [None]], "expected a label's name or index, found None"),
    ],
)
def test_what_is_wrong_with_a_label_is_told(tags: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task().read({"tags": tags}, _row("two", "ord"))


# Encoding and the loss


@brief
@given(st.lists(labelled(), min_size=1, max_size=3), st.integers(0, 2))
def test_every_seen_word_has_a_yes_or_no_for_each_label(
    cases: list[tuple[Encoding, list[list[str] | None]]], spare: int
) -> None:
    task = _task()
    seq_len = max(len(encoding.token_words) for encoding, _ in cases) + spare
    rows = [task.encode(value, encoding) for encoding, value in cases]
    assert all(rows)  # an empty list would have no type in a table
    labels = task.collate(Ragged.from_lists(rows), seq_len)
    expected = np.full((len(cases), seq_len, 3), -100)
    for row, (encoding, value) in enumerate(cases):
        for word in _seen(encoding):
            if (names := value[word]) is not None:
                expected[row, word] = [int(label in names) for label in LABELS]
    assert np.array_equal(labels, expected)


@brief
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 5))
def test_the_loss_is_that_of_scikit_learn_over_labelled_words(
    seed: int, rows: int, seq_len: int
) -> None:
    source = np.random.default_rng(seed)
    logits = source.normal(size=(rows, seq_len, 3)).astype(np.float32) * 4
    labels = source.integers(0, 2, size=(rows, seq_len, 3))
    labels[source.random((rows, seq_len)) < 0.4] = -100
    loss = _task().loss(torch.from_numpy(logits), torch.from_numpy(labels))
    known = labels[..., 0] != -100
    yes = torch.from_numpy(logits[known].ravel()).double().sigmoid().numpy()
    expected = (
        log_loss(labels[known].ravel(), np.stack([1 - yes, yes], 1), labels=[0, 1], normalize=False)
        if known.any()
        else 0.0
    )
    assert loss.count.item() == known.sum()
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-4)


def test_words_without_labelling_teach_exactly_nothing() -> None:
    logits = torch.tensor([[[1.0, -2.0, 3.0], [float("inf"), 0.0, 0.0]]], requires_grad=True)
    loss = _task().loss(logits, torch.tensor([[[1, 0, 0], [-100, -100, -100]]]))
    (slope,) = torch.autograd.grad(loss.total, logits)
    assert loss.count.item() == 1
    assert slope[0, 0].all()
    assert not slope[0, 1].any()


# Decoding, showing, scoring


@brief
@given(labelled())
def test_what_is_encoded_is_decoded(case: tuple[Encoding, list[list[str] | None]]) -> None:
    encoding, value = case
    task = _task()
    labels = task.collate(
        Ragged.from_lists([task.encode(value, encoding)]), len(encoding.token_words)
    )
    (decoded,) = task.decode(np.where(labels == 1, 5.0, -5.0).astype(np.float32), [encoding])
    for word in range(len(encoding.row.words)):
        names = value[word] if word in _seen(encoding) else None
        assert decoded.value[word] == [label for label in LABELS if label in (names or ())]
        assert all(score > 0.9 for score in decoded.scores[word])


def test_predictions_are_shown_with_their_words() -> None:
    shown = _task().present(Decoded([["noun", "plural"], []], [[0.9, 0.8], []]), _row("cats", "!"))
    assert shown == {"words": ["cats", "!"], "tags": [["noun", "plural"], []]}
    assert json.loads(json.dumps(shown)) == shown


some_labels = st.lists(st.sampled_from([*LABELS, "new"]), unique=True, max_size=4)


@brief
@given(st.lists(st.lists(st.tuples(st.none() | some_labels, some_labels), max_size=5), max_size=4))
def test_scores_are_those_of_scikit_learn(rows: list[list[tuple[Any, list[str]]]]) -> None:
    task = _task()
    scores = task.metrics(
        [[g for _, g in row] for row in rows], [[r for r, _ in row] for row in rows]
    )
    assert tuple(scores) == task.metric_names
    pairs = [(right, guess) for row in rows for right, guess in row if right is not None]
    occurring = {name for pair in pairs for names in pair for name in names}
    if not occurring:
        assert scores == {"micro_f1": 0.0, "macro_f1": 0.0}
        return
    # With one column alone scikit-learn would take yes and no for two labels.
    table = MultiLabelBinarizer(classes=[*sorted(occurring), "never"])
    right, found = (table.fit_transform(list(sets)) for sets in zip(*pairs, strict=True))
    for average in ("micro", "macro"):
        columns = range(len(occurring))
        expected = f1_score(right, found, labels=columns, average=average, zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(expected)


def test_the_labels_of_all_words_occur() -> None:
    assert list(_task().occurrences([["a", "b"], None, [], ["a"]])) == ["a", "b", "a"]


# The model


def test_the_head_comes_back_from_a_folder(tmp_path: Path) -> None:
    settings = {"type": "multi_label_token_classification", "labels": list(LABELS)}
    saved = MultiTaskModel.from_encoder(tiny_encoder(tmp_path / "encoder"), {"feats": settings})
    saved.eval().save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    ids = torch.randint(5, 50, (2, 6), generator=torch.Generator().manual_seed(0))
    words = torch.tensor([[-1, 0, 0, 1, 2, -1], [-1, 0, 1, 2, 3, -1]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "words": words}
    assert loaded.tasks == saved.tasks
    assert torch.equal(loaded(**batch).logits["feats"], saved(**batch).logits["feats"])
    assert saved(**batch).logits["feats"].shape == (2, 6, 3)


def _rewrite(path: Path) -> None:
    """Give the rows of a file features of their words, some words and rows without."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        features: list[Any] = [
            ["short"] * (len(word) < 4) + ["vowel"] * (word[0] in "aeiou") for word in row["tokens"]
        ]
        features[-1] = None
        row["features"] = [None] * len(features) if number == 0 else features
        row["features"] = None if number == 1 else row["features"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_it_is_trained_from_end_to_end(tmp_path: Path) -> None:
    task = {"type": "multi_label_token_classification", "dataset": "news", "tags": "features"}
    recipe = tiny_recipe(
        tmp_path,
        tasks__features=task,
        training__max_steps=40,
        training__learning_rate=1e-2,
        evaluation__every=40,
    )
    for path in tmp_path.glob("news-*.jsonl"):
        _rewrite(path)
    run = train(recipe)
    losses = [
        step["losses"]["features"] for step in steps_of(run.path) if "features" in step["losses"]
    ]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert run.metrics["test"]["features"].keys() == {"micro_f1", "macro_f1"}
    assert run.metrics["test"]["features"]["micro_f1"] > 0.8


def test_options_weigh_and_smooth_each_yes_or_no() -> None:
    rows: list[dict[str, Any]] = [{"tags": [["a"], ["a", "b"], None]}, {"tags": [["a"], []]}]
    options: dict[str, Any] = {"label_smoothing": 0.2, "focal": 2.0}
    task = MultiLabelTokenClassification(name="t", class_weights="balanced", **options)
    learned = task.learn(rows, None)
    assert learned.labels == ("a", "b")
    assert learned.label_weights == (1 / 3, 3.0)  # a has three of the four words, b one
    logits = torch.tensor([[[1.0, -2.0], [0.5, 3.0]]])
    labels = torch.tensor([[[1, 0], [-100, -100]]])
    expected = sigmoid_loss(
        logits[0, :1], labels[0, :1], weights=(1 / 3, 3.0), smoothing=0.2, focal=2
    )
    torch.testing.assert_close(learned.loss(logits, labels).total, expected)
    assert learned.loss(logits, labels).count == 1
