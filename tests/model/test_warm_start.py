from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from mtl_nlp.errors import ModelError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.warm_start import start_from
from tests.tiny import tiny_encoder, tiny_seq2seq, tiny_tokenizer

TOPIC = {"type": "text_classification", "labels": ["a", "b"]}
NER = {"type": "token_classification", "labels": ["person"], "scheme": "bio"}
HIDDEN = {"type": "masked_language_modeling"}

Make = Callable[..., MultiTaskModel]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def trained(encoder: Path, tmp_path: Path) -> Make:
    """Saves a model far from where it began, with its tokenizer, into ``trained``."""

    def make(tasks: dict[str, Any], base: Path = encoder) -> MultiTaskModel:
        torch.manual_seed(1)
        model = MultiTaskModel.from_encoder(base, tasks)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(tmp_path / "trained")
        tiny_tokenizer().save_pretrained(tmp_path / "trained")
        return model.eval()

    return make


def started(base: Path, tasks: dict[str, Any], source: Path, *, heads: bool) -> tuple[Any, Any]:
    torch.manual_seed(2)
    model = MultiTaskModel.from_encoder(base, tasks)
    torch.manual_seed(2)
    fresh = MultiTaskModel.from_encoder(base, tasks)
    notes = start_from(model, tiny_tokenizer(), str(source), heads=heads)
    model.fresh = fresh.state_dict()
    return model.eval(), notes


def taken(model: Any, other: MultiTaskModel) -> set[str]:
    """The parts all of whose weights are another model's; the others are as they were fresh."""
    theirs, parts = other.state_dict(), {}
    for name, weight in model.state_dict().items():
        part = ".".join(name.split(".")[: 2 if name.startswith("heads.") else 1])
        given = name in theirs and torch.equal(weight, theirs[name])
        assert given or torch.equal(weight, model.fresh[name]), name
        parts.setdefault(part, []).append(given)
    return {part for part, given in parts.items() if all(given)}


def test_the_encoder_alone_is_taken_or_the_heads_too(
    encoder: Path, trained: Make, tmp_path: Path
) -> None:
    tasks = {"topic": TOPIC, "ner": NER, "words": HIDDEN}
    other, source = trained(tasks), tmp_path / "trained"
    model, notes = started(encoder, tasks, source, heads=False)
    assert taken(model, other) == {"encoder"}
    assert notes == [f"warm start: the encoder is that of {source}; every head is fresh"]
    model, notes = started(encoder, tasks, source, heads=True)
    assert notes == [
        f"warm start: the encoder and the heads of topic, ner, words are those of {source}"
    ]
    batch = {"input_ids": torch.tensor([[2, 9, 30, 3]]), "attention_mask": torch.ones(1, 4).long()}
    for name, logits in other(**batch).logits.items():
        assert torch.equal(model(**batch).logits[name], logits)


def test_heads_of_other_tasks_are_fresh_and_that_is_told(
    encoder: Path, trained: Make, tmp_path: Path
) -> None:
    other = trained({"topic": TOPIC, "ner": NER, "mood": TOPIC, "turned": TOPIC, "odd": NER})
    tasks = {
        "topic": TOPIC,
        "ner": {**NER, "decoder": "crf"},
        "mood": {"type": "multi_label_classification", "labels": ["a", "b"]},
        "turned": {**TOPIC, "labels": ["b", "a"]},
        "odd": {**NER, "labels": ["place"]},
        "new": TOPIC,
    }
    model, notes = started(encoder, tasks, tmp_path / "trained", heads=True)
    assert taken(model, other) == {"encoder", "heads.topic"}
    told = {
        note.split(" is fresh: ")[0].split()[-1]: note.split(" is fresh: ")[1] for note in notes[1:]
    }
    assert told["ner"].startswith("there it is of another kind: it has no ")
    assert told["mood"] == "there it is a text_classification task, here multi_label_classification"
    assert told["turned"] == "its labels are in another order there"
    assert told["odd"] == "its labels are others there"
    assert told["new"] == "that model has no such task, but topic, ner, mood, turned, odd"
    model, notes = started(encoder, {"new": TOPIC}, tmp_path / "trained", heads=True)
    assert "the encoder is that of" in notes[0]
    assert notes[0].endswith("but no head is")


def test_a_decoder_goes_with_its_task(trained: Make, tmp_path: Path) -> None:
    base = tiny_seq2seq(tmp_path / "t5", "t5")
    tasks = {"write": {"type": "text_generation", "max_new_tokens": 4}, "topic": TOPIC}
    other = trained(tasks, base)
    for heads in (True, False):
        model, _ = started(base, tasks, tmp_path / "trained", heads=heads)
        ours, theirs = model.decoder.state_dict(), other.decoder.state_dict()
        own = [name for name in ours if "decoder.block" in name]
        assert own
        assert all(torch.equal(ours[name], theirs[name]) == heads for name in own)


def test_another_encoder_or_tokenizer_is_refused(
    encoder: Path, trained: Make, tmp_path: Path
) -> None:
    trained({"topic": TOPIC})
    source = tmp_path / "trained"
    base = tmp_path / "base"
    config = AutoConfig.from_pretrained(encoder)
    for key, value, message in (
        ("num_hidden_layers", 3, r"is another than the recipe's: it has no encoder\.layer\.2\."),
        ("num_hidden_layers", 1, r"it has encoder\.layer\.1\.\S+, which is not here; name the enc"),
        ("intermediate_size", 32, r"is \(64, 32\) there, \(32, 32\) here"),
        ("num_attention_heads", 2, r"same shapes as the recipe's, but computes otherwise with the"),
    ):
        changed = AutoConfig.from_pretrained(encoder, **{key: value})
        AutoModel.from_config(changed).save_pretrained(base)
        tiny_tokenizer().save_pretrained(base)
        model = MultiTaskModel.from_encoder(base, {"topic": TOPIC})
        with pytest.raises(ModelError, match=message):
            start_from(model, tiny_tokenizer(), str(source), heads=True)
    AutoModel.from_config(config).save_pretrained(base)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["hello"])
    model = MultiTaskModel.from_encoder(encoder, {"topic": TOPIC})
    with pytest.raises(ModelError, match=r"sub-words of .*trained are not those of the recipe's"):
        start_from(model, tokenizer, str(source), heads=True)


def test_a_stock_model_that_was_taken_in_gives_its_head(encoder: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(
        encoder, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1}
    )
    torch.manual_seed(3)
    stock = AutoModelForSequenceClassification.from_config(config).eval()
    stock.save_pretrained(tmp_path / "stock")
    taken_in = MultiTaskModel.from_transformers(tmp_path / "stock", name="topic")
    taken_in.save_pretrained(tmp_path / "trained")
    tiny_tokenizer().save_pretrained(tmp_path / "trained")
    tasks = {"topic": TOPIC, "ner": NER}
    model, notes = started(encoder, tasks, tmp_path / "trained", heads=True)
    assert "the encoder and the heads of topic are those of" in notes[0]
    batch = {"input_ids": torch.tensor([[2, 9, 30, 3]]), "attention_mask": torch.ones(1, 4).long()}
    with torch.no_grad():
        assert torch.equal(model(**batch).logits["topic"], stock(**batch).logits)


def test_a_bare_encoder_is_no_model_to_start_from(encoder: Path) -> None:
    model = MultiTaskModel.from_encoder(encoder, {"topic": TOPIC})
    with pytest.raises(ModelError, match="a bare encoder is named as `encoder:` in a recipe"):
        start_from(model, tiny_tokenizer(), str(encoder), heads=False)


def test_adapters_are_no_encoder_that_has_learned(encoder: Path, tmp_path: Path) -> None:
    model = MultiTaskModel.from_encoder(encoder, {"topic": TOPIC}, sharing={"method": "lora"})
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"warm_start\.model: .* found adapters \(shared\) beside"):
        started(encoder, {"topic": TOPIC}, tmp_path, heads=True)
