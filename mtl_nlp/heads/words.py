"""Word vectors from those of their sub-words, for heads that speak of words."""

from typing import Literal

import torch
from torch import Tensor

from mtl_nlp.heads.states import EncoderStates

Pooling = Literal["first", "last", "mean"]
"""Which sub-words stand for a word."""


def pool_words(states: EncoderStates, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """The vectors of words, at the place of their number.

    Args:
        states: With ``words``.
        pooling: A word's first or last sub-word, or the mean of all.

    Returns:
        Vectors (rows, seq_len, hidden), where word ``w`` stands at ``[:, w]``, and which places
        hold a word that has a sub-word, (rows, seq_len); the others are 0. Words numbered
        ``seq_len`` and up, which only words without sub-words before them make, are left out.

    Raises:
        ValueError: If the states come without ``words``.
    """
    if states.words is None:
        raise ValueError("a head of words needs to know them: pass words=, as the collator does")
    words = states.words  # (rows, seq_len)
    numbers = torch.arange(words.shape[1], device=words.device)
    belongs = words[:, None, :] == numbers[:, None]  # (rows, word, sub-word)
    sub_words = belongs.cumsum(dim=2)
    total = sub_words[..., -1:]  # (rows, word, 1)
    if pooling == "first":
        belongs &= sub_words == 1
    elif pooling == "last":
        belongs &= sub_words == total
    shares = belongs.to(states.hidden_states.dtype)
    if pooling == "mean":
        shares = shares / total.clamp(min=1)
    return torch.bmm(shares, states.hidden_states), total[..., 0] > 0
