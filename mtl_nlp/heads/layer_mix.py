"""A head that reads a learned mix of all the encoder's layers instead of the last one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import initialization as init

from mtl_nlp.heads.states import EncoderStates


class LayerMix(nn.Module):
    """A learned mean of an encoder's states, scaled: γ Σ softmax(s)_l h_l.

    Peters et al. (2018, arXiv:1802.05365), equation 1. What the encoder makes of the sub-words
    before its first layer is one of the states, as there. It starts as their plain mean.

    Args:
        states: How many there are, one more than layers.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.empty(states))  # s
        self.scale = nn.Parameter(torch.empty(1))  # γ
        self.reset()

    def reset(self) -> None:
        """Start as the plain mean."""
        init.zeros_(self.scores)
        init.ones_(self.scale)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """The mix, shaped as each of the states, which all have one shape, (…, hidden)."""
        weights = (self.scale * self.scores.softmax(dim=0)).unbind()
        mixed = states[0] * weights[0]
        for state, weight in zip(states[1:], weights[1:], strict=True):
            mixed = mixed + state * weight
        return mixed


class MixingHead(nn.Module):
    """A head that is given a mix of the encoder's layers as its hidden states.

    Args:
        head: What then reads the states.
        states: As of `LayerMix`.
    """

    def __init__(self, head: nn.Module, states: int) -> None:
        super().__init__()
        self.head, self.mix = head, LayerMix(states)


def as_read_by(name: str, states: EncoderStates) -> EncoderStates:
    """The states as the head of a task reads them: where it reads a mix, that in their place."""
    mixed = states.mixed.get(name)
    return states if mixed is None else replace(states, hidden_states=mixed)
