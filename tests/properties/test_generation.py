"""What holds for text generation beside the invariants of every type (test_every_type.py)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from mtl_nlp import MultiTaskModel, Recipe, check, pipeline, train
from mtl_nlp.inference.export import export_transformers
from tests.generation import TASKS, TEXTS, WRITERS, generation_recipe
from tests.ranks import Ranks
from tests.runs import steps_of
from tests.tiny import tiny_encoder

pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation")
    tiny_encoder(folder / "encoder", "t5")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    return train(generation_recipe(folder, "whole")).path


def test_both_directions_are_scored(trained: Path) -> None:
    scores = json.loads((trained / "metrics.json").read_text())["validation"]
    predicted = pipeline(trained)(TEXTS[0])
    for name in WRITERS:
        assert list(scores[name]) == ["chrf", "bleu"]
        assert 0 <= scores[name]["chrf"] <= 1
        assert set(predicted[name]) == {"generated_text"}


def test_check_counts_the_decoder_once_and_its_embeddings_with_the_encoder(
    folder: Path, trained: Path
) -> None:
    counted = check(generation_recipe(folder, "checked"))["parameters"]
    model = MultiTaskModel.from_pretrained(trained)
    assert list(counted) == ["encoder", "heads", "decoder"]
    assert counted["heads"].keys() == TASKS.keys()
    assert [counted["heads"][name] for name in WRITERS] == [0, 0]
    whole = counted["encoder"] + sum(counted["heads"].values()) + counted["decoder"]
    assert whole == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", WRITERS)
def test_exported_it_is_the_stock_model(trained: Path, tmp_path: Path, name: str) -> None:
    pipe = pipeline(trained)
    model, tokenizer = pipe.predictor.model, pipe.predictor.encoder.tokenizer
    folder = export_transformers(model, name, tmp_path / name, tokenizer)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["T5ForConditionalGeneration"]
    prefix = TASKS[name]["prefix"]
    assert config["task_specific_params"] == {name: {"prefix": prefix}}
    stock: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(folder)
    reader = AutoTokenizer.from_pretrained(folder)
    batch = reader([prefix + text for text in TEXTS], padding=True, return_tensors="pt")
    texts = reader.batch_decode(stock.generate(**batch), skip_special_tokens=True)
    assert texts == [one[name]["generated_text"] for one in pipe(TEXTS)]


def test_both_directions_are_learned(folder: Path) -> None:
    recipe = generation_recipe(folder, "learned", steps=30, learning_rate=1e-2, checkpoint_every=30)
    losses = steps_of(train(recipe).path)
    for name in WRITERS:
        assert losses[-1]["losses"][name] < 0.7 * losses[0]["losses"][name]


def test_bf16_trains(folder: Path) -> None:
    path = train(generation_recipe(folder, "bf16", steps=2, precision="bf16")).path
    assert all(torch.isfinite(p).all() for p in MultiTaskModel.from_pretrained(path).parameters())


def test_a_long_text_in_windows_is_written_of_as_one(folder: Path, trained: Path) -> None:
    pipe = pipeline(trained)
    encoder = pipe.predictor.encoder
    short, long = TEXTS[1], " ".join(TEXTS * 4)
    pipe.predictor = replace(
        pipe.predictor,
        encoder=replace(encoder, max_length=16, long_text="windows", stride=4),
    )
    together = pipe([short, long])
    assert together[0]["same"] == pipeline(trained)(short)["same"]
    assert together[1]["same"] == pipe(long)["same"]


@pytest.mark.slow
def test_two_processes_train_the_decoder_as_one_does(folder: Path) -> None:
    # Steps of one dataset each: those of `topics` must leave the decoder where it is.
    recipe = generation_recipe(folder, "one", steps=6)
    content = recipe.model_dump(exclude_unset=True)
    content["sampling"] = {"mix": "step", "strategy": "round_robin"}
    content["datasets"]["topics"] = content["datasets"]["all"]
    content["tasks"]["topic"]["dataset"] = ["topics"]
    content["tasks"]["tags"]["dataset"] = ["topics"]
    one = Recipe(**content)
    two = one.with_overrides([f"output={folder / 'two'}"])
    train(one)
    assert Ranks(two).join() == [0, 0]
    for mine, theirs in zip(steps_of(folder / "one"), steps_of(folder / "two"), strict=True):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
        assert len(mine["losses"]) == 2
    first, second = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=1e-4, atol=1e-5)
