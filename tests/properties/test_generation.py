"""The invariants for text generation: two directions on one decoder beside other heads, on T5."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from mtl_nlp import MultiTaskModel, Recipe, check, pipeline, train
from mtl_nlp.inference.export import export_transformers
from tests.ranks import Ranks
from tests.rows import json_dataset
from tests.runs import FILLERS, steps_of
from tests.tiny import tiny_encoder

pytest.importorskip("sacrebleu")

TASKS: dict[str, dict[str, Any]] = {
    "same": {"type": "text_generation", "target": "same", "prefix": "say: ", "max_new_tokens": 9},
    "back": {
        "type": "text_generation",
        "target": "back",
        "prefix": "turn: ",
        "max_new_tokens": 9,
        "num_beams": 3,
    },
    "topic": {"type": "text_classification", "label": "topic"},
    "tags": {"type": "token_classification", "tags": "tags", "scheme": "none"},
}
WRITERS = ("same", "back")
TEXTS = ["good film", "music", "bad company of the city and of the day it is"]


def row_of(source: random.Random) -> dict[str, Any]:
    words = source.choices(FILLERS, k=source.randint(2, 7))
    words[0] = source.choice(["good", "bad"])
    row = {
        "tokens": words,
        "same": " ".join(words),
        "back": " ".join(words[::-1]),
        "topic": "up" if words[0] == "good" else "down",
        "tags": ["X" if len(word) > 3 else "Y" for word in words],
    }
    for column in set(row) - {"tokens"}:
        if source.random() < 0.2:
            row[column] = None
    return row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation")
    tiny_encoder(folder / "encoder", "t5")
    return folder


def recipe_of(folder: Path, output: str, steps: int = 4, **training: Any) -> Recipe:
    source = random.Random(13)
    rows = {split: [row_of(source) for _ in range(24)] for split in ("train", "validation")}
    return Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / output),
        dropout=0.0,
        max_length=32,
        datasets={"all": {**json_dataset(folder, "all", **rows), "tokens": "tokens"}},
        tasks={name: {**task, "dataset": "all"} for name, task in TASKS.items()},
        training={
            "max_steps": steps,
            "epochs": None,
            "batch_size": 12,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "checkpoint_every": 2,
            "keep_checkpoints": 9,
            **training,
        },
        evaluation={"every": steps},
    )


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    return train(recipe_of(folder, "whole")).path


def test_both_directions_are_scored(trained: Path) -> None:
    scores = json.loads((trained / "metrics.json").read_text())["validation"]
    for name in WRITERS:
        assert list(scores[name]) == ["chrf", "bleu"]
        assert 0 <= scores[name]["chrf"] <= 1


def test_check_counts_the_decoder_once_and_its_embeddings_with_the_encoder(
    folder: Path, trained: Path
) -> None:
    counted = check(recipe_of(folder, "checked"))["parameters"]
    model = MultiTaskModel.from_pretrained(trained)
    assert list(counted) == ["encoder", "heads", "decoder"]
    assert counted["heads"].keys() == TASKS.keys()
    assert [counted["heads"][name] for name in WRITERS] == [0, 0]
    whole = counted["encoder"] + sum(counted["heads"].values()) + counted["decoder"]
    assert whole == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("most_rows", [12, 5])
def test_how_a_step_is_cut_changes_nothing(folder: Path, trained: Path, most_rows: int) -> None:
    cut = train(recipe_of(folder, f"cut{most_rows}", micro_batch_size=most_rows)).path
    for one, other in zip(steps_of(cut), steps_of(trained), strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


def test_a_resumed_training_ends_bit_for_bit_the_same(folder: Path, trained: Path) -> None:
    stopped = folder / "stopped"
    shutil.copytree(trained, stopped)
    shutil.rmtree(stopped / "checkpoints" / "step-000004")
    for file in ("metrics.json", "model.safetensors", "README.md"):
        (stopped / file).unlink()
    (stopped / "recipe.yaml").write_text(
        (trained / "recipe.yaml").read_text().replace(str(trained), str(stopped))
    )
    train(recipe_of(folder, "stopped"), resume=True)
    one, other = (load_file(path / "model.safetensors") for path in (stopped, trained))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    assert (stopped / "metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()


def test_saved_and_loaded_it_generates_the_same(trained: Path, tmp_path: Path) -> None:
    pipe = pipeline(trained)
    pipe.predictor.model.save_pretrained(tmp_path)
    pipe.predictor.encoder.tokenizer.save_pretrained(tmp_path)
    assert json.dumps(pipeline(tmp_path)(TEXTS)) == json.dumps(pipe(TEXTS))


def test_company_and_order_change_no_text(trained: Path) -> None:
    pipe = pipeline(trained)
    together = pipe(TEXTS)
    for text, predicted in zip(TEXTS, together, strict=True):
        assert set(predicted["same"]) == {"generated_text"}
        alone = pipe(text)
        assert {n: alone[n] for n in WRITERS} == {n: predicted[n] for n in WRITERS}
        assert pipe(text, tasks=["back"])["back"] == predicted["back"]


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
    recipe = recipe_of(folder, "learned", steps=30, learning_rate=1e-2, checkpoint_every=30)
    losses = steps_of(train(recipe).path)
    for name in WRITERS:
        assert losses[-1]["losses"][name] < 0.7 * losses[0]["losses"][name]


def test_bf16_trains(folder: Path) -> None:
    path = train(recipe_of(folder, "bf16", steps=2, precision="bf16")).path
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
    recipe = recipe_of(folder, "one", steps=6)
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
