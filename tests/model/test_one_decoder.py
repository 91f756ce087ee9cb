from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, PreTrainedModel

from mtl_nlp import MultiTaskModel
from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.model.batch import Targets
from tests.tiny import tiny_config, tiny_seq2seq, tiny_tokenizer

ARCHITECTURES = ["t5", "bart", "mbart", "m2m_100"]
GERMAN: dict[str, Any] = {
    "type": "text_generation",
    "inputs": ["text"],
    "prefix": "to german: ",
    "max_new_tokens": 9,
}
ENGLISH = {**GERMAN, "prefix": "to english: "}
TOPIC = {"type": "text_classification", "labels": ["up", "down"]}


@pytest.fixture(params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_seq2seq(tmp_path / "checkpoint", request.param)


def model_of(folder: Path, **tasks: dict[str, Any]) -> MultiTaskModel:
    torch.manual_seed(1)
    return MultiTaskModel.from_encoder(folder, tasks).eval()


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    input_ids = torch.randint(5, 90, (3, 8), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def labels() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    found = torch.randint(5, 90, (3, 6), generator=generator)
    found[0, 4:], found[2, 2:] = -100, -100
    return found


def stock_of(folder: Path) -> PreTrainedModel:
    stock: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(folder)
    return stock.eval()


def test_its_logits_and_loss_are_the_stock_models(folder: Path) -> None:
    model, stock = model_of(folder, german=GERMAN), stock_of(folder)
    targets = {"german": Targets(torch.arange(3), labels())}
    ours, theirs = model(**batch(), targets=targets), stock(**batch(), labels=labels())
    assert torch.equal(ours.logits["german"], theirs.logits)
    count = int((labels() != -100).sum())
    assert ours.sums["german"].count == count
    torch.testing.assert_close(ours.sums["german"].total, theirs.loss * count)


@pytest.mark.parametrize("beams", [1, 3])
def test_it_generates_what_the_stock_model_does(folder: Path, beams: int) -> None:
    model, stock = model_of(folder, german={**GERMAN, "num_beams": beams}), stock_of(folder)
    ours = model(**batch()).logits["german"]
    theirs = stock.generate(**batch(), max_new_tokens=9, num_beams=beams)[:, 1:]
    assert torch.equal(ours[ours >= 0], theirs[ours >= 0])
    rest = theirs[ours < 0]
    assert torch.equal(rest, torch.full_like(rest, stock.config.pad_token_id))


def test_all_generation_tasks_share_one_decoder_tied_to_the_encoder(folder: Path) -> None:
    model = model_of(folder, german=GERMAN, english=ENGLISH, topic=TOPIC)
    assert model.decoder is not None
    whole = sum(p.numel() for p in stock_of(folder).parameters())
    topic = sum(p.numel() for p in model.heads["topic"].parameters())
    assert sum(p.numel() for p in model.parameters()) == whole + topic
    assert not list(model.heads["german"].parameters())
    embeddings = model.encoder.get_input_embeddings().weight
    assert model.decoder.stock.get_output_embeddings().weight is embeddings


@pytest.mark.parametrize("auto", [True, False])
def test_saved_once_it_loads_exactly(folder: Path, tmp_path: Path, auto: bool) -> None:
    model = model_of(folder, german=GERMAN, english=ENGLISH, topic=TOPIC)
    apart = {one.data_ptr(): one for one in model.state_dict().values()}.values()
    for weights in apart:
        weights += 0.05
    model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors").values()
    assert sum(one.numel() for one in saved) == sum(one.numel() for one in apart)
    loader = AutoModel if auto else MultiTaskModel
    loaded, told = loader.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert len(list(loaded.parameters())) == len(list(model.parameters()))
    targets = {"english": Targets(torch.arange(3), labels())}
    for given in ({}, {"targets": targets}):
        ours, theirs = (one(**batch(), **given).logits for one in (model, loaded))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert loaded.config.generation == model.config.generation


def test_the_last_generation_task_takes_the_decoder_with_it(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, topic=TOPIC)
    weights = model.state_dict().keys()
    model.add_task("german", GERMAN)
    model.add_task("english", ENGLISH)
    model.remove_task("german")
    before = model(**batch()).logits["english"]
    assert model.decoder is not None
    model.remove_task("english")
    assert model.decoder is None
    assert model.state_dict().keys() == weights
    model.save_pretrained(tmp_path / "saved")
    assert not MultiTaskModel.from_pretrained(tmp_path / "saved").state_dict().keys() ^ weights
    model.add_task("english", ENGLISH)
    assert torch.equal(model(**batch()).logits["english"], before)


def test_a_head_that_was_tied_to_nothing_stays_so(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    stock = stock_of(folder)
    stock.config.scale_decoder_outputs = False  # as T5 1.1 has it, and mT5 and UL2
    stock.lm_head.weight = torch.nn.Parameter(torch.randn_like(stock.lm_head.weight))
    stock.save_pretrained(folder)
    logits = stock(**batch(), labels=labels()).logits
    model = model_of(folder, german=GERMAN)
    model.save_pretrained(tmp_path / "saved")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "saved")
    loaded.tie_weights()
    for one in (model, loaded):
        ours = one(**batch(), targets={"german": Targets(torch.arange(3), labels())})
        assert torch.equal(ours.logits["german"], logits)


@pytest.mark.parametrize("tied", [True, False])
def test_exported_it_is_the_stock_model(folder: Path, tmp_path: Path, tied: bool) -> None:
    model = model_of(folder, german={**GERMAN, "num_beams": 2}, topic=TOPIC)
    assert model.decoder is not None
    if not tied:
        output = model.decoder.stock.get_output_embeddings()
        output.weight = torch.nn.Parameter(torch.randn_like(output.weight))
        model.decoder.ties = {k: v for k, v in model.decoder.ties.items() if k != "lm_head.weight"}
    export_transformers(model, "german", tmp_path / "exported")
    stock = stock_of(tmp_path / "exported")
    assert type(stock) is type(stock_of(folder))
    ours = model(**batch(), targets={"german": Targets(torch.arange(3), labels())})
    assert torch.equal(stock(**batch(), labels=labels()).logits, ours.logits["german"])
    written = model(**batch(), tasks=["german"]).logits["german"]
    assert torch.equal(stock.generate(**batch())[:, 1:][written >= 0], written[written >= 0])


def test_a_language_begins_every_text(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "mbart")
    tokenizer = tiny_tokenizer(segments=False)
    tokenizer.add_special_tokens({"eos_token": "[SEP]", "extra_special_tokens": ["de", "en"]})
    tokenizer.save_pretrained(folder)
    stock = stock_of(folder)
    stock.resize_token_embeddings(len(tokenizer))
    stock.save_pretrained(folder)
    bare = {**GERMAN, "prefix": ""}
    tasks = {name: {**bare, "target_language": name} for name in ("de", "en")}
    model = model_of(folder, **tasks)
    model.save_pretrained(tmp_path / "saved")
    logits = MultiTaskModel.from_pretrained(tmp_path / "saved")(**batch()).logits
    for name in tasks:
        assert set(logits[name][:, 0].tolist()) == {tokenizer.convert_tokens_to_ids(name)}
    with pytest.raises(RecipeError, match=r"tasks.fr.target_language: .* found 'fr'"):
        model.add_task("fr", {**bare, "target_language": "fr"})
    assert list(model.tasks) == ["de", "en"]


def test_what_the_checkpoint_says_of_generation_is_kept(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "bart")
    stock = stock_of(folder)
    stock.generation_config.no_repeat_ngram_size = 1
    stock.generation_config.max_length = 3
    stock.generation_config.num_beams = 2
    stock.save_pretrained(folder)
    model = model_of(folder, german=GERMAN)
    written = model(**batch()).logits["german"]
    assert written.shape[1] > 3
    theirs = stock.generate(**batch(), max_new_tokens=9, num_beams=1)[:, 1:]
    assert torch.equal(written[written >= 0], theirs[written >= 0])
    model.save_pretrained(tmp_path / "saved")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded(**batch()).logits["german"], written)


def test_a_step_without_targets_leaves_the_decoder_alone() -> None:
    model = MultiTaskModel(config_of(german=GERMAN, topic={**TOPIC, "stock": False}))
    right = {"topic": torch.tensor([0, 1, 0]), "german": labels()}
    for name, ids in right.items():
        model.zero_grad()
        model(**batch(), targets={name: Targets(torch.arange(3), ids)}).loss.backward()
        idle = {id(one) for one in model.parameters() if one.grad is None}
        other = model.heads["topic"] if name == "german" else model.decoder
        assert other is not None
        own = {id(one) for one in other.parameters()} - {
            id(one) for one in model.encoder.parameters()
        }
        assert idle == own


def config_of(**tasks: dict[str, Any]) -> Any:
    config = AutoConfig.for_model("mtl_nlp", encoder_config=tiny_config("t5"))
    config.tasks = [{"name": name, **task} for name, task in tasks.items()]
    return config


def test_it_may_read_other_tasks_and_is_then_no_stock_model(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    reader = {**GERMAN, "prefix": "", "after": ["topic"]}
    model = model_of(folder, topic=TOPIC, german=reader)
    plain = model_of(folder, german={**GERMAN, "prefix": ""})
    targets = {"german": Targets(torch.arange(3), labels())}
    ours, theirs = (one(**batch(), targets=targets).logits["german"] for one in (model, plain))
    assert ours.shape == theirs.shape
    assert not torch.equal(ours, theirs)
    model.save_pretrained(tmp_path / "saved")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded(**batch(), targets=targets).logits["german"], ours)
    with pytest.raises(ModelError, match="reads those of other tasks, so it is not exported"):
        export_transformers(model, "german", tmp_path / "exported")
