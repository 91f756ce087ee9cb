"""Any name that the recipe format allows is a task's name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.heads.stock import probe
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_encoder

NAMES = [name for name in dir(nn.ModuleDict()) if name.isidentifier()]


def test_names_that_a_module_has_itself_are_task_names() -> None:
    heads = HeadsByTask({name: nn.Linear(1, 1) for name in ("topic", *NAMES)})
    assert list(heads) == list(heads.keys()) == [name for name, _ in heads.items()]
    assert list(heads) == ["topic", *NAMES]
    assert len(heads.state_dict()) == 2 * len(heads)
    heads.train(False)
    for name in NAMES:
        assert name in heads
        assert not heads[name].training
        del heads[name]
    assert list(heads) == ["topic"]
    assert "type" not in heads


def test_weights_bear_the_names_they_always_had() -> None:
    heads = HeadsByTask({"topic": nn.Linear(1, 1), "a": nn.Linear(1, 1)})
    assert list(heads.state_dict()) == list(nn.ModuleDict(dict(heads.items())).state_dict())


@pytest.mark.parametrize("own_head", [True, False])
def test_tasks_of_such_names_are_saved_and_loaded(tmp_path: Path, own_head: bool) -> None:
    names = ("type", "keys", "items", "values", "pop", "train", "forward", "to", "float", "topic")
    kind = "text_classification" if own_head else "token_classification"
    encoder = tiny_encoder(tmp_path / "encoder")
    tasks = {name: {"type": kind, "labels": ["a", "b"]} for name in names}
    model = MultiTaskModel.from_encoder(encoder, tasks).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model").eval()
    batch = probe(model.encoder)
    with torch.no_grad():
        before, after = model(**batch).logits, loaded(**batch).logits
    assert list(after) == list(names)
    assert all(torch.equal(before[name], after[name]) for name in names)
    loaded.remove_task("type")
    assert list(loaded.heads) == list(names[1:])
