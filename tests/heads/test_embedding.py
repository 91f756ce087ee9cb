"""A vector for each text."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.heads.embedding import EmbeddingHead
from mtl_nlp.heads.states import EncoderStates


def test_the_mean_is_that_of_the_real_tokens() -> None:
    hidden = torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = EmbeddingHead("mean")(EncoderStates(hidden, mask))
    torch.testing.assert_close(found[0], hidden[0].mean(dim=0))
    torch.testing.assert_close(found[1], hidden[1, :2].mean(dim=0))


def test_the_first_token_stands_for_the_text() -> None:
    hidden = torch.randn(2, 4, 3)
    found = EmbeddingHead("cls")(EncoderStates(hidden, torch.ones(2, 4)))
    assert torch.equal(found, hidden[:, 0])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("padding", [0, 1, 7])
def test_padding_changes_nothing(pooling: Any, padding: int) -> None:
    head = EmbeddingHead(pooling)
    hidden, mask = torch.randn(3, 5, 4), torch.ones(3, 5)
    padded = F.pad(hidden, (0, 0, 0, padding), value=1e4)
    torch.testing.assert_close(
        head(EncoderStates(padded, F.pad(mask, (0, padding)))), head(EncoderStates(hidden, mask))
    )


def test_it_is_in_float32_and_has_no_weights() -> None:
    head = EmbeddingHead("mean")
    states = EncoderStates(torch.randn(2, 5, 4).bfloat16(), torch.ones(2, 5))
    assert head(states).dtype == torch.float32
    assert head.state_dict() == {}
