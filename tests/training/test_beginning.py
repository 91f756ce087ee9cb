"""That a checkpoint is begun with as it was, tests/properties/test_resume.py tells."""

import pytest
import torch
from transformers import AutoModel

from mtl_nlp.recipe_sharing import sharing_spec
from mtl_nlp.training.beginning import begin_model, count_parameters
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("beginning"), stride=4))


def test_the_encoder_is_the_pretrained_one_and_the_heads_are_fresh(prepared: Prepared) -> None:
    torch.rand(3)  # what was drawn before does not matter
    one, other = begin_model(prepared, say=[]), begin_model(prepared, say=[])
    stock = AutoModel.from_pretrained(prepared.recipe.encoder)
    for name, weights in stock.state_dict().items():
        if not name.startswith("pooler"):
            assert torch.equal(one.encoder.state_dict()[name], weights)
    assert [*one.heads] == ["intent", "ner", "topic"]
    states = one.state_dict(), other.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    config = one.config
    assert (config.join, config.long_text, config.stride) == (" ", "cut", 4)


def test_every_parameter_is_counted_once(prepared: Prepared) -> None:
    model = begin_model(prepared, say=[])
    counted = count_parameters(model)
    assert counted.keys() == {"encoder", "heads"}
    total = sum(p.numel() for p in model.parameters())
    assert counted["encoder"] + sum(counted["heads"].values()) == total
    model.heads["ner"].requires_grad_(False)
    assert count_parameters(model) == {**counted, "learning": total - counted["heads"]["ner"]}
    model.share(sharing_spec({"method": "lora"}))
    beside = count_parameters(model)
    assert beside["encoder"] == counted["encoder"]
    total = sum(p.numel() for p in model.parameters())
    assert beside["adapters"]["shared"] + counted["encoder"] == total - sum(
        counted["heads"].values()
    )
