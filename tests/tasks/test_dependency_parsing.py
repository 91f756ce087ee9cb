"""Dependency trees: read, encoded, decoded, shown and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mtl_nlp import check, pipeline, train
from mtl_nlp.errors import DataError
from mtl_nlp.heads.biaffine import BiaffineHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.ragged import Ragged
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.dependency_parsing import DependencyParsing, Tree
from mtl_nlp.tasks.trees import tree_problem
from mtl_nlp.words import Row, join_words
from tests.tiny import tiny_config, tiny_encoder

LABELS = ("nsubj", "obj", "punct", "root")
LOWEST = float(np.finfo(np.float32).min)


def task(**fields: Any) -> DependencyParsing:
    settings = {"name": "tree", "labels": LABELS, "commonest": "punct", "root_label": "root"}
    return DependencyParsing(**{**settings, **fields})


def row(words: int) -> Row:
    return Row(join_words("abcdefghij"[:words]))


def fields(heads: Any, deprels: Any) -> dict[str, Any]:
    return {"heads": heads, "deprels": deprels}


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Rows of 1 to 7 words with up to 3 sub-words each, some cut off at the end or lost."""
    pieces = draw(st.lists(st.integers(0, 3), min_size=1, max_size=7))
    words = [-1, *np.repeat(np.arange(len(pieces)), pieces), -1]
    cut = draw(st.integers(2, len(words)))
    return Encoding(row(len(pieces)), np.array([*words[: cut - 1], -1]))


def random_tree(words: int, seed: int) -> Tree:
    source = np.random.default_rng(seed)
    order, heads = source.permutation(words), np.zeros(words, dtype=int)
    for place in range(1, words):
        heads[order[place]] = order[source.integers(place)] + 1
    return Tree(tuple(heads.tolist()), tuple(source.choice(LABELS, words).tolist()))


def favouring(labels: np.ndarray) -> np.ndarray:
    """Logits (rows, words, 5, words + 1) that favour these heads and relations."""
    rows, words, _ = labels.shape
    logits = np.zeros((rows, words, 5, words + 1), dtype=np.float32)
    for r, w in np.argwhere(labels[..., 0] >= 0):
        head, label = labels[r, w]
        logits[r, w, 0, head] = logits[r, w, 1 + label, head] = 20
    return logits


# Learning and reading


def test_relations_are_learned_with_the_commonest() -> None:
    rows = [
        fields([2, 0, 2, 2], ["det", "top", "p", "p"]),
        fields(None, None),
        fields(["0", "1"], ["root", "det"]),
        fields([0], ["root"]),
    ]
    learned = task(labels=(), commonest="", root_label="").learn(rows, None)
    assert learned.labels == ("det", "p", "root", "top")
    assert (learned.root_label, learned.commonest) == ("root", "det")
    named = task(labels=()).learn([fields([0], [1])], ["x", "y"])
    assert (named.labels, named.root_label, named.commonest) == (("x", "y"), "y", "y")
    assert task(labels=("z",)).learn(rows, None).labels == ("z",)


def test_rows_without_a_tree_teach_nothing() -> None:
    with pytest.raises(ValueError, match="expected some trees in train, found none"):
        task(labels=()).learn([fields(None, None), fields([], [])], None)


def test_a_tree_is_read() -> None:
    expected = Tree((2, 0), ("obj", "root"))
    assert task().read(fields([2, 0], ["obj", "root"]), row(2)) == expected
    assert task().read(fields(["2", "0"], [1, 3]), row(2)) == expected
    assert task().read(fields(None, None), row(2)) is None


@pytest.mark.parametrize(
    ("heads", "deprels", "message"),
    [
        ([0, 1], ["a", "b"], "3 words but 2 heads; give exactly one per word"),
        ([0, 1, 1], ["a", "b"], "3 heads but 2 deprels; give one of each per word"),
        ([0, 1, 0], ["a", "b", "c"], "expected one word with head 0, the root, found words 1, 3"),
        ([2, 3, 1], ["a", "b", "c"], "expected one word with head 0, the root, found none"),
        ([0, 3, 2], ["a", "b", "c"], "from word 2 the heads lead back to itself"),
        ([0, 1, 4], ["a", "b", "c"], "word 3 has head 4, but there are 3 words"),
        ([0, 1, None], ["a", "b", "c"], "expected the number of a head's word, .* found None"),
        ([0, 1, True], ["a", "b", "c"], "expected the number of a head's word, .* found True"),
        ([0, 1, "-1"], ["a", "b", "c"], "expected the number of a head's word, .* found '-1'"),
        ([0, 1, 1], ["a", "b", None], "expected a label's name or index, found None"),
        (None, ["a", "b", "c"], "expected two lists with .* found heads None"),
        ([0, 1, 1], None, r"expected two lists with .* deprels None"),
    ],
)
def test_what_is_no_tree_is_refused(heads: Any, deprels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task().read(fields(heads, deprels), row(3))


# Encoding and the loss


def test_labels_are_heads_and_relations_of_seen_words_under_seen_heads() -> None:
    tree = Tree((2, 0, 4, 2, 1), ("nsubj", "root", "obj", "new", "punct"))
    encoding = Encoding(row(5), np.array([-1, 0, 0, 1, 3, -1]))
    flat = task().encode(tree, encoding)
    assert flat == [2, 0, 0, 3, -100, -100, 2, -100, -100, -100]
    assert task().encode(tree, Encoding(row(5), np.array([-1, 4]))) == [-100] * 4
    matrix = task().collate(Ragged.from_lists([flat, [0, 3]]), 6)
    assert matrix.shape == (2, 6, 2)
    assert matrix[0, :5].ravel().tolist() == flat
    assert matrix[1].tolist() == [[0, 3]] + [[-100, -100]] * 5
    assert task().count(torch.from_numpy(matrix)).item() == 4


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 5))
def test_the_loss_is_that_of_a_loop_over_words(seed: int, rows: int, words: int) -> None:
    source = np.random.default_rng(seed)
    logits = torch.from_numpy(source.normal(size=(rows, words, 5, words + 1)) * 4)
    labels = np.full((rows, words, 2), -100)
    expected, count = 0.0, 0
    for r, w in np.ndindex(rows, words):
        if source.random() < 0.7:
            head, label = source.integers(words + 1), source.choice([0, 1, 2, 3, -100])
            labels[r, w] = head, label
            expected -= float(logits[r, w, 0].log_softmax(0)[head])
            if label >= 0:
                expected -= float(logits[r, w, 1:, head].log_softmax(0)[label])
            count += 1
    loss = task().loss(logits.float(), torch.from_numpy(labels))
    assert loss.count.item() == count
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-4)


def test_padding_changes_no_loss_and_gives_no_gradient() -> None:
    torch.manual_seed(0)
    head = BiaffineHead(8, 4, pooling="mean", dropout=0.0)
    hidden, words = torch.randn(1, 4, 8), torch.tensor([[-1, 0, 1, -1]])
    labels = torch.tensor([[[2, 0], [0, 3], [-100, -100], [-100, -100]]])
    losses, gradients = [], []
    for padding in (0, 6):
        states = EncoderStates(
            F.pad(hidden, (0, 0, 0, padding), value=50.0),
            F.pad(torch.ones(1, 4), (0, padding)),
            F.pad(words, (0, padding), value=-1),
        )
        head.zero_grad()
        loss = task().loss(head(states), F.pad(labels, (0, 0, 0, padding), value=-100))
        loss.total.backward()
        losses.append(loss.total.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in head.parameters()]))
    torch.testing.assert_close(losses[1], losses[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-5)
    assert gradients[0].isfinite().all()


# Decoding, scoring


@settings(deadline=None, max_examples=40)
@given(encodings(), st.integers(0, 2**32 - 1))
def test_what_is_decoded_is_always_a_tree(encoding: Encoding, seed: int) -> None:
    width = len(encoding.token_words) + 2
    logits = np.random.default_rng(seed).normal(scale=9, size=(1, width, 5, width + 1))
    logits[0, np.arange(width), 0, np.arange(width) + 1] = LOWEST
    (decoded,) = task().decode(logits.astype(np.float32), [encoding])
    words = len(encoding.row.words)
    assert len(decoded.value.heads) == len(decoded.value.deprels) == len(decoded.scores) == words
    assert tree_problem(decoded.value.heads) is None
    assert ((decoded.scores >= 0) & (decoded.scores <= 1)).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_what_is_encoded_is_decoded(words: int, seed: int, pieces: int) -> None:
    tree = random_tree(words, seed)
    encoding = Encoding(row(words), np.array([-1, *np.repeat(np.arange(words), pieces), -1]))
    labels = task().collate(
        Ragged.from_lists([task().encode(tree, encoding)]), len(encoding.token_words)
    )
    (decoded,) = task().decode(favouring(labels), [encoding])
    assert decoded.value == tree
    assert (decoded.scores > 0.99).all()


def test_words_that_the_encoder_misses_stand_under_the_roots_word() -> None:
    tree = Tree((0, 4, 4, 1, 1), ("root", "obj", "obj", "nsubj", "obj"))
    encoding = Encoding(row(5), np.array([-1, 0, 1, 3, -1]))
    labels = task().collate(Ragged.from_lists([task().encode(tree, encoding)]), 5)
    (decoded,) = task().decode(favouring(labels), [encoding])
    expected = Tree((0, 4, 1, 1, 1), ("root", "obj", "punct", "nsubj", "punct"))
    assert decoded.value == expected
    assert decoded.scores[[2, 4]].tolist() == [0, 0]


def test_where_no_word_is_seen_the_first_is_the_root() -> None:
    encoding = Encoding(row(3), np.array([-1, -1]))
    (decoded,) = task().decode(np.zeros((1, 2, 5, 3), dtype=np.float32), [encoding])
    assert decoded.value == Tree((0, 1, 1), ("root", "punct", "punct"))


def test_scores_are_those_of_the_conll_scorer() -> None:
    right = [Tree((2, 0, 2), ("nsubj:pass", "root", "punct")), Tree((0, 1), ("root", "obj"))]
    guess = [Tree((2, 0, 1), ("nsubj", "root", "punct")), Tree((0, 1), ("root", "nmod:obj"))]
    assert task().metrics(guess, right) == {"las": 3 / 5, "uas": 4 / 5}
    assert task().metrics([], []) == {"las": 0.0, "uas": 0.0}
    assert list(task().occurrences(right[1])) == ["root", "obj"]


# In a model and a run


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = MultiTaskModel(MultiTaskConfig(tiny_config()))
    saved.set_head(task(pooling="first"))
    with torch.no_grad():
        for parameter in saved.heads.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    saved.eval().save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    batch = {
        "input_ids": torch.randint(5, 60, (2, 6)),
        "attention_mask": torch.ones(2, 6, dtype=torch.long),
        "words": torch.tensor([[-1, 0, 0, 1, 2, -1], [-1, 0, 1, 2, 3, -1]]),
    }
    assert loaded.tasks == saved.tasks
    assert torch.equal(loaded(**batch).logits["tree"], saved(**batch).logits["tree"])


def tiny_run(folder: Path, rows: list[dict[str, Any]]) -> Recipe:
    for split in ("train", "validation"):
        lines = [json.dumps(one) for one in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")}
    columns = {"heads": "heads", "deprels": "deprels"}
    return Recipe(
        encoder=str(tiny_encoder(folder / "encoder")),
        output=str(folder / "run"),
        datasets={"d": {"path": "json", "data_files": files, "tokens": "tokens"}},
        tasks={"tree": {"type": "dependency_parsing", "dataset": "d", **columns}},
        training={"max_steps": 40, "batch_size": 8, "learning_rate": 0.005, "precision": "fp32"},
    )


ROWS = [
    {"tokens": ["the", "city", "loved", "it"], "heads": [2, 3, 0, 3],
     "deprels": ["det", "nsubj", "root", "obj"]},
    {"tokens": ["she", "works"], "heads": [2, 0], "deprels": ["nsubj", "root"]},
    {"tokens": ["play", "the", "music", "!"], "heads": [0, 3, 1, 1],
     "deprels": ["root", "det", "obj", "punct"]},
    {"tokens": ["it", "was"], "heads": None, "deprels": None},
]  # fmt: skip


def test_trees_are_learned(tmp_path: Path) -> None:
    run = train(tiny_run(tmp_path, ROWS * 2))
    assert run.metrics["validation"]["tree"] == {"las": 1.0, "uas": 1.0}
    assert pipeline(run.path)({"tokens": ROWS[0]["tokens"]})["tree"] == {
        "words": ROWS[0]["tokens"],
        "heads": ROWS[0]["heads"],
        "deprels": ROWS[0]["deprels"],
    }


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    wrong = {"tokens": ["a", "b"], "heads": [0, 0], "deprels": ["root", "root"]}
    expected = r"'d', split train, row 4, column heads, deprels: .*found words 1, 2"
    with pytest.raises(DataError, match=expected):
        check(tiny_run(tmp_path, [*ROWS, wrong]))
