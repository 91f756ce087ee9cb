"""Random numbers that come again."""

import torch

from mtl_nlp.training.random_state import random_state, set_random_state

CPU = torch.device("cpu")


def test_what_was_drawn_is_drawn_again_and_what_follows_too() -> None:
    torch.rand(3)
    stood = random_state(CPU)
    first, then = torch.rand(5), torch.randn(5)
    set_random_state(stood, CPU)
    assert torch.equal(torch.rand(5), first)
    assert torch.equal(torch.randn(5), then)
