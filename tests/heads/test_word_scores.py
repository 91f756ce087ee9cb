"""A row of scores for every word."""

import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.word_scores import WordHead
from mtl_nlp.heads.words import Pooling


def _states(padding: int = 0) -> EncoderStates:
    hidden = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    words = torch.tensor([[-1, 0, 0, 1, 3, -1], [-1, 0, -1, -1, -1, -1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    return EncoderStates(
        F.pad(hidden, (0, 0, 0, padding), value=1e4),
        F.pad(mask, (0, padding)),
        F.pad(words, (0, padding), value=-1),
    )


@pytest.mark.parametrize(("pooling", "places"), [("first", [1]), ("last", [2]), ("mean", [1, 2])])
def test_a_words_scores_stand_at_its_number(pooling: Pooling, places: list[int]) -> None:
    head, states = WordHead(4, 3, pooling=pooling, dropout=0.0), _states()
    logits = head(states)
    assert logits.shape == (2, 6, 3)
    expected = head.project(states.hidden_states[0, places].mean(dim=0))
    torch.testing.assert_close(logits[0, 0], expected)
    torch.testing.assert_close(logits[0, 3], head.project(states.hidden_states[0, 4]))
    assert not logits[0, [2, 4, 5]].any()
    assert not logits[1, 1:].any()


def test_padding_never_changes_the_logits() -> None:
    head = WordHead(4, 3, pooling="mean", dropout=0.0)
    torch.testing.assert_close(head(_states(padding=3))[:, :6], head(_states()))


def test_dropout_acts_in_training_only() -> None:
    head = WordHead(4, 3, pooling="first", dropout=0.5)
    assert not torch.equal(head(_states()), head(_states()))
    head.eval()
    assert torch.equal(head(_states()), head(_states()))
