"""Scores of spans against a loop over all of them, and their independence of padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.heads.spans import SpanHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words
from tests.spans import WORDS_OF_ROWS, states_of


def head_of(*, max_width: int = 3, pooling: Pooling = "first", dropout: float = 0.0) -> SpanHead:
    torch.manual_seed(0)
    return SpanHead(8, 2, max_width=max_width, pooling=pooling, dropout=dropout).eval()


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("max_width", [1, 3, 9])
@settings(deadline=None, max_examples=20)
@given(rows=WORDS_OF_ROWS)
@torch.no_grad()
def test_a_span_is_scored_from_its_ends_and_its_width(
    pooling: Pooling, max_width: int, rows: list[list[int]]
) -> None:
    head, states = head_of(max_width=max_width, pooling=pooling), states_of(rows)
    logits = head(states)
    vectors, present = pool_words(states, pooling)
    assert logits.shape == (*present.shape, max_width, 2)
    for row, start, more in torch.ones(*present.shape, max_width).nonzero().tolist():
        end = start + more
        if end < present.shape[1] and present[row, start] and present[row, end]:
            ends = head.start(vectors[row, start]) + head.end(vectors[row, end])
            features = F.gelu(ends + head.width.weight[more])
            expected = head.score.weight @ features + head.score.bias - 4.6
            torch.testing.assert_close(logits[row, start, more], expected, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(WORDS_OF_ROWS, st.integers(0, 7))
@torch.no_grad()
def test_company_and_padding_change_nothing(rows: list[list[int]], spare: int) -> None:
    head, states = head_of(), states_of(rows, spare)
    together = head(states)
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
        for more in range(min(size, head.max_width)):  # words past the sub-words are cut off
            here = slice(size - more), more
            torch.testing.assert_close(together[row][here], alone[0][here], rtol=0, atol=1e-5)


def test_a_new_head_holds_every_span_unlikely() -> None:
    logits = head_of()(states_of([[-1, 0, 1, 2, -1]]))
    assert logits.sigmoid().mean().item() < 0.03


def test_half_precision_gives_whole_logits() -> None:
    head = head_of().to(torch.bfloat16)
    states = states_of([[-1, 0, 1, 2, -1]])
    half = EncoderStates(
        states.hidden_states.to(torch.bfloat16), states.attention_mask, states.words
    )
    assert head(half).dtype == torch.float32
    torch.testing.assert_close(head(half), head_of()(states), rtol=0.05, atol=0.05)


def test_under_autocast_the_hidden_layer_is_half_precision() -> None:
    head, states, kept = head_of(), states_of([[-1, 0, 1, 2, -1]]), []

    def keep(one: Tensor) -> Tensor:
        kept.append(one)
        return one

    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one),
    ):
        head(states).sum().backward()
    widest = [one.dtype for one in kept if one.shape[-2:] == (5, 8)]
    assert widest
    assert widest.count(torch.float32) == 0


def test_it_is_built_without_memory() -> None:
    with torch.device("meta"):
        head = SpanHead(8, 2, max_width=3, pooling="mean", dropout=0.1)
    assert {parameter.device.type for parameter in head.parameters()} == {"meta"}
    assert not list(head.buffers())
