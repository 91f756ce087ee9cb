"""Our own plain heads."""

import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.heads.linear import PooledHead, TokenHead, hidden_dropout
from mtl_nlp.heads.states import EncoderStates
from tests.tiny import tiny_config


@pytest.fixture
def states() -> EncoderStates:
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    return EncoderStates(hidden, torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]))


def _padded(states: EncoderStates, padding: int) -> EncoderStates:
    junk = F.pad(states.hidden_states, (0, 0, 0, padding), value=1e4)
    return EncoderStates(junk, F.pad(states.attention_mask, (0, padding)))


@pytest.mark.parametrize("padding", [1, 7])
@pytest.mark.parametrize("kind", [PooledHead, TokenHead])
def test_padding_never_changes_the_logits(
    kind: type[PooledHead] | type[TokenHead], padding: int, states: EncoderStates
) -> None:
    head = kind(4, 2, dropout=0.0)
    padded = head(_padded(states, padding))
    padded = padded if kind is PooledHead else padded[:, :5]
    torch.testing.assert_close(padded, head(states))


def test_pooling_is_the_mean_of_the_real_tokens(states: EncoderStates) -> None:
    head = PooledHead(4, 2, dropout=0.0)
    expected = head.project(states.hidden_states[1, :3].mean(dim=0))
    torch.testing.assert_close(head(states)[1], expected)
    torch.testing.assert_close(head(states)[2], head.project(states.hidden_states[2, 0]))


@pytest.mark.parametrize(("kind", "shape"), [(PooledHead, (3, 2)), (TokenHead, (3, 5, 2))])
def test_dropout_acts_in_training_only(
    kind: type[PooledHead] | type[TokenHead], shape: tuple[int, ...], states: EncoderStates
) -> None:
    head = kind(4, 2, dropout=0.5)
    torch.manual_seed(0)
    assert head(states).shape == shape
    assert not torch.equal(head(states), head(states))
    head.eval()
    assert torch.equal(head(states), head(states))


def test_half_precision_stays_half_precision(states: EncoderStates) -> None:
    head = PooledHead(4, 2, dropout=0.0).to(torch.bfloat16)
    half = EncoderStates(states.hidden_states.bfloat16(), states.attention_mask)
    assert head(half).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("bert", "hidden_dropout_prob"), ("distilbert", "dropout"), ("t5", "dropout_rate")],
)
def test_the_dropout_of_the_encoder_is_found(architecture: str, name: str) -> None:
    config = tiny_config(architecture)
    setattr(config, name, 0.25)
    assert hidden_dropout(config) == 0.25


def test_selected_rows_are_those_rows(states: EncoderStates) -> None:
    words = torch.arange(15).reshape(3, 5)
    states = EncoderStates(states.hidden_states, states.attention_mask, words)
    some = states.select(torch.tensor([0, 2]))
    assert torch.equal(some.hidden_states, states.hidden_states[[0, 2]])
    assert torch.equal(some.attention_mask, states.attention_mask[[0, 2]])
    assert some.words is not None
    assert torch.equal(some.words, words[[0, 2]])
    assert states.select(torch.arange(3)) is states
