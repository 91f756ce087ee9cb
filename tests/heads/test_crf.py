"""The conditional random field against going through all sequences of tags."""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.heads.crf import ANY, CrfHead, crf_decode, crf_loss
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.tasks.schemes import LegalPaths, tag_names

brief = settings(deadline=None, max_examples=60)
BIO = LegalPaths.of_tags(tag_names(["x"], "bio"), "bio")
BIOES = LegalPaths.of_tags(tag_names(["x"], "bioes"), "bioes")
EVERY = LegalPaths(np.ones(3, bool), np.ones((3, 3), bool), np.ones(3, bool))
schemes = pytest.mark.parametrize("legal", [BIO, BIOES, EVERY], ids=["bio", "bioes", "none"])


def allowed_of(legal: LegalPaths) -> Tensor:
    return torch.from_numpy(np.vstack([legal.transition, legal.start, legal.end]))


@dataclass
class Case:
    """Random scores of rows of 0 to 4 words, some of whose tags are known and make a legal row."""

    logits: Tensor
    labels: Tensor
    allowed: Tensor

    @classmethod
    def random(cls, legal: LegalPaths, seed: int, rows: int = 3) -> "Case":
        source = np.random.default_rng(seed)
        width, tags, scale = 4, len(legal.start), source.choice([0.5, 2.0, 30.0])
        logits = source.normal(scale=scale, size=(rows, width, tags)).astype(np.float32)
        moves = source.normal(scale=scale, size=(tags + 2, tags)).astype(np.float32)
        labels = np.full((rows, width), -100)
        for row in labels:
            length = source.integers(0, 5)
            paths = [
                p for p in product(range(tags), repeat=length) if legal.allow(np.array(p, int))
            ]
            path = np.array(paths[source.integers(len(paths))], int)
            row[:length] = np.where(source.random(length) < 0.3, ANY, path)
        whole = np.concatenate([logits, np.broadcast_to(moves, (rows, *moves.shape))], axis=1)
        return cls(torch.from_numpy(whole), torch.from_numpy(labels), allowed_of(legal))

    def sequences(self, legal: LegalPaths, row: int) -> dict[tuple[int, ...], float]:
        """The score of every legal sequence of tags of a row."""
        tags = self.logits.shape[2]
        scores = self.logits[row].double().numpy()
        words, moves = scores[: -tags - 2], scores[-tags - 2 :]
        length = int((self.labels[row] != -100).sum())
        return {
            path: sum(words[word, tag] for word, tag in enumerate(path))
            + sum(moves[a, b] for a, b in pairwise(path))
            + (moves[-2, path[0]] + moves[-1, path[-1]] if path else 0.0)
            for path in product(range(tags), repeat=length)
            if legal.allow(np.array(path, int))
        }

    def admits(self, row: int, path: tuple[int, ...]) -> bool:
        known = self.labels[row, : len(path)].tolist()
        return all(label in (ANY, tag) for label, tag in zip(known, path, strict=True))


def _log_sum(scores: list[float]) -> float:
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0))


@schemes
@brief
@given(st.integers(0, 2**32 - 1))
def test_the_loss_is_what_all_sequences_say(legal: LegalPaths, seed: int) -> None:
    case = Case.random(legal, seed)
    expected = 0.0
    for row in range(len(case.labels)):
        every = case.sequences(legal, row)
        known = [score for path, score in every.items() if case.admits(row, path)]
        expected += _log_sum(list(every.values())) - _log_sum(known)
    loss = crf_loss(case.logits, case.labels, case.allowed)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@schemes
@brief
@given(st.integers(0, 2**32 - 1))
def test_the_best_sequence_and_its_probabilities_are_those_of_all(
    legal: LegalPaths, seed: int
) -> None:
    case = Case.random(legal, seed)
    tags, probabilities = crf_decode(case.logits, case.labels, case.allowed)
    for row in range(len(case.labels)):
        every = {p: s for p, s in case.sequences(legal, row).items() if case.admits(row, p)}
        best = max(every, key=lambda path: every[path])
        assert tuple(tags[row, : len(best)].tolist()) == best
        whole = _log_sum(list(every.values()))
        for word, tag in enumerate(best):
            share = sum(np.exp(score - whole) for path, score in every.items() if path[word] == tag)
            assert probabilities[row, word].item() == pytest.approx(share, abs=1e-6)


@schemes
@brief
@given(seed=st.integers(0, 2**32 - 1), spare=st.integers(1, 3))
def test_padding_and_company_change_nothing(legal: LegalPaths, seed: int, spare: int) -> None:
    case = Case.random(legal, seed)
    tags = case.logits.shape[2]
    words, moves = case.logits[:, : -tags - 2], case.logits[:, -tags - 2 :]
    padded = torch.cat([F.pad(words, (0, 0, 0, spare), value=1e4), moves], dim=1)
    labels = F.pad(case.labels, (0, spare), value=-100)
    alone = [
        crf_loss(case.logits[[row]], case.labels[[row]], case.allowed) for row in range(len(words))
    ]
    together = crf_loss(padded, labels, case.allowed)
    torch.testing.assert_close(together, torch.stack(alone).sum(), rtol=1e-5, atol=1e-5)
    wide, narrow = (
        crf_decode(*one, case.allowed) for one in ((padded, labels), (case.logits, case.labels))
    )
    seen = case.labels != -100
    assert torch.equal(wide[0][:, :4][seen], narrow[0][seen])
    torch.testing.assert_close(wide[1][:, :4][seen], narrow[1][seen])


def test_without_scores_of_neighbours_it_is_the_cross_entropy_of_words() -> None:
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 2, 1, 1, 0], [1, 0, -100, -100, -100]])
    whole = torch.cat([logits, torch.zeros(2, 5, 3)], dim=1)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    torch.testing.assert_close(crf_loss(whole, labels, allowed_of(EVERY)), expected)


@pytest.mark.parametrize("label", [ANY, -100])
def test_a_row_without_a_known_tag_adds_exactly_nothing(label: int) -> None:
    case = Case.random(BIO, 3)
    logits = case.logits.clone().requires_grad_()
    loss = crf_loss(logits, torch.full_like(case.labels, label), case.allowed)
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0.0
    assert not slope.any()


@brief
@given(st.integers(0, 2**32 - 1))
def test_only_words_and_allowed_neighbours_are_learned_from(seed: int) -> None:
    case = Case.random(BIOES, seed)
    logits = case.logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(crf_loss(logits, case.labels, case.allowed), logits)
    assert slope.isfinite().all()
    forbidden = ~case.allowed.expand(len(slope), -1, -1)
    assert not slope[:, -len(case.allowed) :][forbidden].any()
    assert not slope[:, : case.labels.shape[1]][case.labels == -100].any()
    # A word's slopes are differences of two distributions over its tags.
    sums = slope[:, : case.labels.shape[1]].sum(dim=2)
    torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("inference", [True, False])
def test_strange_scores_still_give_an_allowed_sequence(value: float, inference: bool) -> None:
    logits = torch.zeros(1, 3 + 7, 5)
    logits[0, :3, 2] = value
    with torch.inference_mode(inference):
        tags, probabilities = crf_decode(logits.clone(), torch.full((1, 3), ANY), allowed_of(BIOES))
    assert BIOES.allow(tags[0].numpy())
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def _states() -> EncoderStates:
    hidden = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    return EncoderStates(hidden, torch.ones(2, 4), torch.tensor([[0, 0, 1, -1], [-1, 0, 2, 2]]))


def test_the_head_gives_its_scores_of_neighbours_in_every_row() -> None:
    head = CrfHead(8, 3, pooling="first", dropout=0.0)
    logits = head(_states())
    assert logits.shape == (2, 4 + 5, 3)
    torch.testing.assert_close(logits[:, :4], head.words(_states()))
    assert torch.equal(logits[:, 4:], head.moves.weight.expand(2, -1, -1))


def test_the_scores_of_neighbours_are_learned_from_all_rows() -> None:
    head = CrfHead(8, 3, pooling="first", dropout=0.0)
    labels = torch.tensor([[0, 1, -100, -100], [2, ANY, 1, -100]])
    crf_loss(head(_states()), labels, allowed_of(EVERY)).backward()
    whole = head.moves.weight.grad.clone()
    parts = torch.zeros_like(whole)
    for row in range(2):
        head.zero_grad()
        states = _states().select(torch.tensor([row]))
        crf_loss(head(states), labels[[row]], allowed_of(EVERY)).backward()
        parts += head.moves.weight.grad
    torch.testing.assert_close(whole, parts)
    assert whole.any()


def test_in_half_precision_the_loss_is_in_float32() -> None:
    head = CrfHead(8, 3, pooling="mean", dropout=0.0)
    labels = torch.tensor([[0, 1, -100, -100], [2, ANY, 1, -100]])
    expected = crf_loss(head(_states()), labels, allowed_of(EVERY))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = crf_loss(head(_states()), labels, allowed_of(EVERY))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
    states = _states()
    half = EncoderStates(states.hidden_states.bfloat16(), states.attention_mask, states.words)
    assert head.to(torch.bfloat16)(half).dtype == torch.bfloat16


def test_the_head_is_built_without_values() -> None:
    with torch.device("meta"):
        head = CrfHead(8, 3, pooling="first", dropout=0.1)
    assert {tuple(p.shape) for p in head.parameters()} == {(3, 8), (3,), (5, 3)}


def test_no_rows_are_a_loss_of_nothing() -> None:
    logits = torch.zeros(0, 4 + 5, 3, requires_grad=True)
    loss = crf_loss(logits, torch.zeros(0, 4, dtype=torch.long), allowed_of(EVERY))
    loss.backward()
    assert loss.item() == 0.0
