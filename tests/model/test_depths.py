from collections import Counter
from typing import Any

import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from mtl_nlp.heads.stock import probe
from mtl_nlp.model.depths import parameter_depths
from mtl_nlp.model.encoders import shared_part
from tests.tiny import LIFTABLE, NOT_LIFTABLE, tiny_config

FAMILIES = sorted((LIFTABLE | NOT_LIFTABLE).keys() - {"albert"})


def encoder(family: str, **changes: Any) -> PreTrainedModel:
    config = tiny_config(family)
    for key, value in changes.items():
        setattr(config, key, value)
    return shared_part(AutoModel.from_config(config)).eval()


def moved(model: PreTrainedModel, name: str) -> list[bool]:
    """Which states between the layers change with a parameter, from the embeddings' on."""
    batch = probe(model)
    with torch.no_grad():
        before = model(**batch, output_hidden_states=True).hidden_states
        parameter = model.get_parameter(name)
        kept = parameter.clone()
        parameter += torch.randn_like(parameter)
        after = model(**batch, output_hidden_states=True).hidden_states
        parameter.copy_(kept)
    return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_parameter_is_as_deep_as_the_first_state_that_it_moves(family: str) -> None:
    torch.manual_seed(0)
    model = encoder(family)
    depths = parameter_depths(model)
    assert depths.keys() == {name for name, _ in model.named_parameters()}
    assert set(depths.values()) == {0, 1, 2}
    layers = 2
    for name, depth in depths.items():
        changed = moved(model, name)
        if True not in changed:  # it stands idle, or comes after the last state
            continue
        first = changed.index(True)
        if depth == layers:  # embeddings, also those that every layer reads
            assert first <= 1, name
        else:
            assert first >= layers - depth, name


def test_each_layer_has_as_many_parameters() -> None:
    model = encoder("roberta", num_hidden_layers=5)
    depths = parameter_depths(model)
    within = Counter(depth for name, depth in depths.items() if ".layer." in name)
    assert within == dict.fromkeys(range(5), 16)
    assert depths["encoder.layer.4.output.dense.bias"] == 0
    assert depths["encoder.layer.0.output.dense.bias"] == 4
    assert depths["embeddings.LayerNorm.weight"] == 5
    assert depths["pooler.dense.weight"] == 0


def test_layers_that_share_their_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"AlbertModel does not run through each module of '.*' o"):
        parameter_depths(encoder("albert"))


def test_several_stacks_or_none_are_refused() -> None:
    model = encoder("bert")
    model.encoder.second = torch.nn.ModuleList(model.encoder.layer)
    with pytest.raises(ValueError, match=r"expected one longest .*, found several of 2: encoder\."):
        parameter_depths(model)
    del model.encoder.second
    model.encoder.layer = torch.nn.ModuleList()
    with pytest.raises(ValueError, match=r"BertModel cannot be told: .*, found none"):
        parameter_depths(model)
