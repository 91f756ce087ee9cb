"""A saved model called on texts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_nlp.errors import ModelError, UserError
from mtl_nlp.inference.pipeline import MultiTaskPipeline, pipeline
from mtl_nlp.model.modeling import MultiTaskModel
from tests.hub_server import WRITER, HubServer
from tests.tiny import tiny_encoder, tiny_tokenizer

TASKS = {
    "mood": {"type": "text_classification", "labels": ["bad", "good"]},
    "ner": {"type": "token_classification", "labels": ["person"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipeline")
    model = MultiTaskModel.from_encoder(tiny_encoder(made / "encoder"), TASKS, max_length=16)
    model.config.join = "_"
    model.save_pretrained(made / "model")
    tiny_tokenizer().save_pretrained(made / "model")
    return made / "model"


@pytest.fixture(scope="module")
def pipe(folder: Path) -> MultiTaskPipeline:
    return pipeline(folder)


def test_one_text_gives_one_result(pipe: MultiTaskPipeline) -> None:
    found = pipe("Anna loved it")
    assert list(found) == ["mood", "ner"]
    assert found["mood"].keys() == {"label", "score"}
    assert found["mood"]["label"] in ("bad", "good")


def test_a_list_gives_a_list(pipe: MultiTaskPipeline) -> None:
    assert pipe([]) == []
    assert [list(one) for one in pipe(["good"], tasks=["mood"])] == [["mood"]]
    both = pipe([{"text": "good"}, {"tokens": ["good"]}], tasks=["mood"])
    assert both[0] == both[1]
    assert both[0]["mood"]["score"] == pytest.approx(pipe("good")["mood"]["score"], abs=1e-5)


def test_a_loaded_model_encodes_as_it_was_saved(pipe: MultiTaskPipeline) -> None:
    encoder = pipe.predictor.encoder
    assert (encoder.max_length, encoder.join) == (16, "_")
    assert encoder.row({"tokens": ["a", "b"]}).words.text == "a_b"
    assert not pipe.predictor.model.training


def test_loading_twice_gives_the_same(pipe: MultiTaskPipeline, folder: Path) -> None:
    again = pipeline(str(folder), device="cpu", batch_size=1)
    assert again.predictor.batch_size == 1
    assert again.predictor.model.device == torch.device("cpu")
    assert again("good") == pipe("good")


def test_a_model_is_loaded_from_the_hub(
    hub: HubServer, folder: Path, pipe: MultiTaskPipeline
) -> None:
    from mtl_nlp.hub.publish import push_folder

    push_folder(folder, "team/mood", token=WRITER, private=True)
    assert pipeline("team/mood", token=WRITER)("good") == pipe("good")


def test_mistakes_are_user_errors(pipe: MultiTaskPipeline, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'x'; the model has mood, ner"):
        pipe("good", tasks=["x"])
    with pytest.raises(ModelError, match=r"expected config\.json, found none"):
        pipeline(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (b"good", "input: expected a text, or a record such as .*, found .*good"),
        (3, "input: expected a text, .*, found 3"),
        (None, "input: expected a text, .*, found null"),
        (["good", 1], "row 1: expected a text, .*, found 1"),
        ([None], "row 0: expected a text, .*, found null"),
        ([["good", "day"]], r"row 0: .*words go as \{'tokens'"),
    ],
)
def test_what_is_no_text_is_told(pipe: MultiTaskPipeline, inputs: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipe(inputs)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_batch_has_texts(folder: Path, batch_size: Any) -> None:
    with pytest.raises(UserError, match=f"batch_size: .*from 1, found {batch_size}"):
        pipeline(folder, batch_size=batch_size)
