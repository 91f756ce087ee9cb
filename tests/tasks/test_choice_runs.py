"""Choices and pairs of texts from a recipe to a model folder, among tasks of other kinds."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMultipleChoice

from mtl_nlp import MultiTaskModel, Recipe, check, evaluate, pipeline, train
from mtl_nlp.errors import DataError, ModelError, RecipeError
from mtl_nlp.heads.stock import lay_anew
from mtl_nlp.inference.export import export_transformers
from tests.rows import json_dataset, make_data, make_recipe
from tests.runs import FILLERS, steps_of
from tests.tiny import tiny_encoder, tiny_tokenizer

STORIES: dict[str, Any] = {"text": "text", "choices": "choices"}
PAIRS: dict[str, Any] = {"text": "text", "text_pair": "text_pair"}
ENDING = {"type": "multiple_choice", "dataset": "stories", "label": "label"}
MOOD = {"type": "text_classification", "dataset": "stories", "label": "mood"}


def story(source: random.Random) -> dict[str, Any]:
    """The right choice is the one with the word ``great``."""
    choices = [" ".join(source.choices(FILLERS, k=source.randint(1, 5))) for _ in range(5)]
    choices = [f"bad {choice}" for choice in choices[: source.randint(2, 5)]]
    right = source.randrange(len(choices))
    choices[right] = choices[right].replace("bad", "great")
    good = source.random() < 0.5
    return {
        "text": ("good " if good else "awful ") + " ".join(source.choices(FILLERS, k=4)),
        "choices": choices,
        "label": source.choice([right, right, right, None]),
        "mood": "up" if good else "down",
    }


def pair(source: random.Random) -> dict[str, Any]:
    """The score is the share of words that the texts have in common."""
    words = source.sample(FILLERS, k=8)
    kept = source.randint(0, 4)
    return {
        "text": " ".join(words[:4]),
        "text_pair": " ".join([*words[:kept], *words[kept + 4 :]][:4]),
        "label": source.choice([float(kept), float(kept), None]),
    }


def recipe_of(folder: Path, output: str, tasks: dict[str, Any], **training: Any) -> Recipe:
    if not (folder / "encoder").exists():
        tiny_encoder(folder / "encoder")
    source = random.Random(7)
    kinds = {"stories": (story, STORIES), "pairs": (pair, PAIRS)}
    datasets = {
        name: {
            **json_dataset(
                folder,
                name,
                train=[make(source) for _ in range(64)],
                validation=[make(source) for _ in range(24)],
            ),
            **columns,
        }
        for name, (make, columns) in kinds.items()
        if any(task["dataset"] == name for task in tasks.values())
    }
    return Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / output),
        max_length=32,
        dropout=0.0,
        datasets=datasets,
        tasks=tasks,
        training={
            "batch_size": 16,
            "micro_batch_size": 80,
            "learning_rate": 3e-3,
            "precision": "fp32",
            **training,
        },
        evaluation={"every": training.get("max_steps", "epoch")},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("choices")


@pytest.fixture(scope="module")
def ending(folder: Path) -> Path:
    return train(recipe_of(folder, "ending", {"ending": ENDING, "mood": MOOD}, max_steps=30)).path


def test_the_right_choice_is_learned_beside_another_task(ending: Path) -> None:
    scores = json.loads((ending / "metrics.json").read_text())["validation"]
    assert scores["ending"]["accuracy"] > 0.8
    assert scores["ending"]["accuracy"] <= scores["ending"]["mrr"] <= 1
    assert set(scores) == {"ending", "mood", "mean"}


def test_choices_are_predicted_however_many_and_whatever_stands_beside_them(ending: Path) -> None:
    pipe = pipeline(ending)
    source = random.Random(3)
    rows = [{key: story(source)[key] for key in ("text", "choices")} for _ in range(9)]
    together = pipe(rows)
    for row, found in zip(rows, together, strict=True):
        alone = pipe(row)["ending"]
        assert found["ending"]["label"] == alone["label"] < len(row["choices"])
        assert found["ending"]["score"] == pytest.approx(alone["score"], abs=1e-5)
        assert set(found) == {"ending", "mood"}
    assert set(pipe("a good film")) == {"mood"}
    with pytest.raises(DataError, match="task 'ending' needs text and choices, found text"):
        pipe("a good film", tasks=["ending"])


def test_the_exported_model_ranks_the_choices_alike(ending: Path, tmp_path: Path) -> None:
    model = MultiTaskModel.from_pretrained(ending).eval()
    tokenizer = tiny_tokenizer()
    export_transformers(model, "ending", tmp_path / "stock", tokenizer)
    stock = AutoModelForMultipleChoice.from_pretrained(tmp_path / "stock").eval()
    lay_anew(stock), lay_anew(model)  # as in memory, so that their last bits are equal
    choices = ["bad film", "great day", "bad music"]
    encoded = tokenizer(["good city"] * 3, choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = stock(**{key: value[None] for key, value in encoded.items()}).logits
        assert torch.equal(model(**encoded, tasks=["ending"]).logits["ending"].T, logits)
    found = pipeline(ending)({"text": "good city", "choices": choices})["ending"]
    assert found["label"] == int(logits.argmax()) == 1
    assert found["score"] == pytest.approx(float(logits.softmax(dim=1).max()), abs=1e-5)
    taken = MultiTaskModel.from_transformers(tmp_path / "stock", name="ending")
    lay_anew(taken)
    assert taken.tasks["ending"].inputs == ("text", "choices")
    with torch.no_grad():
        assert torch.equal(taken(**encoded).logits["ending"].T, logits)


def test_how_a_step_is_cut_changes_nothing(folder: Path) -> None:
    tasks = {"ending": ENDING, "mood": MOOD}
    cut, whole = (
        train(recipe_of(folder, f"cut{size}", tasks, max_steps=3, micro_batch_size=size)).path
        for size in (7, 999)
    )
    for one, other in zip(steps_of(cut), steps_of(whole), strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 9}, "split train, row 1, column label: task 'ending': .* from 0 to 1, found 9"),
        ({"choices": ["one"]}, "row 1: column choices: expected at least two texts, found 1"),
        ({"choices": ["one", " "]}, "row 1: column choices: expected texts, found an empty one"),
        ({"choices": None}, "row 1: column choices: expected a list of texts, found None"),
    ],
)
def test_a_row_that_offers_no_choice_is_told(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path, "run", {"ending": ENDING}, max_steps=1)
    row: dict[str, Any] = {"text": "a", "choices": ["one", "two"], "label": 0}
    files = json_dataset(tmp_path, "stories", train=[row, {**row, **changes}], validation=[row])
    content = recipe.model_dump(exclude_unset=True)
    content["datasets"] = {"stories": {**files, **STORIES}}
    with pytest.raises(DataError, match=message):
        check(Recipe(**content))


def test_names_of_choices_are_made_numbers_by_map(tmp_path: Path) -> None:
    rows = [{"text": "a", "choices": ["one", "two"], "label": name} for name in ("A", "B")]
    stories = {**json_dataset(tmp_path, "stories", train=rows, validation=rows), **STORIES}
    recipe = make_recipe({"stories": stories}, {"ending": {**ENDING, "map": {"A": 0, "B": 1}}})
    encoded = make_data(recipe).train["stories"].take(np.arange(2))
    assert encoded.column("labels:ending").to_pylist() == [[1, 0], [0, 1]]


def test_a_task_of_choices_needs_them(tmp_path: Path) -> None:
    tasks = {"ending": {**ENDING, "dataset": "pairs"}}
    with pytest.raises(RecipeError, match="a multiple_choice task reads text and choices, and the"):
        check(recipe_of(tmp_path, "run", tasks, max_steps=1))


def similarity(**options: Any) -> dict[str, Any]:
    return {"type": "sentence_similarity", "dataset": "pairs", **options}


@pytest.fixture(scope="module")
def alike(folder: Path) -> Path:
    tasks = {
        "alike": similarity(label="label"),
        "scored": similarity(label="label", criterion="mse", pooling="cls"),
        "near": similarity(),
        "degree": {"type": "regression", "dataset": "pairs", "label": "label"},
    }
    return train(recipe_of(folder, "alike", tasks, max_steps=60)).path


def test_likeness_is_learned_with_scores_and_without(alike: Path) -> None:
    scores = json.loads((alike / "metrics.json").read_text())["validation"]
    for name in ("alike", "scored"):
        assert list(scores[name]) == ["spearman", "pearson"]
        assert scores[name]["spearman"] > 0.6
    assert list(scores["near"]) == ["accuracy", "mrr"]
    assert scores["near"]["mrr"] > 0.2  # by chance 0.16
    assert json.loads((alike / "config.json").read_text())["tasks"][2]["criterion"] == "in_batch"


def test_a_single_text_has_an_embedding_whose_cosine_is_the_score(alike: Path) -> None:
    pipe = pipeline(alike)
    first, second = "a good film", "the great music"
    scores = pipe({"text": first, "text_pair": second})
    assert set(scores) == {"alike", "scored", "near", "degree"}
    mixed = pipe([first, {"text": first, "text_pair": second}, second])
    assert set(mixed[0]) == {"alike", "scored", "near"}
    for name in mixed[0]:
        one, other = (np.array(mixed[i][name]["embedding"]) for i in (0, 2))
        assert one.shape == (32,)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        assert scores[name] == {"score": pytest.approx(float(one @ other), abs=1e-5)}
        assert mixed[1][name] == pytest.approx(scores[name], abs=1e-5)


def test_steps_whose_rows_are_compared_are_not_cut(folder: Path) -> None:
    tasks = {"alike": similarity(label="label"), "near": similarity()}
    small, large = (
        train(recipe_of(folder, f"of{size}", tasks, max_steps=3, micro_batch_size=size)).path
        for size in (32, 999)
    )
    assert steps_of(small) == steps_of(large)
    one, other = (load_file(path / "model.safetensors") for path in (small, large))
    assert all(one[name].equal(other[name]) for name in one)
    with pytest.raises(RecipeError, match="task 'alike' compares all rows of a step, which may be"):
        train(recipe_of(folder, "of31", tasks, max_steps=3, micro_batch_size=31))


def test_where_its_size_is_not_set_a_forward_takes_the_step_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = {"alike": similarity(label="label")}
    recipe = recipe_of(folder, "unset", tasks, max_steps=3)
    content = recipe.model_dump(exclude_unset=True)
    content["training"] |= {"batch_size": 32}
    del content["training"]["micro_batch_size"]
    recipe = Recipe(**content)
    note = "training.micro_batch_size is 64 here, not 32: task 'alike' compares all rows of a step"
    assert [w for w in check(recipe)["warnings"] if w.startswith(note)]
    run = train(recipe).path
    assert note in " ".join(capsys.readouterr().err.split())
    # Its own recipe says so, and repeats it; the one it was made of may go on with it.
    again = Recipe.from_yaml(run / "recipe.yaml", [f"output={folder / 'again'}"])
    assert again.training.micro_batch_size == 64
    assert steps_of(train(again).path) == steps_of(run)
    assert train(recipe, resume=True).path == run
    content["training"]["micro_batch_size"] = 32
    with pytest.raises(RecipeError, match="expected at least 64, found 32; raise it, leave it out"):
        check(Recipe(**content))


def test_a_loaded_model_scores_as_it_did(folder: Path, alike: Path) -> None:
    recipe = Recipe.from_yaml(alike / "recipe.yaml")
    kept = json.loads((alike / "metrics.json").read_text())["validation"]
    assert evaluate(alike, recipe, split="validation")["validation"]["near"] == pytest.approx(
        kept["near"]
    )


def test_export_is_refused_and_the_encoder_is_left_to_save(alike: Path, tmp_path: Path) -> None:
    model = MultiTaskModel.from_pretrained(alike)
    reason = r"transformers has no class for embeddings \(the encoder alone is saved by model.encod"
    with pytest.raises(ModelError, match=reason):
        export_transformers(model, "alike", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_pairs_without_scores_may_be_held_out_of_train(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "run", {"near": similarity()}, max_steps=1)
    spec = recipe.datasets["pairs"]
    assert spec.data_files is not None
    only = {"train": spec.data_files["train"]}
    held_out = recipe.model_copy(
        update={"datasets": {"pairs": spec.model_copy(update={"data_files": only})}}
    )
    report = check(held_out)
    assert set(report["datasets"]["pairs"]["rows"]) == {"train", "validation"}


def test_a_score_that_is_none_is_told_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 0, column text: .*expected a number, found '"):
        check(recipe_of(tmp_path, "run", {"near": similarity(label="text")}, max_steps=1))


def test_a_criterion_that_does_not_go_with_the_label_column_is_told(tmp_path: Path) -> None:
    tasks = {"near": similarity(label="label", criterion="in_batch")}
    with pytest.raises(
        DataError, match="task 'near': criterion: in_batch takes every row as alike"
    ):
        check(recipe_of(tmp_path, "run", tasks, max_steps=1))
    with pytest.raises(DataError, match="task 'near': criterion: mse needs scores; name their col"):
        check(recipe_of(tmp_path, "run", {"near": similarity(criterion="mse")}, max_steps=1))
