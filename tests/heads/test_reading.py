"""A head that reads other heads, by example."""

import torch
from torch import nn

from mtl_nlp.heads.reading import ReadingHead
from mtl_nlp.heads.states import EncoderStates

STATES = EncoderStates(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.long))


def test_a_certain_label_adds_its_own_vector() -> None:
    head = ReadingHead(nn.Identity(), 4, {"topic": 2, "type": 3})
    vectors = head.vectors["topic"].weight  # (hidden, labels)
    told = head.tell(STATES, {"topic": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}).hidden_states
    torch.testing.assert_close(told[0], STATES.hidden_states[0] + vectors[:, 0])
    torch.testing.assert_close(told[1], STATES.hidden_states[1] + vectors[:, 1])


def test_a_doubt_adds_the_mean_of_the_vectors_to_its_token() -> None:
    head = ReadingHead(nn.Identity(), 4, {"type": 3})
    probabilities = torch.rand(2, 3, 3).softmax(dim=-1)
    told = head.tell(STATES, {"type": probabilities}).hidden_states
    mean = torch.einsum("rsl,hl->rsh", probabilities, head.vectors["type"].weight)
    torch.testing.assert_close(told, STATES.hidden_states + mean)
