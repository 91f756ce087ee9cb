"""Tasks that read a mix of layers: a mix that is the last layer alone changes nothing anywhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtl_nlp import train
from mtl_nlp.data.collator import Collator
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import ModelError
from mtl_nlp.heads.layer_mix import LayerMix
from mtl_nlp.heads.stock import probe
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from tests.kills import assert_same_bits
from tests.runs import steps_of, tiny_recipe
from tests.tiny import tiny_config, tiny_seq2seq, tiny_tokenizer

POS: dict[str, Any] = {"type": "token_classification", "labels": ["N", "V"], "scheme": "none"}
TOPIC: dict[str, Any] = {"type": "text_classification", "labels": ["a", "b"], "stock": False}
TEXTS = ["good day", "the city works and we love it " * 4, "bad", "old new " * 6]


def model_of(architecture: str, layers: str) -> MultiTaskModel:
    """Tagging, and topics that read it, each from the layers named; weights alike but for mixes."""
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture), max_seq_length=40))
    model.add_task("pos", {**POS, "stock": False, "layers": layers})
    model.add_task("topic", {**TOPIC, "layers": layers, "after": ["pos"]})
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".mix." not in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, LayerMix):
                module.scores[:-1] = -torch.inf
                module.scores[-1] = 0.0
    return model.eval()


def batch_of(encoder: RowEncoder, model: MultiTaskModel) -> Batch:
    rows = encoder.encode([encoder.row({"text": text}) for text in TEXTS])
    collator = Collator(model.tasks, 0)
    every = torch.arange(len(TEXTS)).numpy()
    return collator.rows(rows.encoder_rows, dict.fromkeys(model.tasks, every))


@torch.no_grad()
def logits(model: MultiTaskModel, batch: Batch) -> dict[str, Tensor]:
    found: dict[str, Tensor] = model(**batch).logits
    return found


@pytest.mark.parametrize("long_text", ["cut", "windows"])
def test_a_mix_of_the_last_layer_alone_is_the_last_layer(long_text: Any) -> None:
    plain, mixed = model_of("bert", "last"), model_of("bert", "mix")
    encoder = RowEncoder(tiny_tokenizer(), 14, long_text=long_text, stride=3)
    batch = batch_of(encoder, plain)
    assert (batch.joined is not None) is (long_text == "windows")
    expected = logits(plain, batch)
    assert_same_bits(logits(mixed, batch), expected)
    for model in (plain, mixed):  # to rounding, and with padding that is not computed
        assert model.train().skip_padding()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.encoder.config.attention_probs_dropout_prob = 0.0
    found = logits(mixed, batch)
    for name, one in logits(plain, batch).items():
        torch.testing.assert_close(found[name], one)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "electra", "t5", "bart"])
def test_every_state_of_the_encoder_has_its_part(architecture: str) -> None:
    model = model_of(architecture, "mix")
    with torch.no_grad():
        for i, score in enumerate((0.3, -1.0, 0.5)):
            model.heads["pos"].mix.scores[i] = score  # type: ignore[union-attr]
        model.heads["pos"].mix.scale.fill_(1.5)  # type: ignore[union-attr]
    batch = probe(model.encoder)
    states = model.encoder(**batch, output_hidden_states=True).hidden_states
    shares = torch.tensor([0.3, -1.0, 0.5]).softmax(dim=0)
    mixed = 1.5 * sum(share * state for share, state in zip(shares, states, strict=True))
    own = model.heads["pos"].head
    expected = own.project(mixed)  # type: ignore[union-attr]
    torch.testing.assert_close(model(**batch, tasks=["pos"]).logits["pos"], expected)


def test_recomputed_activations_give_the_same_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model = model_of("bert", "mix").train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if recompute:
            model.encoder.gradient_checkpointing_enable()
        model(**probe(model.encoder), tasks=["topic"]).logits["topic"].square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert any(name.endswith("mix.scores") for name in gradients[0])
    torch.testing.assert_close(*gradients)


def test_layers_are_kept_only_where_a_task_that_runs_asks() -> None:
    model, asked = model_of("bert", "mix"), []
    model.add_task("plain", TOPIC)
    model.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append("output_hidden_states" in kwargs), with_kwargs=True
    )
    for name in ("plain", "pos", "topic"):
        model(**probe(model.encoder), tasks=[name])
    assert asked == [False, True, True]


def test_generation_reads_a_mix_too(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "t5", "t5")
    model = MultiTaskModel.from_encoder(
        folder, {"write": {"type": "text_generation", "layers": "mix", "max_new_tokens": 4}}
    ).eval()
    batch = probe(model.encoder)
    before = model(**batch).logits["write"]
    model.save_pretrained(tmp_path / "saved")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded(**batch).logits["write"], before)
    with pytest.raises(ModelError, match="'write': its head reads a mix of the encoder's layers"):
        export_transformers(model, "write", tmp_path / "out")


def test_such_a_head_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'pos': its head reads a mix of the encoder's layers, so"):
        export_transformers(model_of("bert", "mix"), "pos", tmp_path / "out")


def test_an_encoder_that_hides_layers_is_refused() -> None:
    model = model_of("bert", "last")
    model.encoder.config.num_hidden_layers = 3
    with pytest.raises(ModelError, match=r"tasks.x.layers: mix is not possible: BertModel gives 3"):
        model.add_task("x", {**TOPIC, "layers": "mix"})


def test_a_training_is_the_same_however_cut_and_resumed(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        training__max_steps=4,
        training__checkpoint_every=2,
        training__keep_checkpoints=9,
        training__max_grad_norm=1e9,
        evaluation__every=4,
    )
    tasks = {
        name: {**spec.model_dump(exclude_unset=True), "layers": "mix"}
        for name, spec in recipe.tasks.items()
    }
    recipe = type(recipe)(**{**recipe.model_dump(exclude_unset=True), "tasks": tasks})
    whole, cut = (
        train(recipe.with_overrides([f"output={tmp_path / str(rows)}", *words])).path
        for rows, words in ((16, []), (5, ["training.micro_batch_size=5"]))
    )
    for one, other in zip(steps_of(whole), steps_of(cut), strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    weights = load_file(whole / "model.safetensors")
    moved = {name: one for name, one in weights.items() if ".mix." in name}
    assert len(moved) == 6
    assert all((one != one[0]).any() or one.numel() == 1 for one in moved.values())
    (whole / "checkpoints" / "step-000004").rename(tmp_path / "gone")
    (whole / "metrics.json").unlink()
    train(recipe.with_overrides([f"output={whole}"]), resume=True)
    assert_same_bits(load_file(whole / "model.safetensors"), weights)
