"""The mix of layers against its formula, in NumPy."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.heads.layer_mix import LayerMix, as_read_by
from mtl_nlp.heads.states import EncoderStates

SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=5)


@settings(deadline=None, max_examples=40)
@given(SCORES, st.floats(-3, 3))
def test_it_is_the_scaled_mean_under_the_softmax(scores: list[float], scale: float) -> None:
    mix = LayerMix(len(scores))
    with torch.no_grad():
        mix.scores.copy_(torch.tensor(scores))
        mix.scale.fill_(scale)
    states = [torch.randn(2, 3, 4) for _ in scores]
    shares = np.exp(scores) / np.exp(scores).sum()
    expected = scale * sum(s * h.numpy() for s, h in zip(shares, states, strict=True))
    np.testing.assert_allclose(mix(states).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_it_starts_as_the_plain_mean_and_all_of_it_learns() -> None:
    mix = LayerMix(3)
    states = [torch.randn(2, 3, 4) for _ in range(3)]
    mixed = mix(states)
    torch.testing.assert_close(mixed, torch.stack(states).mean(dim=0))
    mixed.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in mix.parameters())


def test_only_the_head_that_asks_reads_it_and_rows_are_chosen_from_it_too() -> None:
    hidden, mask = torch.randn(3, 2, 4), torch.ones(3, 2, dtype=torch.long)
    states = EncoderStates(hidden, mask, mixed={"a": hidden + 1})
    chosen = states.select(torch.tensor([0, 2]))
    assert torch.equal(as_read_by("a", chosen).hidden_states, hidden[[0, 2]] + 1)
    assert torch.equal(as_read_by("b", chosen).hidden_states, hidden[[0, 2]])
