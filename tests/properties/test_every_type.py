"""The invariants for every task type: most at once, on the same rows of one dataset."""

import json
import random
import shutil
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mtl_nlp import MultiTaskModel, Recipe, pipeline, train
from mtl_nlp.hub.publish import push_folder
from mtl_nlp.tasks import TASK_TYPES
from tests.generation import TASKS as GENERATION
from tests.generation import TEXTS as PLAIN_TEXTS
from tests.generation import generation_recipe
from tests.hub_server import WRITER, HubServer
from tests.rows import json_dataset
from tests.runs import FILLERS, steps_of
from tests.tiny import tiny_encoder

TASKS: dict[str, dict[str, Any]] = {
    "topic": {"type": "text_classification", "label": "topic", "class_weights": "balanced"},
    "traits": {"type": "multi_label_classification", "labels": "traits"},
    "length": {"type": "regression", "label": "length"},
    "votes": {"type": "soft_classification", "label": "votes", "class_weights": "balanced"},
    "ner": {"type": "token_classification", "tags": "ner", "decoder": "crf", "pooling": "mean"},
    "pos": {"type": "token_classification", "tags": "pos", "scheme": "none"},
    "looks": {"type": "multi_label_token_classification", "tags": "looks"},
    "spans": {"type": "span_classification", "spans": "spans", "class_weights": "balanced"},
    "graph": {"type": "relation_classification", "spans": "spans", "relations": "relations"},
    "lemma": {"type": "lemmatization", "lemmas": "lemmas", "label_smoothing": 0.1},
    "tree": {"type": "dependency_parsing", "heads": "heads", "deprels": "deprels"},
    "answer": {"type": "question_answering", "answers": "answers", "dataset": "questions"},
    "ending": {"type": "multiple_choice", "label": "right", "dataset": "stories"},
    # Not the other criteria, which forbid to cut a step.
    "likeness": {
        "type": "sentence_similarity",
        "label": "likeness",
        "criterion": "mse",
        "dataset": "pairs",
    },
    "hidden": {"type": "masked_language_modeling"},
}
TEXTS: list[dict[str, Any]] = [
    {"tokens": ["good", "film"]},
    {"tokens": ["music"]},
    {"tokens": ["bad", "company", "city", "very", "old", "new", "day"]},
    {"tokens": ["good", "[MASK]"]},
    {"text": "a [MASK] city , very [MASK] ."},
    {"text": "which city ?", "text_pair": "the old city of the new company"},
    {"text": "who ?", "text_pair": "they"},
    {"text": "good film", "choices": ["the music", "a very old city of the new company", "it"]},
    {"text": "who ?", "choices": ["they", "we"]},
    {"text": "the old city", "text_pair": "a new day of the company"},
]
REPO = "team/every_type"
READINGS: dict[str, dict[str, Any]] = {
    "cut": {"max_length": 32},
    "windows": {"long_text": "windows", "max_length": 12, "stride": 3},
}
CASES = (*READINGS, "generation")  # which needs an encoder that has a decoder


def row_of(source: random.Random) -> dict[str, Any]:
    tokens = source.choices(FILLERS, k=source.randint(2, 12))
    size, tokens[0] = len(tokens), source.choice(["good", "bad"])
    good = tokens[0] == "good"
    row = {
        "tokens": tokens,
        "topic": "up" if good else "down",
        "traits": [name for name in ("long", "new") if source.random() < 0.5],
        "length": float(size),
        "votes": {"yes": 0.75, "no": 0.25} if good else {"yes": 0.1, "no": 0.9},
        "ner": ["B-thing" if "m" in token else "O" for token in tokens],
        "pos": ["X" if len(token) > 3 else "Y" for token in tokens],
        "looks": [["round"] if "o" in token else [] for token in tokens],
        "spans": [
            {"start": 0, "end": 2, "label": "pair"},
            {"start": 0, "end": 1, "label": "one"},
        ],
        "relations": [{"head": 1, "tail": 0, "label": "within"}],
        "lemmas": [token.removesuffix("s") for token in tokens],
        "heads": [0, *range(1, size)],
        "deprels": ["root", *["next"] * (size - 1)],
    }
    for column in set(row) - {"tokens", "heads", "deprels"}:
        if source.random() < 0.1:
            row[column] = None
    return row


def question_of(source: random.Random) -> dict[str, Any]:
    words = source.choices(FILLERS, k=source.randint(1, 15))
    context, place = " ".join(words), source.randrange(len(words))
    start = len(" ".join([*words[:place], ""]))
    found = {"text": [words[place]], "answer_start": [start]}
    none: dict[str, list[Any]] = {"text": [], "answer_start": []}
    answers = source.choices([found, none, None], weights=[7, 2, 1])[0]
    return {"question": f"{words[place][:2]} ?", "context": context, "answers": answers}


def story_of(source: random.Random) -> dict[str, Any]:
    texts = [" ".join(source.choices(FILLERS, k=source.randint(1, 6))) for _ in range(5)]
    choices = texts[: source.randint(2, 4)]
    right = source.choice([*range(len(choices)), None])
    return {"text": texts[4], "choices": choices, "right": right}


def pair_of(source: random.Random) -> dict[str, Any]:
    first, second = (source.choices(FILLERS, k=source.randint(1, 9)) for _ in range(2))
    common = len({*first} & {*second}) / len({*first, *second})
    likeness = source.choice([common, common, None])
    return {"text": " ".join(first), "other": " ".join(second), "likeness": likeness}


@pytest.fixture(scope="module", params=CASES)
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Holds the encoder; its name is that of the case."""
    generates = request.param == "generation"
    if generates:
        pytest.importorskip("sacrebleu")
    folder = tmp_path_factory.mktemp(request.param, numbered=False)
    tiny_encoder(folder / "encoder", "t5" if generates else "bert")
    return folder


@pytest.fixture(scope="module")
def texts(folder: Path) -> list[Any]:
    return PLAIN_TEXTS if folder.name == "generation" else TEXTS


def recipe_of(folder: Path, output: str, **training: Any) -> Recipe:
    if folder.name == "generation":
        return generation_recipe(folder, output, **training)
    source = random.Random(13)
    rows = {split: [row_of(source) for _ in range(40)] for split in ("train", "validation")}
    asked = {split: [question_of(source) for _ in range(40)] for split in rows}
    stories = {split: [story_of(source) for _ in range(20)] for split in rows}
    pairs = {split: [pair_of(source) for _ in range(20)] for split in rows}
    return Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / output),
        dropout=0.0,
        **READINGS[folder.name],
        datasets={
            "all": {**json_dataset(folder, "all", **rows), "tokens": "tokens"},
            "questions": {
                **json_dataset(folder, "questions", **asked),
                "text": "question",
                "text_pair": "context",
            },
            "stories": {
                **json_dataset(folder, "stories", **stories),
                "text": "text",
                "choices": "choices",
            },
            "pairs": {
                **json_dataset(folder, "pairs", **pairs),
                "text": "text",
                "text_pair": "other",
            },
        },
        tasks={name: {"dataset": "all", **task} for name, task in TASKS.items()},
        training={
            "max_steps": 4,
            "epochs": None,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "checkpoint_every": 2,
            "keep_checkpoints": 9,
            **training,
        },
    )


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    return train(recipe_of(folder, "whole")).path


def test_every_type_is_here() -> None:
    assert {t["type"] for t in (*TASKS.values(), *GENERATION.values())} == set(TASK_TYPES)


def test_each_is_scored_its_primary_metric_first(trained: Path) -> None:
    scores = json.loads((trained / "metrics.json").read_text())["validation"]
    tasks = MultiTaskModel.from_pretrained(trained).tasks
    assert {name: next(iter(of_task)) for name, of_task in scores.items() if name != "mean"} == {
        name: task.primary for name, task in tasks.items()
    }


@pytest.mark.parametrize("most_rows", [8, 3])
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


def test_saved_and_loaded_it_predicts_the_same(
    trained: Path, texts: list[Any], tmp_path: Path
) -> None:
    pipe = pipeline(trained)
    pipe.predictor.model.save_pretrained(tmp_path)
    pipe.predictor.encoder.tokenizer.save_pretrained(tmp_path)
    assert json.dumps(pipeline(tmp_path)(texts)) == json.dumps(pipe(texts))


def test_company_changes_no_prediction(trained: Path, texts: list[Any]) -> None:
    pipe = pipeline(trained)
    for row, predicted in zip(texts, pipe(texts), strict=True):
        alone = pipe(row)
        assert flat(alone).keys() == flat(predicted).keys()
        assert flat(alone) == pytest.approx(flat(predicted), abs=1e-5)


def test_run_alone_a_task_predicts_what_it_does_among_all(trained: Path, texts: list[Any]) -> None:
    pipe = pipeline(trained)
    among_all = [(row, pipe(row)) for row in texts]
    for name in pipe.predictor.model.tasks:
        own = [(row, predicted[name]) for row, predicted in among_all if name in predicted]
        assert own, name
        for row, predicted in own:
            assert pipe(row, tasks=[name])[name] == predicted, name


def test_pushed_and_loaded_back_a_run_predicts_the_same(
    hub: HubServer, trained: Path, texts: list[Any]
) -> None:
    push_folder(trained, REPO, token=WRITER)
    assert hub.asked("POST .*/commit/")
    pipe = pipeline(trained)
    assert_loads_back(REPO, pipe.predictor.model, [(row, pipe(row)) for row in texts])


def test_pushed_alone_a_task_predicts_what_it_does_among_all(
    hub: HubServer, trained: Path, texts: list[Any]
) -> None:
    pipe = pipeline(trained)
    among_all = [(row, pipe(row)) for row in texts]
    for name in pipe.predictor.model.tasks:
        model, repo = MultiTaskModel.from_pretrained(trained), f"team/{name}"
        for other in model.tasks.keys() - {name}:
            model.remove_task(other)
        model.push_to_hub(repo, token=WRITER)
        assert hub.asked(f"POST .*/{name}/commit/")
        own = [(row, {name: found[name]}) for row, found in among_all if name in found]
        assert_loads_back(repo, model, own)


def assert_loads_back(repo: str, model: MultiTaskModel, predictions: list[tuple[Any, Any]]) -> None:
    """The repository has the model's weights to the bit, and predicts the same to rounding."""
    pipe = pipeline(repo, token=WRITER)
    weights = pipe.predictor.model.state_dict()
    assert weights.keys() == model.state_dict().keys(), repo
    assert all(weights[name].equal(one) for name, one in model.state_dict().items()), repo
    assert predictions, repo
    for row, expected in predictions:
        # The last bit of a product depends on where in memory the weights lie.
        found = flat(pipe(row))
        assert found.keys() == flat(expected).keys(), repo
        assert found == pytest.approx(flat(expected), abs=1e-5), repo


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Every number and text of a prediction by its place."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [flat(inner, f"{place}.{key}") for key, inner in items]
        return reduce(dict.__or__, parts, {f"{place}#": len(value)})
    return {place: value}
