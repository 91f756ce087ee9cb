"""Invariant 5: saved and loaded, every head gives bit-identical logits on one shared encoder."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoConfig, AutoModel

from mtl_nlp.heads.stock import probe
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import LIFTABLE, NOT_LIFTABLE, tiny_config

TASKS = {
    "z_topic": {"type": "text_classification", "labels": ["b", "a", "c"], "weight": 0.5},
    "ner": {"type": "token_classification", "labels": ["x", "y"], "scheme": "bioes"},
    "pos": {"type": "token_classification", "labels": ["N", "V"], "scheme": "none"},
    "hidden": {"type": "masked_language_modeling"},
    "own": {"type": "text_classification", "labels": ["d", "e"], "stock": False},
    "mixed": {"type": "text_classification", "labels": ["d", "e"], "layers": "mix"},
}


def _model(architecture: str, tasks: list[str], seed: int = 0) -> MultiTaskModel:
    torch.manual_seed(seed)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture), max_seq_length=40))
    for name in tasks:
        model.add_task(name, TASKS[name])
    _disturb(model)
    return model.eval()


@torch.no_grad()
def _disturb(model: MultiTaskModel) -> None:
    """Move every saved number, biases and buffers too, off its initial value."""
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.randn_like(value), alpha=0.3)


@torch.no_grad()
def _logits(model: MultiTaskModel) -> dict[str, Tensor]:
    logits: dict[str, Tensor] = model(**probe(model.encoder)).logits
    return logits


def _check_same(loaded: MultiTaskModel, saved: MultiTaskModel) -> None:
    assert list(loaded.tasks.items()) == list(saved.tasks.items())
    assert not loaded.training
    ours, theirs = _logits(loaded), _logits(saved)
    assert list(ours) == list(theirs)
    for name, logits in theirs.items():
        assert torch.equal(ours[name], logits), name
    shapes = Counter(tuple(p.shape) for p in loaded.parameters())
    assert shapes == Counter(tuple(p.shape) for p in saved.parameters()), "one encoder, no copies"


@pytest.mark.parametrize("architecture", [*LIFTABLE, *NOT_LIFTABLE])
def test_every_architecture_comes_back(architecture: str, tmp_path: Path) -> None:
    saved = _model(architecture, list(TASKS))
    saved.save_pretrained(tmp_path)
    _check_same(load_model(tmp_path), saved)


@settings(max_examples=8, deadline=None)
@given(
    tasks=st.permutations(list(TASKS)).flatmap(
        lambda names: st.integers(0, len(names)).map(lambda n: names[:n])
    ),
    seed=st.integers(0, 2**31),
)
def test_any_tasks_in_any_order_come_back(
    tmp_path_factory: pytest.TempPathFactory, tasks: list[str], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    saved = _model("bert", tasks, seed)
    saved.save_pretrained(folder)
    _check_same(load_model(folder), saved)


def test_in_several_files(tmp_path: Path) -> None:
    saved = _model("roberta", list(TASKS))
    saved.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    _check_same(load_model(tmp_path), saved)


def test_by_the_auto_classes(tmp_path: Path) -> None:
    saved = _model("distilbert", list(TASKS))
    saved.save_pretrained(tmp_path)
    config, loaded = AutoConfig.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert isinstance(config, MultiTaskConfig)
    assert config.max_seq_length == 40
    assert isinstance(loaded, MultiTaskModel)
    _check_same(loaded, saved)


def test_in_half_precision(tmp_path: Path) -> None:
    saved = _model("bert", list(TASKS)).to(torch.bfloat16)
    saved.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.dtype == torch.bfloat16
    _check_same(loaded, saved)


@pytest.mark.parametrize("architecture", ["albert", "modernbert", "t5"])
def test_tasks_added_and_removed_after_loading(architecture: str, tmp_path: Path) -> None:
    first = _model(architecture, ["z_topic", "ner"])
    first.save_pretrained(tmp_path / "first")
    changed = load_model(tmp_path / "first")
    changed.remove_task("z_topic")
    changed.add_task("pos", TASKS["pos"])
    changed.add_task("z_topic", TASKS["z_topic"])
    assert torch.equal(_logits(changed)["ner"], _logits(first)["ner"])
    _disturb(changed)
    changed.save_pretrained(tmp_path / "second")
    again = load_model(tmp_path / "second")
    assert list(again.tasks) == ["ner", "pos", "z_topic"]
    _check_same(again, changed)


def test_saving_again_changes_nothing(tmp_path: Path) -> None:
    _model("bert", list(TASKS)).save_pretrained(tmp_path / "first")
    load_model(tmp_path / "first").save_pretrained(tmp_path / "one")
    load_model(tmp_path / "one").save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
