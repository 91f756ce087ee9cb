"""Where the decoder comes from, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from mtl_nlp import MultiTaskModel
from mtl_nlp.errors import ModelError, RecipeError
from tests.tiny import tiny_encoder, tiny_seq2seq

GERMAN: dict[str, Any] = {
    "type": "text_generation",
    "inputs": ["text"],
    "prefix": "to german: ",
    "max_new_tokens": 9,
}
TOPIC = {"type": "text_classification", "labels": ["up", "down"]}


def model_of(folder: Path, **tasks: dict[str, Any]) -> MultiTaskModel:
    return MultiTaskModel.from_encoder(folder, tasks).eval()


def test_an_encoder_without_a_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"task 'german': .* found bert, .* google-t5/t5-small"):
        model_of(tiny_encoder(tmp_path / "bert"), german=GERMAN)


def test_a_model_saved_without_its_decoder_is_refused(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    model_of(folder, topic=TOPIC).save_pretrained(tmp_path / "saved")
    loaded = MultiTaskModel.from_pretrained(tmp_path / "saved")
    with pytest.raises(ModelError, match=r"saved without a decoder.*from_encoder"):
        loaded.add_task("german", GERMAN)
    assert list(loaded.tasks) == ["topic"]


def test_tasks_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    with pytest.raises(RecipeError, match=r"tasks.two: it and tasks.one share .* prefix"):
        model_of(folder, one=GERMAN, two=GERMAN)


def test_longer_texts_than_the_decoder_has_positions_for_are_refused(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "bart")
    most = AutoConfig.from_pretrained(folder).max_position_embeddings
    model_of(folder, german={**GERMAN, "max_new_tokens": most})
    with pytest.raises(RecipeError, match=rf"german.max_new_tokens: {most + 1} .* at most {most}"):
        model_of(folder, german={**GERMAN, "max_new_tokens": most + 1})


def test_a_checkpoint_that_generates_from_another_token_than_it_learns_is_refused(
    tmp_path: Path,
) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "mbart")
    stock = AutoModelForSeq2SeqLM.from_pretrained(folder)
    stock.generation_config.decoder_start_token_id = 7
    stock.save_pretrained(folder)
    with pytest.raises(ModelError, match="trained to start from sub-word 3, but generates from 7"):
        model_of(folder, german=GERMAN)


def test_a_checkpoint_whose_decoder_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    config = AutoConfig.from_pretrained(folder)
    config.num_decoder_layers = 3
    config.save_pretrained(folder)
    with pytest.raises(ModelError, match="safetensors files lack"):
        model_of(folder, german=GERMAN)


def test_a_whole_seq2seq_model_is_named_as_encoder(tmp_path: Path) -> None:
    folder = tiny_seq2seq(tmp_path / "checkpoint", "t5")
    with pytest.raises(ModelError, match=r"T5ForConditionalGeneration is taken in .*`encoder:`"):
        MultiTaskModel.from_transformers(folder, name="german")
