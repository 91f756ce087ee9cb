"""One head as a stock transformers model: a whole folder, or none and the reason."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from mtl_nlp.errors import ModelError
from mtl_nlp.heads.stock import probe
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_config, tiny_tokenizer

TASKS = {
    "topic": {"type": "text_classification", "labels": ["a", "b", "c"]},
    "ner": {"type": "token_classification", "labels": ["person"], "scheme": "bioes"},
}


def _model(architecture: str = "bert") -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture)))
    for name, task in TASKS.items():
        model.add_task(name, task)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> MultiTaskModel:
    return _model()


def test_the_folder_is_a_stock_model_with_the_tasks_labels(
    model: MultiTaskModel, tmp_path: Path
) -> None:
    folder = export_transformers(model, "ner", tmp_path / "deep" / "ner", tiny_tokenizer())
    assert folder == tmp_path / "deep" / "ner"
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    tags = ["O", "B-person", "I-person", "E-person", "S-person"]
    assert config["id2label"] == {str(i): tag for i, tag in enumerate(tags)}
    assert config["label2id"] == {tag: i for i, tag in enumerate(tags)}
    stock = AutoModelForTokenClassification.from_pretrained(folder).eval()
    batch = probe(model.encoder)
    assert torch.equal(stock(**batch).logits, model(**batch).logits["ner"])
    assert [path.name for path in folder.parent.iterdir()] == ["ner"]
    assert (folder / "model.safetensors").is_file()


def test_stock_pipelines_run_it(model: MultiTaskModel, tmp_path: Path) -> None:
    folder = export_transformers(model, "topic", tmp_path / "topic", tiny_tokenizer())
    answer = pipeline("text-classification", model=str(folder))("a good film")[0]
    encoded = AutoTokenizer.from_pretrained(folder)("a good film", return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits["topic"][0]
    assert answer["label"] == TASKS["topic"]["labels"][int(logits.argmax())]
    assert answer["score"] == pytest.approx(float(logits.softmax(dim=-1).max()))


def test_both_ends_of_an_answer_are_exported(tmp_path: Path) -> None:
    model = _model()
    model.add_task("qa", {"type": "question_answering"})
    folder = export_transformers(model, "qa", tmp_path / "qa", tiny_tokenizer())
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForQuestionAnswering"]
    stock = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)("was it good", "very", return_tensors="pt")
    with torch.no_grad():
        theirs, ours = stock(**batch), model.eval()(**batch, tasks=["qa"]).logits["qa"]
    assert torch.equal(torch.stack([theirs.start_logits, theirs.end_logits], dim=2), ours)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = _model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_transformers(model, "topic", tmp_path / "topic")
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.config.encoder_config.num_labels == 2


def test_another_precision_is_kept(tmp_path: Path) -> None:
    folder = export_transformers(_model().to(torch.bfloat16), "topic", tmp_path / "topic")
    stock = AutoModelForSequenceClassification.from_pretrained(folder)
    assert stock.dtype == torch.bfloat16


def test_an_empty_folder_will_do_but_not_one_in_use(model: MultiTaskModel, tmp_path: Path) -> None:
    export_transformers(model, "topic", tmp_path / "topic", None)
    (tmp_path / "empty").mkdir()
    export_transformers(model, "topic", tmp_path / "empty", None)
    assert (tmp_path / "empty" / "config.json").is_file()
    (tmp_path / "file").touch()
    for taken in (tmp_path / "topic", tmp_path / "file"):
        with pytest.raises(ModelError, match=f"{taken.name}: expected a new or an empty folder"):
            export_transformers(model, "topic", taken)


def test_nothing_is_left_where_writing_fails(model: MultiTaskModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"file/topic cannot be written: .*; name another folder"):
        export_transformers(model, "topic", tmp_path / "file" / "topic")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("architecture", "task", "reason"),
    [
        ("bert", "nre", "no task 'nre' to export; the model has topic, ner"),
        (
            "bart",
            "ner",
            "transformers has no AutoModelForTokenClassification for bart encoders, so",
        ),
        ("xlnet", "topic", "XLNetForSequenceClassification does not run on hidden states"),
    ],
)
def test_what_has_no_stock_model_is_refused_and_nothing_written(
    architecture: str, task: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        export_transformers(_model(architecture), task, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_would_answer_otherwise_is_refused(tmp_path: Path) -> None:
    model = _model()
    model.encoder.encoder.layer[0].register_forward_hook(lambda *_: _[-1] + 1.0)
    with pytest.raises(ModelError, match="BertForSequenceClassification computes other logits tha"):
        export_transformers(model, "topic", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_head_of_our_own_on_an_encoder_that_has_a_stock_one_is_refused(tmp_path: Path) -> None:
    model = _model()
    model.add_task("own", {**TASKS["topic"], "stock": False})
    with pytest.raises(ModelError, match="task 'own': its head is this package's own, so it is no"):
        export_transformers(model, "own", tmp_path / "out")


def test_the_folder_one_stands_in_is_exported_to(
    model: MultiTaskModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert export_transformers(model, "ner", Path()) == Path()
    assert {path.name for path in Path().iterdir()} == {"config.json", "model.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
