"""Multiple choice heads off their stock models compute what these do."""

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForMultipleChoice, PreTrainedModel

from mtl_nlp.heads.choices import ChoiceHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import lay_anew, lifting_problem
from tests.tiny import LIFTABLE, VOCABULARY, tiny_config


def encoder_of(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModel.from_config(tiny_config(architecture)).eval()


def choices(rows: int, number: int, seq_len: int, seed: int = 0) -> dict[str, Tensor]:
    """Random choices, (rows, number, seq_len), some of them padded."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, len(VOCABULARY), (rows, number, seq_len), generator=generator)
    lengths = torch.randint(1, seq_len + 1, (rows, number, 1), generator=generator)
    return {"input_ids": ids, "attention_mask": (torch.arange(seq_len) < lengths).long()}


def states_of(encoder: PreTrainedModel, batch: dict[str, Tensor]) -> EncoderStates:
    flat = {name: one.flatten(0, 1) for name, one in batch.items()}
    return EncoderStates(encoder(**flat).last_hidden_state, flat["attention_mask"])


@torch.no_grad()
@pytest.mark.parametrize("architecture", LIFTABLE)
@pytest.mark.parametrize(("rows", "number", "seq_len"), [(1, 2, 3), (3, 4, 7), (2, 5, 2)])
def test_logits_are_the_stock_models_bit_for_bit(
    architecture: str, rows: int, number: int, seq_len: int
) -> None:
    encoder, head = encoder_of(architecture), ChoiceHead(tiny_config(architecture)).eval()
    head.adopt_pooler(encoder)
    assert lifting_problem(head, encoder) is None
    for parameter in head.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.3)
    lay_anew(head)
    stock = head.with_encoder(encoder)
    batch = choices(rows, number, seq_len)
    lifted = head(states_of(encoder, batch))
    assert lifted.shape == (rows * number, 1)
    assert torch.equal(lifted.view(rows, number), stock(**batch).logits)


@pytest.mark.parametrize("architecture", ["xlnet", "longformer"])
def test_a_head_that_does_not_fit_is_told_why(architecture: str) -> None:
    problem = lifting_problem(ChoiceHead(tiny_config(architecture)), encoder_of(architecture))
    assert "does not run on hidden states" in str(problem)


@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_an_architecture_without_such_a_class_has_no_head(architecture: str) -> None:
    with pytest.raises(ValueError, match="transformers has no AutoModelForMultipleChoice for "):
        ChoiceHead(tiny_config(architecture))


@torch.no_grad()
def test_a_stock_models_weights_are_taken_and_given_back() -> None:
    stock = AutoModelForMultipleChoice.from_config(tiny_config()).eval()
    head = ChoiceHead(tiny_config()).eval()
    head.adopt(stock)
    batch = choices(2, 3, 5)
    logits = stock(**batch).logits
    assert torch.equal(head(states_of(stock.bert, batch)).view(2, 3), logits)
    assert torch.equal(head.with_encoder(stock.bert)(**batch).logits, logits)
