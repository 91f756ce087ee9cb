"""A stock fine-tuned checkpoint is taken in with its exact logits, or refused with the reason."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from mtl_nlp.errors import HubError, ModelError, RecipeError
from mtl_nlp.heads.stock import lay_anew, probe, stock_logits
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import LIFTABLE, tiny_config

SEQUENCE, TOKEN = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
ANSWER = "AutoModelForQuestionAnswering"
BIO = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]  # in the order of the alphabet, not in ours


def _stock(
    folder: Path, auto_class: str, labels: list[str], architecture: str = "bert", **settings: object
) -> PreTrainedModel:
    """A fine-tuned checkpoint; none of its weights is at its initial value."""
    config = tiny_config(architecture)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    for name, value in settings.items():
        setattr(config, name, value)
    model = getattr(transformers, auto_class).from_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("architecture", LIFTABLE)
@pytest.mark.parametrize(
    ("auto_class", "labels"), [(SEQUENCE, ["neg", "pos"]), (TOKEN, BIO), (ANSWER, ["start", "end"])]
)
def test_logits_are_the_checkpoints_bit_for_bit(
    architecture: str, auto_class: str, labels: list[str], tmp_path: Path
) -> None:
    stock = _stock(tmp_path / "stock", auto_class, labels, architecture)
    model = MultiTaskModel.from_transformers(tmp_path / "stock", name="task")
    batch = probe(model.encoder)
    assert torch.equal(model(**batch).logits["task"], stock_logits(stock(**batch)))
    assert list(model.tasks["task"].logit_names) == labels
    model.add_task("more", {"type": "text_classification", "labels": ["a", "b"]})
    model.save_pretrained(tmp_path / "ours")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "ours")
    assert loaded.tasks == model.tasks
    assert torch.equal(loaded(**batch).logits["task"], stock_logits(stock(**batch)))


def test_a_name_and_a_length_that_a_recipe_cannot_give_are_refused(tmp_path: Path) -> None:
    _stock(tmp_path, SEQUENCE, ["neg", "pos"])
    with pytest.raises(ModelError, match="`mean` and `worst` stand for scores"):
        MultiTaskModel.from_transformers(tmp_path, name="mean")
    with pytest.raises(RecipeError, match=r"max_length: 515 tokens, .* use at most 514"):
        MultiTaskModel.from_transformers(tmp_path, name="mood", max_length=515)


@pytest.mark.parametrize(
    ("labels", "scheme", "types", "logits"),
    [
        (["NOUN", "VERB"], "none", ("NOUN", "VERB"), ["NOUN", "VERB"]),
        (["X-ray", "O"], "none", ("X-ray", "O"), ["X-ray", "O"]),
        (["O", "B-x", "I-x"], "bio", ("x",), ["O", "B-x", "I-x"]),
        (BIO, "bio", ("LOC", "PER"), BIO),
        (["I-x", "O", "S-x", "B-x", "E-x"], "bioes", ("x",), ["I-x", "O", "S-x", "B-x", "E-x"]),
        (["O", "B-x", "I-x", "L-x", "U-x"], "bioes", ("x",), ["O", "B-x", "I-x", "E-x", "S-x"]),
    ],
)
def test_the_scheme_is_told_by_the_tags(
    labels: list[str], scheme: str, types: tuple[str, ...], logits: list[str], tmp_path: Path
) -> None:
    _stock(tmp_path, TOKEN, labels)
    task = MultiTaskModel.from_transformers(tmp_path, name="ner").tasks["ner"]
    assert (task.scheme, task.labels, list(task.logit_names)) == (scheme, types, logits)


@pytest.mark.parametrize(
    ("labels", "settings", "kind"),
    [
        (["a"], {}, "regression"),
        (["a"], {"problem_type": "regression"}, "regression"),
        (["a"], {"problem_type": "multi_label_classification"}, "multi_label_classification"),
        (["a", "b"], {"problem_type": "multi_label_classification"}, "multi_label_classification"),
        (["a", "b"], {"problem_type": "single_label_classification"}, "text_classification"),
    ],
)
def test_what_a_checkpoint_of_texts_is_for_is_told_by_its_kind_of_problem(
    labels: list[str], settings: dict[str, object], kind: str, tmp_path: Path
) -> None:
    stock = _stock(tmp_path, SEQUENCE, labels, **settings)
    lay_anew(stock)
    model = MultiTaskModel.from_transformers(tmp_path, name="task")
    assert model.tasks["task"].type == kind
    batch = probe(model.encoder)
    assert torch.equal(model(**batch).logits["task"], stock(**batch).logits)


@pytest.mark.parametrize(
    ("auto_class", "labels", "settings", "message"),
    [
        (TOKEN, ["O", "I-x"], {}, "neither a whole bio nor a whole bioes set .*B-x are one too"),
        (TOKEN, ["O", "B-x", "B-y", "I-x"], {}, r"\(I-y are one too many or missing\)"),
        (TOKEN, ["B-x", "I-x"], {}, r"\(O are one too many or missing\)"),
        (TOKEN, ["O", "B-x", "E-x", "L-x", "S-x"], {}, r"\(I-x, L-x are one too many"),
        (SEQUENCE, ["a", "b"], {"problem_type": "regression"}, "'regression' and 2 logit"),
        (ANSWER, ["a", "b", "c"], {}, "and this checkpoint has 3 a token"),
        (SEQUENCE, ["a", "b", "a"], {}, "distinct label names in id2label, found 'a' twice"),
    ],
)
def test_labels_of_no_task_type_are_refused(
    auto_class: str,
    labels: list[str],
    settings: dict[str, object],
    message: str,
    tmp_path: Path,
) -> None:
    _stock(tmp_path, auto_class, labels, **settings)
    with pytest.raises(ModelError, match=message):
        MultiTaskModel.from_transformers(tmp_path, name="task")


@pytest.mark.parametrize(
    ("auto_class", "architecture", "message"),
    [
        ("AutoModel", "bert", r"one of .*BertForSequenceClassification, BertForTokenClassif"),
        ("AutoModelForNextSentencePrediction", "bert", r"found architectures \['BertForNext"),
        (SEQUENCE, "xlnet", "cannot be taken off its encoder: .*; name it as `encoder:`"),
        (SEQUENCE, "t5", "T5ForSequenceClassification reads the decoder's states"),
        (SEQUENCE, "longformer", "LongformerForSequenceClassification does not run on hidden"),
    ],
)
def test_other_models_are_refused(
    auto_class: str, architecture: str, message: str, tmp_path: Path
) -> None:
    _stock(tmp_path, auto_class, ["a", "b"], architecture)
    with pytest.raises(ModelError, match=message):
        MultiTaskModel.from_transformers(tmp_path, name="task")


def test_a_model_of_this_package_is_refused(tmp_path: Path) -> None:
    _stock(tmp_path / "stock", SEQUENCE, ["a", "b"])
    model = MultiTaskModel.from_transformers(tmp_path / "stock", name="task")
    model.save_pretrained(tmp_path / "ours")
    with pytest.raises(ModelError, match=r"found one of this package; load it with .*from_pretr"):
        MultiTaskModel.from_transformers(tmp_path / "ours", name="task")


def test_a_checkpoint_without_its_head_is_refused(tmp_path: Path) -> None:
    _stock(tmp_path, SEQUENCE, ["a", "b"])
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"safetensors files lack .*: classifier\.weight; the two"):
        MultiTaskModel.from_transformers(tmp_path, name="task")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    model = _stock(tmp_path, SEQUENCE, ["a", "b"])
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"found none; weights in other files, such as pytorch_mo"):
        MultiTaskModel.from_transformers(tmp_path, name="task")


def test_a_half_precision_checkpoint_is_taken_in_in_single_precision(tmp_path: Path) -> None:
    _stock(tmp_path, SEQUENCE, ["a", "b"]).half().save_pretrained(tmp_path)
    model = MultiTaskModel.from_transformers(tmp_path, name="task")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_nothing_of_the_old_place_or_labels_stays_with_the_encoder(tmp_path: Path) -> None:
    _stock(tmp_path, TOKEN, BIO)
    config = MultiTaskModel.from_transformers(tmp_path, name="ner").config.to_dict()
    assert str(tmp_path) not in json.dumps(config)
    assert "PER" not in json.dumps(config["encoder_config"])


def test_no_such_checkpoint() -> None:
    with pytest.raises(HubError, match="model org/none@v1: expected a folder, or a repository"):
        MultiTaskModel.from_transformers("org/none@v1", name="task")
