"""Padding that is not computed changes nothing but the time."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from mtl_nlp.model.packing import PackedEncoder, Packing, packed_encoder
from tests.tiny import VOCABULARY, tiny_config, tiny_encoder

PACKED = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert")
NOT_PACKED = {
    "modernbert": "its attention is local",
    "deberta-v2": "its positions are relative",
    "mpnet": "its positions are relative",
    "t5": "its positions are relative",
    "xlnet": "its positions are relative",
    "longformer": "its attention is local",
}


def encoder_of(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(architecture))
    return (model.get_encoder() if model.config.is_encoder_decoder else model).eval()


def packed_of(architecture: str) -> PackedEncoder:
    packed = packed_encoder(encoder_of(architecture))
    assert packed is not None
    return packed


def rows_of(lengths: list[int]) -> tuple[Tensor, Tensor]:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.randint(5, len(VOCABULARY), mask.shape), mask


@pytest.mark.parametrize("architecture", PACKED)
@pytest.mark.parametrize("lengths", [[7, 3, 90, 1, 12, 90], [4, 4, 4], [33]])
def test_states_and_gradients_are_those_with_padding(architecture: str, lengths: list[int]) -> None:
    packed = packed_of(architecture)
    padded = copy.deepcopy(packed.encoder)
    input_ids, mask = rows_of(lengths)
    want = padded(input_ids=input_ids, attention_mask=mask).last_hidden_state
    have, _ = packed(input_ids, mask)
    assert not have[mask == 0].any()
    torch.testing.assert_close(have[mask == 1], want[mask == 1], atol=2e-6, rtol=1e-5)
    weights = torch.randn_like(want) * mask[..., None]
    (want * weights).sum().backward()
    (have * weights).sum().backward()
    pairs = [
        (one.grad, other.grad)
        for (name, one), other in zip(
            packed.encoder.named_parameters(), padded.parameters(), strict=True
        )
        if "pooler" not in name and other.grad is not None
    ]
    difference, whole = (
        torch.cat([one.flatten() for one in grads]).norm()
        for grads in ((a - b for a, b in pairs), (b for _, b in pairs))
    )
    assert difference <= 1e-6 * whole


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_every_token_comes_back_to_its_place(lengths: list[int]) -> None:
    input_ids, mask = rows_of(lengths)
    packing = Packing.of(mask)
    assert sum(len(group.places) for group in packing.groups) == sum(lengths)
    tokens = packing.pack(input_ids)
    assert tokens.shape[1] % 32 == 0
    torch.testing.assert_close(packing.unpack(tokens[..., None])[..., 0], input_ids * mask)


@pytest.mark.parametrize("architecture", NOT_PACKED)
def test_an_encoder_that_sees_its_row_otherwise_is_left_padded(architecture: str) -> None:
    assert packed_encoder(encoder_of(architecture)) is None, NOT_PACKED[architecture]


def test_an_encoder_that_recomputes_its_states_is_left_padded() -> None:
    encoder = encoder_of("bert")
    encoder.activation_checkpointing_enable()
    assert packed_encoder(encoder) is None


def test_another_attention_is_left_as_it_was_asked_for(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
    assert packed_encoder(encoder) is None


def test_afterwards_the_encoder_attends_as_before() -> None:
    packed = packed_of("bert")
    input_ids, mask = rows_of([5, 9])
    before = packed.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
    packed(input_ids, mask)
    after = packed.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
    assert torch.equal(before, after)
    assert packed.encoder.config._attn_implementation == "sdpa"
