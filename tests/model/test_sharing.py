"""Adapters beside a frozen encoder: shared, per task, merged, exported, saved without it."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.stock import probe
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.model.layers import NO_MIXES
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe_sharing import sharing_spec
from tests.hub_server import WRITER, HubServer
from tests.tiny import LIFTABLE, tiny_encoder

TASKS: dict[str, dict[str, Any]] = {
    "topic": {"type": "text_classification", "labels": ["a", "b"]},
    "query": {"type": "token_classification", "labels": ["x"], "scheme": "bio"},  # a module's name
    "keys": {"type": "text_classification", "labels": ["a", "b"], "sharing": "query"},
}
SHARED: dict[str, Any] = {"method": "lora", "rank": 4}
WAYS: dict[str, dict[str, Any]] = {
    "shared": SHARED,
    "per task": {**SHARED, "per_task": True, "targets": "all-linear", "layer_norms": True},
    "ia3": {"method": "ia3", "per_task": True},
}
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def model_of(encoder: str | Path, sharing: dict[str, Any], *names: str) -> MultiTaskModel:
    """A model in evaluation mode, all that learns off its initial value."""
    own = {} if sharing is SHARED else {"sharing"}
    tasks = {
        name: {key: value for key, value in TASKS[name].items() if key != "sharing" or own}
        for name in names or TASKS
    }
    torch.manual_seed(0)
    model = MultiTaskModel.from_encoder(encoder, tasks, sharing=sharing)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights += 0.1 * torch.randn_like(weights)
    return model.eval()


@torch.no_grad()
def logits(model: MultiTaskModel, *tasks: str) -> dict[str, Tensor]:
    given: dict[str, Tensor] = model(**probe(model.encoder), tasks=tasks or None).logits
    return given


def learning(model: MultiTaskModel) -> set[str]:
    return {name for name, weights in model.named_parameters() if weights.requires_grad}


def assert_same_bits(one: MultiTaskModel, other: MultiTaskModel) -> None:
    ours, theirs = logits(one), logits(other)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert learning(one) == learning(other)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("bert"))


def test_fresh_adapters_change_nothing_and_they_and_heads_alone_learn(encoder: Path) -> None:
    plain = MultiTaskModel.from_encoder(encoder, {"topic": TASKS["topic"]}).eval()
    model = MultiTaskModel.from_encoder(encoder, {"topic": TASKS["topic"]}, sharing=SHARED).eval()
    batch = probe(model.encoder)
    states = [one.encoder(**batch).last_hidden_state for one in (plain, model)]
    assert torch.equal(*states)
    assert {name.split(".")[0] for name in learning(plain)} == {"encoder", "heads"}
    assert all(".lora_" in name or name.startswith("heads.") for name in learning(model))
    counts = model.count_adapters()
    assert counts["adapters"] == {"shared": 2 * 4 * 4 * (32 + 32)}  # layers, projections, rank


@pytest.mark.parametrize("architecture", ["bert", "albert", "modernbert", "t5"])
@pytest.mark.parametrize("way", WAYS)
def test_saved_and_loaded_it_computes_the_same_bits(
    tmp_path: Path, architecture: str, way: str
) -> None:
    saved = model_of(tiny_encoder(tmp_path / "encoder", architecture), WAYS[way])
    saved.save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert_same_bits(loaded, saved)
    loaded.save_pretrained(tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "model" / file).read_bytes()


@pytest.mark.parametrize("architecture", [name for name in LIFTABLE if name != "deberta-v2"])
@pytest.mark.parametrize("way", ["per task", "ia3"])
def test_each_row_is_computed_with_its_own_adapter(
    tmp_path: Path, architecture: str, way: str
) -> None:
    """The reference is the stock encoder with that adapter alone merged into its weights."""
    model = model_of(tiny_encoder(tmp_path, architecture), WAYS[way])
    batch, together = probe(model.encoder), logits(model)
    found = {}
    for name in TASKS:
        alone = logits(model, name)[name]
        torch.testing.assert_close(alone, together[name], **ROUNDING)
        found[name] = model.stock_encoder(name)(**batch).last_hidden_state
        encode = partial(model._encode, NO_MIXES)
        states, _ = model.read_by_adapter(encode, batch, {name: None}, None)[model.adapter_of(name)]
        torch.testing.assert_close(states, found[name], **ROUNDING)
    assert torch.equal(found["query"], found["keys"])
    assert not torch.allclose(found["query"], found["topic"], atol=1e-3)


@pytest.mark.parametrize("way", ["per task", "ia3"])
def test_checkpointed_activations_are_computed_again_with_the_same_adapters(
    encoder: Path, way: str
) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = model_of(encoder, WAYS[way]).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointed:
            model.activation_checkpointing_enable()
        pieces = [model(**probe(model.encoder)).logits, model(**probe(model.encoder)).logits]
        for piece in pieces:  # the second forward has been before the first backward
            sum(one.square().sum() for one in piece.values()).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_packed_rows_have_their_own_adapters(encoder: Path) -> None:
    model = model_of(encoder, WAYS["per task"])
    model.config.encoder_config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    padded = logits(model)
    assert model.skip_padding()
    packed = logits(model.train())
    mask = probe(model.encoder)["attention_mask"].bool()
    for name in ("topic", "keys"):
        torch.testing.assert_close(packed[name], padded[name], **ROUNDING)
    torch.testing.assert_close(packed["query"][mask], padded["query"][mask], **ROUNDING)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_a_shared_adapter_merges_into_the_encoder(encoder: Path, method: str) -> None:
    model = model_of(encoder, {"method": method}, "topic", "query")
    before = logits(model)
    model.merge_and_unload()
    assert model.sharing is None
    plain = AutoModel.from_pretrained(encoder)
    assert model.encoder.state_dict().keys() == plain.state_dict().keys()
    for name, one in logits(model).items():
        torch.testing.assert_close(one, before[name], **ROUNDING)
    assert all(weights.requires_grad for weights in model.parameters())
    with pytest.raises(ModelError, match="has no adapters to merge"):
        model.merge_and_unload()


def test_several_do_not_but_each_is_exported_with_its_task(encoder: Path, tmp_path: Path) -> None:
    model = model_of(encoder, WAYS["per task"])
    with pytest.raises(ModelError, match="query, topic cannot all be merged into one encoder"):
        model.merge_and_unload()
    before = logits(model)
    for name in ("topic", "keys"):
        export_transformers(model, name, tmp_path / name)
        stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / name).eval()
        found = stock(**probe(model.encoder)).logits
        torch.testing.assert_close(found, before[name], **ROUNDING)
    assert all(torch.equal(one, before[name]) for name, one in logits(model).items())


def test_tasks_come_and_go_with_their_adapters(encoder: Path) -> None:
    model = model_of(encoder, WAYS["per task"], "topic", "keys")
    before = logits(model)
    model.add_task("more", TASKS["topic"])
    model.add_task("other", {**TASKS["topic"], "sharing": "topic"})
    assert model.count_adapters()["adapters"].keys() == {"more", "query", "topic"}
    torch.testing.assert_close(logits(model)["keys"], before["keys"], **ROUNDING)
    assert model.lifted_head(model.tasks["more"]) is not None
    model.remove_task("more")
    model.remove_task("topic")
    torch.testing.assert_close(logits(model)["keys"], before["keys"], **ROUNDING)
    model.remove_task("other")
    assert model.count_adapters()["adapters"].keys() == {"query"}
    torch.testing.assert_close(logits(model)["keys"], before["keys"], **ROUNDING)


@pytest.mark.parametrize(
    ("architecture", "sharing", "message"),
    [
        ("bert", {"targets": ["querry"]}, "no linear layer .* is called 'querry'; did you mean"),
        ("xlnet", {}, "XLNetModel has no linear layers in its attention; use all-linear"),
        ("deberta-v2", {"per_task": True}, "cannot have several adapters in one batch"),
        ("bert", {"rankk": 4}, "sharing.rankk: unknown key; did you mean `rank`"),
        ("bert", {"save": "trained"}, "is no repository there, so nobody else could load"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, architecture: str, sharing: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        model_of(tiny_encoder(tmp_path, architecture), {"method": "lora", **sharing})


@pytest.mark.parametrize("way", WAYS)
def test_saved_without_its_encoder_it_is_loaded_with_that_of_the_hub(
    hub: HubServer, encoder: Path, tmp_path: Path, way: str
) -> None:
    hub.create("org/encoder")
    files = {path.name: path.read_bytes() for path in encoder.iterdir()}
    commit = hub.commit("org/encoder", files, "Add the encoder")
    sharing = {**WAYS[way], "save": "trained"}
    model = model_of("org/encoder", sharing, "topic", "query")
    learned = learning(model)
    model.requires_grad_(False)  # which says nothing of what was trained
    model.save_pretrained(tmp_path / "model")
    for name, weights in model.named_parameters():
        weights.requires_grad_(name in learned)
    hub.commit("org/encoder", {"config.json": b"{}"}, "Break the encoder")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["sharing"]["base"] == {"name": "org/encoder", "revision": commit.oid}
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert not any("embeddings.weight" in name or ".base_layer." in name for name in saved)
    assert_same_bits(load_model(tmp_path / "model"), model)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"expected model\.safetensors, which holds a part of wh"):
        load_model(tmp_path / "model")


def test_an_encoder_with_other_weights_than_the_hubs_is_not_left_to_it(
    hub: HubServer, encoder: Path
) -> None:
    hub.create("org/encoder")
    files = {path.name: path.read_bytes() for path in encoder.iterdir()}
    hub.commit("org/encoder", files, "Add the encoder")
    model = model_of("org/encoder", SHARED, "topic")
    model.merge_and_unload()  # as does a warm start
    with pytest.raises(RecipeError, match=r"sharing\.save: .* no longer those of org/encoder"):
        model.share(sharing_spec({**SHARED, "save": "trained"}))
    assert model.sharing is None


def test_it_is_pushed_and_loaded_so(
    hub: HubServer, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    hub.create("org/encoder")
    files = {path.name: path.read_bytes() for path in encoder.iterdir()}
    hub.commit("org/encoder", files, "Add the encoder")
    sharing = {**WAYS["per task"], "save": "trained"}
    model = model_of("org/encoder", sharing, "topic", "query")
    model.push_to_hub("tester/model")
    sent = hub.commits("tester/model")[-1].files
    assert "adapters/query/adapter_model.safetensors" in sent
    assert len(sent["model.safetensors"].content) < len(files["model.safetensors"]) / 4
    assert_same_bits(load_model("tester/model"), model)
    assert_same_bits(AutoModel.from_pretrained("tester/model"), model)


@pytest.mark.parametrize("way", WAYS)
def test_half_precision_comes_back(encoder: Path, tmp_path: Path, way: str) -> None:
    model = model_of(encoder, WAYS[way]).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert {weights.dtype for weights in loaded.parameters()} == {torch.bfloat16}
    assert_same_bits(loaded, model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = logits(model.float())
    for name, one in logits(model).items():
        torch.testing.assert_close(mixed[name].float(), one, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_adapter_files_are_those_of_peft(
    hub: HubServer, encoder: Path, tmp_path: Path, way: str
) -> None:
    hub.create("org/encoder")
    files = {path.name: path.read_bytes() for path in encoder.iterdir()}
    hub.commit("org/encoder", files, "Add the encoder")
    sharing = {**WAYS[way], "save": "trained", "layer_norms": False}
    model = model_of("org/encoder", sharing, "topic", "query")
    model.save_pretrained(tmp_path)
    batch = probe(model.encoder)
    for name in model.count_adapters()["adapters"]:
        peft = PeftModel.from_pretrained(
            AutoModel.from_pretrained(encoder), tmp_path / "adapters" / name
        )
        task = next(task for task in model.tasks if model.adapter_of(task) == name)
        encode = partial(model._encode, NO_MIXES)
        states, _ = model.read_by_adapter(encode, batch, {task: None}, None)[name]
        torch.testing.assert_close(peft(**batch).last_hidden_state, states, **ROUNDING)
