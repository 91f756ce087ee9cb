"""Each task type's page: its recipe trains, its predictions look as shown, nothing is missing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_nlp import Recipe, pipeline, train
from mtl_nlp.tasks import TASK_TYPES, options_of
from tests.tiny import tiny_encoder, tiny_seq2seq

PAGES = Path(__file__).parent.parent / "docs" / "tasks"
ANSWER = {"text": ["film"], "answer_start": [4]}
SPANS = [{"start": 0, "end": 2, "label": "big"}, {"start": 1, "end": 2, "label": "small"}]
TREEBANK = "1\tthe\tthe\tDET\t_\t_\t2\tdet\t_\t_\n2\tfilm\tfilm\tNOUN\t_\t_\t0\troot\t_\t_\n\n"

ROWS: dict[str, list[dict[str, Any]]] = {
    "text_classification": [{"text": "a good film", "label": "up"}, {"text": "bad", "label": "no"}],
    "multi_label_classification": [{"text": "a good film", "subjects": ["art", "war"]}],
    "regression": [
        {"sentence1": "a good film", "sentence2": "the film", "score": 4.5},
        {"sentence1": "a bad film", "sentence2": "music", "score": 0},
    ],
    "soft_classification": [{"text": "a good film", "shares": {"up": 0.75, "down": 0.25}}],
    "token_classification": [{"tokens": ["the", "city"], "tags": ["O", "B-place"]}],
    "multi_label_token_classification": [{"tokens": ["the", "city"], "features": [["a", "b"], []]}],
    "span_classification": [{"tokens": ["the", "city"], "spans": SPANS}],
    "relation_classification": [
        {
            "tokens": ["the", "city"],
            "spans": SPANS,
            "relations": [{"head": 1, "tail": 0, "label": "in"}],
        }
    ],
    "lemmatization": [{"tokens": ["the", "movies"], "lemmas": ["the", "movie"]}],
    "dependency_parsing": [{"tokens": ["the", "film"]}],  # its files are CoNLL-U
    "question_answering": [{"question": "what ?", "context": "the film", "answers": ANSWER}],
    "multiple_choice": [{"text": "the film", "choices": ["good", "bad", "old"], "label": 1}],
    "sentence_similarity": [
        {
            "sentence1": "a good film",
            "sentence2": "the film",
            "score": number,
            "question": "who ?",
            "answer": f"they {number}",
        }
        for number in range(4)
    ],
    "masked_language_modeling": [
        {"text": "a good film", "label": "up"},
        {"text": "a bad [MASK]", "label": "down"},
    ],
    "text_generation": [{"en": "the film", "de": "good film"}],
}
"""Rows with the columns that the recipe of the page names."""


def page_of(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def recipe_of(name: str, folder: Path) -> Recipe:
    """The page's recipe, beside files with the rows above, on a tiny encoder."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page_of(name), flags=re.MULTILINE | re.DOTALL)
    content = yaml.safe_load(block)
    for dataset in content["datasets"].values():
        if "data_files" not in dataset:  # from the Hub
            dataset["path"] = "json"
            dataset["data_files"] = {s: f"{s}.jsonl" for s in ("train", "validation")}
        for file in dataset["data_files"].values():
            lines = "".join(json.dumps(row) + "\n" for row in ROWS[name] * 4)
            (folder / file).write_text(TREEBANK * 4 if dataset["path"] == "conllu" else lines)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    generates = name == "text_generation"
    made = tiny_seq2seq(folder / "encoder", "t5") if generates else tiny_encoder(folder / "encoder")
    words = [f"encoder={made}", f"output={folder / 'run'}", "training.max_steps=20"]
    rates = ["training.learning_rate=0.02", "training.schedule=constant", "training.warmup=0.0"]
    return Recipe.from_yaml(folder / "recipe.yaml", [*words, *rates, "evaluation.every=20"])


def shown_predictions(name: str) -> list[Any]:
    """The predictions that the page shows, of one task each."""
    sections = re.split(r"^## ", page_of(name), flags=re.MULTILINE)
    (section,) = (one for one in sections if one.startswith("Prediction"))
    blocks = re.findall(r"^```json\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    found = [json.loads(block.replace(", …", "")) for block in blocks]
    rows = [one["predictions"] for one in found if isinstance(one, dict) and "predictions" in one]
    return [value for row in rows for value in row.values()] if rows else found


def shape(value: Any) -> Any:
    """A JSON value with types in the place of texts and numbers; of a list the first item."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def input_of(row: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A row with its input columns alone, under our names."""
    dataset = recipe.datasets[recipe.tasks[next(iter(recipe.tasks))].datasets[0]]
    return {ours: row[theirs] for ours, theirs in dataset.inputs.items()}


def test_every_type_has_a_page_and_every_page_a_type() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(TASK_TYPES) == set(ROWS)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_the_recipe_of_a_page_trains_and_predicts_as_shown(name: str, tmp_path: Path) -> None:
    recipe = recipe_of(name, tmp_path)
    run = train(recipe)
    task = next(n for n, spec in recipe.tasks.items() if spec.type == name)
    names = list(run.metrics["validation"][task])
    pipe = pipeline(run.path)
    assert names == list(pipe.predictor.model.tasks[task].metric_names)
    predicted = pipe(input_of(ROWS[name][-1], recipe), tasks=[task])[task]
    assert shape(predicted) == shape(shown_predictions(name)[0])


@pytest.mark.parametrize("name", TASK_TYPES)
def test_a_page_names_every_column_metric_and_option(name: str) -> None:
    cls, page = TASK_TYPES[name], page_of(name)
    columns = [column for way in cls.columns for column in way]
    always = set.intersection(*map(set, cls.takes))  # of the input
    for word in (*columns, *cls(name="any").metric_names, *always):
        assert re.search(rf"`[^`]*\b{word}\b", page), word
    for option, its in options_of(cls).items():
        if option in ("after", "after_gradient", "layers"):  # of every type, with pages of its own
            continue
        default = re.search(rf"^\| `{option}` \| (.*?) \|", page, flags=re.MULTILINE)
        assert default, option
        if default[1].startswith("`"):
            assert yaml.safe_load(default[1].strip("`")) == its.default
