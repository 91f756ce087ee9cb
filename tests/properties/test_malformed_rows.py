"""Each task type refuses each kind of malformed row, naming dataset, split and row."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from mtl_nlp import Recipe
from mtl_nlp.errors import DataError
from mtl_nlp.tasks import TASK_TYPES
from mtl_nlp.training.evaluation import labelled_rows
from mtl_nlp.training.preparation import Prepared, prepare
from tests.tiny import tiny_encoder, tiny_seq2seq

HUGE, NAN, INF = 10**18, float("nan"), float("inf")
TEXT = {"text": "good film in the city"}
WORDS = {"tokens": ["good", "film", "city"]}
PAIR = {"text": "which city ?", "text_pair": "the old city"}
STORY = {"text": "good film", "choices": ["the city", "music", "it"]}
SPANS = [{"start": 0, "end": 1, "label": "p"}, {"start": 1, "end": 3, "label": "q"}]


def entity(start: Any, end: Any, label: Any = "p") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


def relation(head: Any = 0, tail: Any = 1, label: Any = "in") -> dict[str, Any]:
    return {"head": head, "tail": tail, "label": label}


@dataclass(frozen=True)
class Case:
    """A task, rows that it takes, and what may be wrong with one.

    Attributes:
        task: Its entry in a recipe.
        good: A row, or two where one alone teaches nothing.
        wrong: Values of its label column that are refused.
        wrong_rows: Changes to a row that are refused.
    """

    task: dict[str, Any]
    good: list[dict[str, Any]]
    wrong: list[Any] = field(default_factory=list)
    wrong_rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def inputs(self) -> dict[str, str]:
        known = ("text", "text_pair", "choices", "tokens")
        return {name: name for name in known if name in self.good[0]}

    def mistakes(self) -> list[dict[str, Any]]:
        inputs: dict[str, list[Any]] = {
            "text": [None, "", " ", 3, ["a"], True],
            "text_pair": [None, "", 3, ["a"]],
            "choices": [None, [], ["a"], ["a", ""], ["a", None], "ab", [1, 2]],
            "tokens": [None, [], "good", [1, 2, 3], ["a", None, "b"], [" ", " ", " "], [["a"]] * 3],
        }
        labels = [{"y": value} for value in self.wrong]
        return [*labels, *self.wrong_rows, *({n: v} for n in self.inputs for v in inputs[n])]


def rows_of(row: dict[str, Any], *values: Any) -> list[dict[str, Any]]:
    return [{**row, "y": value} for value in values]


CHARACTERS = [[entity(*ends)] for ends in ((-3, 4), (4, 0), (4, 4), (4, 5), (0, HUGE))]
ENTITIES = [
    *CHARACTERS,
    *([entity(start, 4)] for start in (None, 0.5, "0", False, NAN)),
    *([entity(0, 4, label)] for label in (None, "", 1.5, ["p"])),
    *([{"start": 0, "end": 4}], [None], "p", 3, entity(0, 4)),
    {"start": [0, 1], "end": [4], "label": ["p"]},
]
CASES: dict[str, Case] = {
    "text_classification": Case(
        {"label": "y"}, rows_of(TEXT, "a", "b"), [["a"], 1.5, {"a": 1}, "", NAN, INF]
    ),
    "text_classification by index": Case(
        {"label": "y", "labels": ["a", "b"]}, rows_of(TEXT, 0, 1), [7, -1, 1.5, NAN, INF, HUGE]
    ),
    "multi_label_classification": Case(
        {"labels": "y"}, rows_of(TEXT, ["a"]), ["a", 3, ["a", None], [["a"]], {"a": 1}, [""], [1.5]]
    ),
    "regression": Case(
        {"label": "y"}, rows_of(TEXT, 1.0, 2.0), ["high", NAN, INF, True, [1.0], {"a": 1}]
    ),
    "soft_classification": Case(
        {"label": "y"},
        rows_of(TEXT, {"a": 0.5, "b": 0.5}),
        [
            *({"a": 0.5, "b": p} for p in (0.1, -0.5, 1.5, NAN, INF, "much", True)),
            *("a", 3, {"": 1.0}, {}),
        ],
    ),
    "soft_classification by place": Case(
        {"label": "y", "labels": ["a", "b"]},
        rows_of(TEXT, [0.5, 0.5]),
        [[1.0], [0.5, 0.3, 0.2], [0.5, None], [NAN, 0.5], []],
    ),
    "token_classification": Case(
        {"tags": "y"},
        rows_of(WORDS, ["O", "B-x", "I-x"]),
        [["O"], [], ["O", None, "O"], "O", [["O"]] * 3, [1.5] * 3, ["O", "", "O"], ["O", "x", "O"]],
    ),
    "token_classification by index": Case(
        {"tags": "y", "scheme": "none", "labels": ["a", "b"]},
        rows_of(WORDS, [0, 1, 0]),
        [[1], [], [0, 5, 0], [0, -1, 0], [0.5, 0, 0], [NAN, 0, 0], [HUGE, 0, 0]],
    ),
    "token_classification of entities": Case(
        {"entities": "y"}, rows_of(TEXT, [entity(0, 4)]), [*ENTITIES, [entity(0, 4), entity(2, 9)]]
    ),
    "multi_label_token_classification": Case(
        {"tags": "y"},
        rows_of(WORDS, [["a"], [], ["b"]]),
        [[["a"]], [], ["a", "b", "c"], "a", [["a", None], [], []], [[""], [], []], [[["a"]]] * 3],
    ),
    "span_classification": Case(
        {"spans": "y"},
        rows_of(WORDS, [entity(0, 2)]),
        [*ENTITIES, [entity(0, 4)], [entity(-1, 2)], [entity(1, 1)]],
    ),
    "span_classification of characters": Case(
        {"spans": "y"}, rows_of(TEXT, [entity(0, 4)]), ENTITIES
    ),
    "relation_classification": Case(
        {"spans": "s", "relations": "y"},
        rows_of({**WORDS, "s": SPANS}, [relation()]),
        [
            *([relation(head)] for head in (None, 7, -1, 1, "0", 0.5, False, NAN, HUGE)),
            *([relation(label=label)] for label in (None, "", 1.5, ["in"])),
            *([{"head": 0, "tail": 1}], [relation()] * 2),
            *([None], "in", 3, relation(), {"head": [0], "tail": [1, 0], "label": ["in"]}),
        ],
        [{"s": [entity(0, 1), entity(1, 9)]}, {"s": []}, {"s": "p"}],
    ),
    "lemmatization": Case(
        {"lemmas": "y"},
        rows_of(WORDS, ["good", None, "city"]),
        [["good"], [], ["good", "", "city"], [" "] * 3, [1, 2, 3], "good", [["a"]] * 3, [True] * 3],
    ),
    "dependency_parsing": Case(
        {"heads": "y", "deprels": "d"},
        rows_of({**WORDS, "d": ["root", "x", "y"]}, [0, 1, 1]),
        [
            *([1, 1, 1], [0, 3, 2], [0, 0, 1], [0, 2, 1], [0, 9, 1], [0, -1, 1], [0, HUGE, 1]),
            *([0, 1], [], None, [0, None, 1], [0, 1.5, 1], [0, NAN, 1], ["0", "²", "1"], "0 1 1"),
            [False, True, True],
        ],
        [
            {"d": d}
            for d in (["root", "x"], None, ["root", None, "x"], ["root", "", "x"], [1.5] * 3)
        ],
    ),
    "question_answering": Case(
        {"answers": "y"},
        rows_of(PAIR, {"text": ["city"], "answer_start": [8]}),
        [
            *({"text": ["city"], "answer_start": [s]} for s in (7, -4, 99, HUGE, "x", 8.5, NAN)),
            *({"text": [text], "answer_start": [3]} for text in ("", " ", None)),
            *("city", ["city"], {"text": ["city"]}, {"text": "city", "answer_start": 8}),
            {"text": ["city", "old"], "answer_start": [8]},
        ],
    ),
    "multiple_choice": Case(
        {"label": "y"}, rows_of(STORY, 0), [9, -1, "A", 0.5, NAN, INF, True, HUGE, [0], "²"]
    ),
    "sentence_similarity": Case(
        {"label": "y"}, rows_of(PAIR, 0.0, 1.0), ["high", NAN, INF, True, [1.0], {"a": 1}]
    ),
    "masked_language_modeling": Case({}, [TEXT]),
    "text_generation": Case(
        {"target": "y"}, rows_of(TEXT, "a film"), ["", " ", 3, ["a"], True, {"a": 1}]
    ),
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    tiny_encoder(folder / "bert")
    tiny_seq2seq(folder / "t5", "t5")
    return folder


def prepared_of(name: str, encoders: Path, folder: Path) -> Prepared:
    """The case's task, learned from its good rows."""
    kind, case = name.split()[0], CASES[name]
    for split in ("train", "validation"):
        (folder / split).write_text("".join(json.dumps(row) + "\n" for row in case.good * 3))
    files = {split: str(folder / split) for split in ("train", "validation")}
    alone = kind == "masked_language_modeling"
    recipe = Recipe(
        encoder=str(encoders / ("t5" if kind == "text_generation" else "bert")),
        max_length=32,
        datasets={"data": {"path": "json", "data_files": files, **case.inputs}},
        tasks={"t": {"type": kind, "dataset": "data", **case.task}},
        evaluation={"select": "t.perplexity"} if alone else {},
    )
    return prepare(recipe)


def labelled(prepared: Prepared, row: dict[str, Any]) -> int:
    """How many labels the row has, read as the only one of a file: a column has one type."""
    rows = labelled_rows(
        Dataset.from_list([row]),
        place="dataset 'data', split test",
        spec=prepared.recipe.datasets["data"],
        encoder=prepared.encoder,
        tasks=prepared.tasks,
        bindings=prepared.bindings,
    )
    return len(rows.labelled("t"))


def test_every_type_is_here() -> None:
    assert {name.split()[0] for name in CASES} == set(TASK_TYPES)


@pytest.mark.parametrize("name", CASES)
def test_each_kind_of_malformed_row_is_refused_with_its_place(
    name: str, encoders: Path, tmp_path: Path
) -> None:
    case, prepared = CASES[name], prepared_of(name, encoders, tmp_path)
    assert [labelled(prepared, row) for row in case.good] == [1] * len(case.good)
    for mistake in case.mistakes():
        with pytest.raises(DataError, match=r"^dataset 'data', split test, row 0"):
            assert labelled(prepared, {**case.good[0], **mistake}) is None, mistake
