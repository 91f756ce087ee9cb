from pathlib import Path

import pytest

from mtl_nlp.errors import ModelError
from mtl_nlp.model.modeling import MultiTaskModel
from tests.hub_server import WRITER, HubServer
from tests.tiny import tiny_encoder


def test_saving_does_not_push_without_tokenizer_and_card(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    model = MultiTaskModel.from_encoder(tiny_encoder(tmp_path / "encoder"), {})
    told = r"leave out the tokenizer and the card; publish with model\.push_to_hub\(repo_id\)"
    with pytest.raises(ModelError, match=told):
        model.save_pretrained(tmp_path / "model", push_to_hub=True, repo_id="tester/b")
    with pytest.raises(ModelError, match=told):
        model.save_pretrained(tmp_path / "model", True, None, True)
    assert not hub.requests
    assert not (tmp_path / "model").exists()
    model.save_pretrained(tmp_path / "model", True, None, False, "1GB")
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_loaded_model_knows_its_source_and_no_token(tmp_path: Path) -> None:
    model = MultiTaskModel.from_encoder(tiny_encoder(tmp_path / "encoder"), {})
    assert model.source is not None
    assert model.source.name == str(tmp_path / "encoder")
    model.save_pretrained(tmp_path / "model")
    source = MultiTaskModel.from_pretrained(tmp_path / "model", token=WRITER).source
    assert source is not None
    assert (source.name, source.revision, source.token) == (str(tmp_path / "model"), None, None)
    assert MultiTaskModel(model.config).source is None
