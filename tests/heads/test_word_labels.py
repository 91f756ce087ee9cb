"""Logits of words are those of their pooled sub-words, whatever is padded."""

import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.word_labels import WordHead
from mtl_nlp.heads.words import Pooling

WORDS = torch.tensor([[-1, 0, 0, 1, -1], [-1, 2, 2, 2, -1]])


def states(padding: int = 0) -> EncoderStates:
    hidden = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    return EncoderStates(
        F.pad(hidden, (0, 0, 0, padding), value=1e4),
        F.pad(torch.ones(2, 5), (0, padding)),
        F.pad(WORDS, (0, padding), value=-1),
    )


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_padding_changes_no_words_logits(pooling: Pooling) -> None:
    head = WordHead(4, 3, pooling=pooling, dropout=0.5).eval()
    assert head(states()).shape == (2, 5, 3)
    torch.testing.assert_close(head(states(4))[:, :5], head(states()), atol=1e-6, rtol=0)


def test_a_words_logits_are_those_of_its_vector() -> None:
    head = WordHead(4, 3, pooling="mean", dropout=0.0)
    plain = states()
    expected = head.project(plain.hidden_states[1, 1:4].mean(dim=0))
    torch.testing.assert_close(head(plain)[1, 2], expected)


def test_dropout_is_of_training_only() -> None:
    head = WordHead(4, 3, pooling="mean", dropout=0.5)
    assert not torch.equal(head(states()), head(states()))
    assert torch.equal(head.eval()(states()), head(states()))
