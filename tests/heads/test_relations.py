"""Scores of pairs of words against the formula, and their independence of padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.heads.biaffine import Biaffine
from mtl_nlp.heads.relations import RelationHead, unpacked
from mtl_nlp.heads.spans import SpanHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words
from tests.spans import WORDS_OF_ROWS, states_of

SIZES = {"span_labels": 2, "relations": 3, "max_width": 2}


def head_of(*, pooling: Pooling = "first", dropout: float = 0.0) -> RelationHead:
    torch.manual_seed(0)
    head = RelationHead(8, **SIZES, pooling=pooling, dropout=dropout).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return head


def biaffine(module: Biaffine, head: Tensor, tail: Tensor) -> Tensor:
    """The formula of Dozat & Manning for one pair of words, (relations,)."""
    weight, bias = module.weight.weight.view(3, 101, 100), module.weight.bias.view(3, 101)
    h = F.leaky_relu(module.as_dependent(head), 0.1)
    t = F.pad(F.leaky_relu(module.as_head(tail), 0.1), (0, 1), value=1.0)
    return torch.einsum("rij,i,j->r", weight, t, h) + bias @ t


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@settings(deadline=None, max_examples=15)
@given(rows=WORDS_OF_ROWS)
@torch.no_grad()
def test_spans_are_those_of_the_span_head_and_pairs_of_words_biaffine(
    pooling: Pooling, rows: list[list[int]]
) -> None:
    head, states = head_of(pooling=pooling), states_of(rows)
    vectors, present = pool_words(states, pooling)
    spans, pairs = unpacked(head(states), **SIZES)
    seq_len = present.shape[1]
    assert isinstance(head.spans, SpanHead)
    assert torch.equal(spans, head.spans(states))
    assert pairs.shape == (len(rows), seq_len, seq_len, 2, 3)
    there = (present[:, :, None] & present[:, None]).nonzero().tolist()
    for row, h, t in there[:8]:
        for table, module in enumerate((head.first, head.last)):
            expected = biaffine(module, vectors[row, h], vectors[row, t]) - 2.3
            torch.testing.assert_close(pairs[row, h, t, table], expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(WORDS_OF_ROWS, st.integers(0, 7))
@torch.no_grad()
def test_company_and_padding_change_nothing(rows: list[list[int]], spare: int) -> None:
    head, states = head_of(), states_of(rows, spare)
    together = unpacked(head(states), **SIZES)[1]
    assert states.words is not None
    for row, words in enumerate(rows):
        size = len(words)
        alone = head(
            EncoderStates(
                states.hidden_states[row, None, :size],
                states.attention_mask[row, None, :size],
                states.words[row, None, :size],
            )
        )
        pairs = unpacked(alone, **SIZES)[1][0]
        torch.testing.assert_close(together[row, :size, :size], pairs, rtol=0, atol=1e-5)


@torch.no_grad()
def test_filled_up_with_0_on_the_right_logits_are_unpacked_alike() -> None:
    logits = head_of()(states_of([[-1, 0, 1, 2, -1]]))
    filled = F.pad(logits, (0, 2 * 2 * 3))  # two words more
    for one, other in zip(unpacked(filled, **SIZES), unpacked(logits, **SIZES), strict=True):
        assert torch.equal(one[:, :, : other.shape[2]], other)
    for one, other in zip(
        unpacked(logits.numpy(), **SIZES), unpacked(logits, **SIZES), strict=True
    ):
        assert np.array_equal(one, other.numpy())


def test_a_new_head_holds_every_relation_unlikely() -> None:
    torch.manual_seed(0)
    head = RelationHead(8, **SIZES, pooling="first", dropout=0.0).eval()
    for parameter in head.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.02)  # as models begin
    pairs = unpacked(head(states_of([[-1, 0, 1, 2, -1]])), **SIZES)[1]
    assert pairs.sum(dim=3).sigmoid().mean().item() < 0.03


def test_half_precision_gives_whole_logits() -> None:
    states = states_of([[-1, 0, 1, 2, -1]])
    with torch.autocast("cpu", torch.bfloat16):
        half = head_of()(states)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, head_of()(states), rtol=0.05, atol=0.05)


def test_it_is_built_without_memory() -> None:
    with torch.device("meta"):
        head = RelationHead(8, **SIZES, pooling="mean", dropout=0.1)
    assert {parameter.device.type for parameter in head.parameters()} == {"meta"}
    assert not list(head.buffers())


@pytest.mark.parametrize("missing", ["span_labels", "relations"])
def test_a_head_without_labels_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match=r"needs a label of spans and one of relations .*found"):
        RelationHead(8, **{**SIZES, missing: 0}, pooling="first", dropout=0.0)
