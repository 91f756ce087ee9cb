"""Biaffine scores against the formula, and what padding must not change."""

import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.heads.biaffine import Biaffine, BiaffineHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling

WORDS = torch.tensor([[-1, 0, 0, 1, 3, -1], [-1, 0, 1, 2, -1, -1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]])


def states(padding: int = 0) -> EncoderStates:
    hidden = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    return EncoderStates(
        F.pad(hidden, (0, 0, 0, padding), value=1e4),
        F.pad(MASK, (0, padding)),
        F.pad(WORDS, (0, padding), value=-1),
    )


def made(pooling: Pooling = "mean") -> BiaffineHead:
    torch.manual_seed(0)
    return BiaffineHead(8, 3, pooling=pooling, dropout=0.3).eval()


@pytest.mark.parametrize("normalize", [False, True])
def test_a_score_is_that_of_the_formula(normalize: bool) -> None:
    torch.manual_seed(0)
    module = Biaffine(8, 5, 3, dropout=0.3, normalize=normalize).eval()
    words, heads = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
    scores = module(words, heads)
    assert scores.shape == (2, 4, 3, 6)
    weight, bias = module.weight.weight.view(3, 6, 5), module.weight.bias.view(3, 6)
    d = F.leaky_relu(module.as_dependent(words[1, 2]), 0.1)
    h = F.leaky_relu(module.as_head(heads[1, 4]), 0.1)
    if normalize:
        projected = module.as_dependent[0](words[1, 2]), module.as_head[0](heads[1, 4])
        d, h = (F.leaky_relu(F.layer_norm(one, (5,)), 0.1) for one in projected)
    for kind in range(3):
        expected = h @ weight[kind, :5] @ d + weight[kind, 5] @ d + bias[kind, :5] @ h
        torch.testing.assert_close(scores[1, 2, kind, 4], expected + bias[kind, 5])


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_padding_changes_no_words_scores(pooling: Pooling) -> None:
    head = made(pooling)
    plain, padded = head(states()), head(states(5))
    assert plain.shape == (2, 6, 4, 7)
    torch.testing.assert_close(padded[:, :6, :, :7], plain, atol=1e-5, rtol=0)
    assert (padded[:, :, 0, 7:] == torch.finfo(torch.float32).min).all()


def test_a_row_alone_has_the_scores_it_has_in_company() -> None:
    head, both = made(), states()
    alone = EncoderStates(both.hidden_states[1:, :5], MASK[1:, :5], WORDS[1:, :5])
    torch.testing.assert_close(head(alone), head(both)[1:, :5, :, :6], atol=1e-5, rtol=0)


def test_only_the_root_and_other_words_can_be_heads() -> None:
    arcs = made()(states())[:, :, 0]
    possible = arcs > torch.finfo(torch.float32).min
    present = torch.tensor([[True, True, True, False, True, False, False],
                            [True, True, True, True, False, False, False]])  # fmt: skip
    itself = F.pad(torch.eye(6, dtype=torch.bool), (1, 0))
    assert torch.equal(possible, present[:, None] & ~itself)


def test_a_word_beyond_its_own_rows_sub_words_is_no_head() -> None:
    words = torch.tensor([[-1, 5, -1, -1, -1, -1], [-1, 0, 1, 2, 3, -1]])
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    arcs = made()(EncoderStates(states().hidden_states, mask, words))[:, :, 0]
    assert (arcs[0, :, 1:] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_stay_finite_in_half_precision(dtype: torch.dtype) -> None:
    head = made()
    with torch.autocast("cpu", dtype=dtype):
        assert head(states()).isfinite().all()


def test_it_builds_without_memory() -> None:
    with torch.device("meta"):
        head = BiaffineHead(8, 3, pooling="mean", dropout=0.0)
    assert {p.device.type for p in head.parameters()} == {"meta"}
