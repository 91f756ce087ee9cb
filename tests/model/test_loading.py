"""Models and tokenizers by folder or Hub id: what is not whole is refused with the mend."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mtl_nlp.errors import HubError, ModelError, RecipeError
from mtl_nlp.heads.stock import probe
from mtl_nlp.model.loading import load_model, load_tokenizer
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.sources import Source
from tests.hub_server import READER, HubServer
from tests.tiny import tiny_encoder, tiny_tokenizer

TASKS = {"topic": {"type": "text_classification", "labels": ["a", "b"]}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    model = MultiTaskModel.from_encoder(tiny_encoder(root / "encoder"), tasks=TASKS)
    model.save_pretrained(root / "model")
    tiny_tokenizer().save_pretrained(root / "model")
    return root / "model"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(whole, tmp_path / "model")


def _change_config(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_whole_model_loads(whole: Path) -> None:
    model = load_model(whole)
    assert list(model.tasks) == ["topic"]
    assert not model.training
    assert load_tokenizer(str(whole))("good film")["input_ids"][0] == 2


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such", "../none", "a/b/c"])
def test_a_folder_that_is_not_there(name: str) -> None:
    for load in (load_model, load_tokenizer):
        with pytest.raises(ModelError, match=f"{name}: there is no such folder"):
            load(name)


def test_a_file_is_no_folder(whole: Path) -> None:
    with pytest.raises(ModelError, match="expected a folder, found a file"):
        load_model(whole / "model.safetensors")


def test_a_folder_without_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"expected config\.json, found none; name a folder that"):
        load_model(folder)


@pytest.mark.parametrize("text", ["{", '{"model_type": "mtl_nlp"', "\x00"])
def test_a_damaged_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"one of its JSON files is damaged .*config\.json"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("model_type"), "expected a model of this package .*, found None"),
        (lambda c: c.update(model_type="bert"), "found 'bert'; a bare encoder is named as"),
        (lambda c: c.pop("tasks"), "must hold encoder_config and a list of tasks"),
        (lambda c: c.update(tasks=["topic"]), "must hold encoder_config and a list of tasks"),
        (lambda c: c["tasks"][0].pop("type"), "must hold encoder_config and a list of tasks"),
        (lambda c: c.pop("encoder_config"), "must hold encoder_config and a list of tasks"),
        (lambda c: c["encoder_config"].pop("model_type"), "does not load with the installed tr"),
        (lambda c: c["encoder_config"].update(model_type="x"), "Unrecognized model identifier: x"),
        (lambda c: c["encoder_config"].update(hidden_size="x"), "does not load with the installed"),
        (lambda c: c["encoder_config"].update(hidden_size=30), "does not load with the installed"),
        (
            lambda c: c["encoder_config"].update(hidden_size=64),
            r"hold in another size: encoder\.embeddings\.LayerNorm\.bias, .* and \d+ more",
        ),
        (
            lambda c: c["tasks"][0].update(labels=["a", "b", "c"]),
            r"another size: heads\.topic\.stock\.classifier\.bias, heads\.topic\.stock\.class",
        ),
    ],
)
def test_a_configuration_that_is_not_of_this_model(
    folder: Path, change: Callable[[dict[str, object]], object], message: str
) -> None:
    _change_config(folder, change)
    with pytest.raises(ModelError, match=f"model .*model: .*{message}"):
        load_model(folder)


def test_a_task_type_of_another_version(folder: Path) -> None:
    _change_config(folder, lambda c: c["tasks"][0].update(type="parsing"))
    with pytest.raises(RecipeError, match=r"config\.json: tasks\.topic: 'parsing' is no task type"):
        load_model(folder)


@pytest.mark.parametrize("key", ["heads.topic.stock.classifier.bias", "encoder.pooler.dense.bias"])
def test_a_missing_weight_is_never_a_random_one(folder: Path, key: str) -> None:
    _change_weights(folder, lambda weights: weights.pop(key))
    with pytest.raises(ModelError, match=f"safetensors files lack or hold in another size: {key};"):
        load_model(folder)


@pytest.mark.parametrize("left", [0, 5, 1000, -1000])
def test_cut_weights(folder: Path, left: int) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:left])
    with pytest.raises(ModelError, match=r"safetensors file is damaged .*; copy or download it ag"):
        load_model(folder)


@pytest.mark.parametrize("pickled", [True, False])
def test_no_weights_or_pickled_ones(folder: Path, pickled: bool) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"expected weights in model\.safetensors, found none"):
        load_model(folder)


def test_a_folder_without_tokenizer(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer .*model: .*does not load"):
        load_tokenizer(folder)
    encoder = tiny_encoder(tmp_path / "encoder")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (encoder / name).unlink()
    with pytest.raises(ModelError, match=r"expected tokenizer\.json, found no vocabulary"):
        load_tokenizer(encoder)


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer .*model: one of its JSON files is damaged"):
        load_tokenizer(folder)


def test_a_tokenizer_without_offsets(tmp_path: Path) -> None:
    """CANINE reads characters and has no fast tokenizer."""
    (tmp_path / "config.json").write_text('{"model_type": "canine"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    with pytest.raises(ModelError, match="CanineTokenizer tells no character offsets"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "revision", "source"),
    [
        ("org/name", None, Source("org/name")),
        ("org/name@v1", None, Source("org/name", "v1")),
        ("org/name@v1", "v1", Source("org/name", "v1")),
        ("org/name", "v1", Source("org/name", "v1")),
        (Path("runs/x"), None, Source("runs/x")),
    ],
)
def test_sources(name: str | Path, revision: str | None, source: Source) -> None:
    assert Source.parse(name, revision) == source


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "run@3").mkdir()
    assert Source.parse(tmp_path / "run@3") == Source(str(tmp_path / "run@3"))


def test_two_revisions_are_one_too_many() -> None:
    with pytest.raises(ModelError, match="org/name@v1: expected one revision, found 'v2' as well"):
        Source.parse("org/name@v1", "v2")


def _publish(hub: HubServer, whole: Path, repo_id: str, *, private: bool = False) -> None:
    hub.create(repo_id, private=private)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    hub.commit(repo_id, files, "Add the model")


def test_a_model_of_the_hub(hub: HubServer, whole: Path) -> None:
    _publish(hub, whole, "org/model")
    for name in ("org/model", "org/model@main"):
        model, local = load_model(name), load_model(whole)
        batch = probe(local.encoder)
        assert torch.equal(model(**batch).logits["topic"], local(**batch).logits["topic"])
    assert len(load_tokenizer("org/model")) == len(tiny_tokenizer())
    with pytest.raises(HubError, match="model org/model@v9: the repository has no revision 'v9'"):
        load_model("org/model@v9")


def test_a_private_model_needs_a_token(hub: HubServer, whole: Path) -> None:
    _publish(hub, whole, "team/secret", private=True)
    with pytest.raises(HubError, match="if the repository is private, log in with `hf auth login`"):
        load_model("team/secret")
    assert list(load_model("team/secret", token=READER).tasks) == ["topic"]
