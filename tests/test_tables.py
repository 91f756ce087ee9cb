import math
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mtl_nlp.tables import evaluation_table, format_score, metrics_table


def text(table: RenderableType, width: int = 100) -> list[str]:
    console = Console(file=StringIO(), width=width)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def cells(table: RenderableType) -> list[list[str]]:
    return [line.split() for line in text(table) if line.strip(" ─")]


METRICS: dict[str, dict[str, Any]] = {
    "validation": {
        "sentiment": {"accuracy": 0.87654, "mcc": None},
        "ner": {
            "f1": 0.45,
            "per_type": {
                "person": {"precision": 0.5, "recall": 0.6, "f1": 0.55, "support": 120},
                "[work]": {"precision": 0.5, "recall": 0.6, "f1": 0.25, "support": 12},
            },
        },
        "lm": {"perplexity": 1234.56},
        "mean": 0.66327,
    },
    "test": {
        "sentiment": {"accuracy": 0.87, "mcc": 0.7},
        "ner": {"f1": 0.41, "per_type": {"person": {"f1": 0.5}, "location": {"f1": 0.4}}},
        "mean": 0.64,
    },
}


def test_metrics_stand_in_a_column_per_split_and_types_below_their_task() -> None:
    assert cells(metrics_table(METRICS)) == [
        ["task", "metric", "validation", "test"],
        ["sentiment", "accuracy", "0.8765", "0.8700"],
        ["mcc", "-", "0.7000"],
        ["ner", "f1", "0.4500", "0.4100"],
        ["per", "type,", "f1"],
        ["person", "0.5500", "0.5000"],
        ["[work]", "0.2500", "-"],
        ["location", "-", "0.4000"],
        ["lm", "perplexity", "1,234.6", "-"],
        ["mean", "0.6633", "0.6400"],
    ]


def test_types_are_indented_below_their_metric() -> None:
    lines = text(metrics_table(METRICS))
    (heading,) = (line for line in lines if "per type" in line)
    (person,) = (line for line in lines if "person" in line)
    assert person.index("person") == heading.index("per type") + 2


def test_a_mapping_without_f1_shows_its_first_number_and_plain_numbers_as_they_are() -> None:
    table = metrics_table({"test": {"t": {"by": {"a": {"recall": 0.5, "n": 3}, "b": 7, "c": {}}}}})
    assert cells(table)[2:] == [["a", "0.5000"], ["b", "7"], ["c", "-"]]


def test_a_run_without_a_mean_has_no_such_row() -> None:
    assert cells(metrics_table({"test": {"t": {"f1": 0.5}}}))[1:] == [["t", "f1", "0.5000"]]
    assert cells(metrics_table({})) == [["task", "metric"]]


def test_numbers_stay_whole_in_a_narrow_terminal() -> None:
    lines = "\n".join(text(metrics_table(METRICS), width=42))
    for number in ("0.8765", "0.8700", "1,234.6", "0.6633"):
        assert number in lines


def test_an_evaluation_stands_beside_the_best_before_it() -> None:
    primary = {"sentiment": "accuracy", "ner": "f1", "lm": "perplexity", "new": "f1"}
    earlier = [
        (100, {"sentiment": {"accuracy": 0.9}, "ner": {"f1": 0.2}, "lm": {"perplexity": 30.0}}),
        (200, {"sentiment": {"accuracy": 0.8}, "ner": {"f1": 0.4}, "lm": {"perplexity": 40.0}}),
        (300, {"sentiment": {"accuracy": 0.9}, "ner": {"f1": math.nan}, "new": {"f1": None}}),
    ]
    scores = {
        "sentiment": {"accuracy": 0.9, "macro_f1": 0.1},
        "ner": {"f1": 0.41},
        "lm": {"perplexity": 20.0},
        "new": {"f1": 0.0},
    }
    assert cells(evaluation_table(scores, primary, 0.5, earlier)) == [
        ["task", "metric", "score", "best", "before"],
        ["sentiment", "accuracy", "0.9000", "0.9000", "(step", "100)"],
        ["ner", "f1", "0.4100", "0.4000", "(step", "200)", "★"],
        ["lm", "perplexity", "20.0000", "30.0000", "(step", "100)", "★"],
        ["new", "f1", "0.0000", "★"],
        ["mean", "0.5000"],
    ]


def test_a_score_that_is_missing_is_never_the_best() -> None:
    primary = {"a": "f1", "b": "f1", "c": "f1"}
    table = evaluation_table({"a": {"f1": None}, "b": {"f1": math.nan}}, primary, None)
    assert cells(table)[1:] == [[task, "f1", "-"] for task in primary]


def test_one_task_needs_no_mean() -> None:
    table = evaluation_table({"a": {"f1": 0.5}}, {"a": "f1"}, 0.5, star="*")
    assert cells(table)[1:] == [["a", "f1", "0.5000", "*"]]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.87656, "0.8766"),
        (-0.5, "-0.5000"),
        (1, "1"),
        (12345, "12,345"),
        (99.5, "99.5000"),
        (1234.56, "1,234.6"),
        (math.inf, "inf"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_scores_take_few_characters(value: float | None, shown: str) -> None:
    assert format_score(value) == shown


def test_tables_need_rich_alone() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'numpy', 'matplotlib'}"
    code = f"import sys, mtl_nlp.tables; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
