"""States that are computed once more change no gradient, and are not kept meanwhile."""

import copy
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.packing import packed_encoder
from mtl_nlp.model.recomputing import check_recomputes, recompute
from mtl_nlp.run import check, train
from tests.runs import log_of, tiny_recipe
from tests.tiny import VOCABULARY, tiny_config, tiny_encoder

PACKED = ("bert", "roberta", "distilbert", "electra")
LENGTHS = torch.tensor([9, 3, 30, 12])
MASK = (torch.arange(30) < LENGTHS[:, None]).long()


def encoder_of(architecture: str) -> PreTrainedModel:
    """A tiny encoder with dropout, the same each time."""
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(architecture))
    return model.get_encoder() if model.config.is_encoder_decoder else model


def backward(encoder: PreTrainedModel, *, again: bool) -> tuple[dict[str, Tensor], int]:
    """Gradients by name, and how many numbers were kept for them between forward and backward."""
    packed = packed_encoder(encoder)
    if again:
        recompute(encoder)
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    encoder.train()
    torch.manual_seed(1)
    input_ids = torch.randint(5, len(VOCABULARY), MASK.shape)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if packed is not None:
            states, _ = packed(input_ids, MASK)
        else:
            states = encoder(input_ids=input_ids, attention_mask=MASK).last_hidden_state
    (states.sin() * MASK[..., None]).sum().backward()
    return {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}, kept


@pytest.mark.parametrize("architecture", [*PACKED, "modernbert", "deberta-v2", "t5"])
def test_gradients_are_the_same_bit_for_bit_and_less_is_kept(architecture: str) -> None:
    encoder = encoder_of(architecture)
    assert (packed_encoder(encoder) is not None) == (architecture in PACKED)
    wanted, all_kept = backward(copy.deepcopy(encoder), again=False)
    found, kept = backward(encoder, again=True)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert kept < all_kept / 2


@pytest.mark.parametrize("architecture", ["albert", "mpnet"])
def test_an_encoder_that_cannot_is_refused_before_training(
    tmp_path: Path, architecture: str
) -> None:
    recipe = tiny_recipe(tmp_path, training__gradient_checkpointing=True)
    tiny_encoder(tmp_path / architecture, architecture)
    recipe = recipe.with_overrides([f"encoder={tmp_path / architecture}"])
    name = type(encoder_of(architecture)).__name__
    match = re.escape(f"training.gradient_checkpointing: transformers offers none for {name};")
    with pytest.raises(RecipeError, match=match):
        check(recipe)


def test_looking_whether_it_can_leaves_an_encoder_as_it_was() -> None:
    encoder = encoder_of("bert")
    check_recomputes(encoder)
    assert not any(getattr(one, "gradient_checkpointing", False) for one in encoder.modules())


@pytest.mark.slow
def test_a_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, dropout=0.1, training__max_steps=6, evaluation__every=3)
    again = ["training.gradient_checkpointing=true", f"output={tmp_path / 'again'}"]
    one, two = train(recipe).path, train(recipe.with_overrides(again)).path
    assert log_of(one) == log_of(two)
    weights = [load_file(path / "model.safetensors") for path in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
