"""Training rows are encoded once, with the labels of every task on them; bad rows are named."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_nlp.data.prepare import LABELS
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.views import PLAIN
from tests.rows import Rows, json_dataset, make_data, make_recipe, write_rows

MOOD = {"type": "text_classification", "dataset": "d", "label": "label"}
NER = {"type": "token_classification", "dataset": "d", "tags": "tags"}
SPANS = {"type": "token_classification", "dataset": "d", "entities": "entities"}
ROWS = [
    {"tokens": ["good", "city"], "label": "up", "tags": ["O", "B-place"]},
    {"tokens": ["bad"], "label": "down", "tags": None},
    {"tokens": ["very", "cats"], "label": None, "tags": ["O", "O"]},
]


def _recipe(folder: Path, rows: Rows, tasks: dict[str, Any], **columns: Any) -> Recipe:
    columns = columns or {"tokens": "tokens"}
    dataset = {**json_dataset(folder, "d", train=rows, validation=rows), **columns}
    return make_recipe({"d": dataset}, tasks)


def _labels(recipe: Recipe, task: str) -> list[Any]:
    train = make_data(recipe).train["d"]
    column: list[Any] = train.take(np.arange(len(train))).column(LABELS + task).to_pylist()
    return column


def test_several_tasks_share_the_encoded_row(tmp_path: Path) -> None:
    made = make_data(_recipe(tmp_path, ROWS, {"mood": MOOD, "ner": NER}))
    table = made.train["d"].take(np.array([2, 0]))
    assert sum(name.endswith("input_ids") for name in table.column_names) == 1
    assert table.column(LABELS + "mood").to_pylist() == [None, 1]
    assert table.column(LABELS + "ner").to_pylist()[1] == [-100, 0, 1, -100]
    assert len(made.train["d"]) == 3


def test_a_missing_label_is_skipped_by_its_task_alone(tmp_path: Path) -> None:
    train = make_data(_recipe(tmp_path, ROWS, {"mood": MOOD, "ner": NER})).train["d"]
    assert train.labelled["mood"].tolist() == [True, True, False]
    assert train.labelled["ner"].tolist() == [True, False, True]


def test_lengths_and_cuts_are_kept(tmp_path: Path) -> None:
    rows = [{"text": "the " * n, "label": str(n % 2)} for n in (1, 4, 40)]
    recipe = _recipe(tmp_path, rows, {"mood": MOOD}, text="text")
    train = make_data(recipe.with_overrides(["max_length=10"])).train["d"]
    assert train.lengths.tolist() == [3, 6, 10]
    assert train.truncated(PLAIN).tolist() == [False, False, True]


def test_one_task_learns_from_datasets_that_differ_in_everything(tmp_path: Path) -> None:
    stars = [{"text": "a", "stars": 1}, {"text": "b", "stars": 0}]
    moods = [{"words": ["c"], "mood": "neg"}, {"words": ["d"], "mood": "pos"}]
    datasets = {
        "d": {**json_dataset(tmp_path, "d", train=stars, validation=stars), "text": "text"},
        "e": {**json_dataset(tmp_path, "e", train=moods, validation=moods), "tokens": "words"},
    }
    task = {
        **MOOD,
        "dataset": ["d", "e"],
        "label": {"d": "stars", "e": "mood"},
        "map": {"pos": "good", "neg": "bad", "1": "good", "0": "bad"},
    }
    made = make_data(make_recipe(datasets, {"t": task}))
    assert made.tasks["t"].labels == ("bad", "good")
    ids = {
        name: train.take(np.arange(2)).column(LABELS + "t").to_pylist()
        for name, train in made.train.items()
    }
    assert ids == {"d": [1, 0], "e": [0, 1]}


@pytest.mark.parametrize(
    ("values", "labels", "ids"),
    [
        (["b", "a", "b"], None, [1, 0, 1]),
        ([1, 0, 2], ["x", "y", "z"], [1, 0, 2]),
        ([3, 5, 3], None, [0, 1, 0]),
        ([True, False, True], None, [1, 0, 1]),
        (["z", "x", "x"], ["x", "y", "z"], [2, 0, 0]),
    ],
)
def test_labels_are_names_or_indices(
    tmp_path: Path, values: list[Any], labels: list[str] | None, ids: list[int]
) -> None:
    rows = [{"text": "a", "label": value} for value in values]
    assert (
        _labels(_recipe(tmp_path, rows, {"t": {**MOOD, "labels": labels}}, text="text"), "t") == ids
    )


def test_whole_numbers_of_a_csv_with_gaps_are_read(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,label\ngood,1\nbad,\nday,0\n")
    files = dict.fromkeys(("train", "validation"), str(tmp_path / "d.csv"))
    dataset = {"path": "csv", "data_files": files, "text": "text"}
    assert _labels(make_recipe({"d": dataset}, {"t": MOOD}), "t") == [1, None, 0]


TAGGED = {
    "iob1": (["I-x", "I-x", "B-x", "O", "I-y"], ["B-x", "I-x", "B-x", "O", "B-y"]),
    "bio": (["B-x", "I-x", "B-x", "O", "B-y"], ["B-x", "I-x", "B-x", "O", "B-y"]),
    "bioes": (["B-x", "E-x", "S-x", "O", "S-y"], ["B-x", "I-x", "B-x", "O", "B-y"]),
    "bilou": (["B-x", "L-x", "U-x", "O", "U-y"], ["B-x", "I-x", "B-x", "O", "B-y"]),
}


@pytest.mark.parametrize("written", TAGGED)
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_tags_in_any_scheme_become_those_of_the_head(
    tmp_path: Path, written: str, scheme: str
) -> None:
    tags, _ = TAGGED[written]
    rows = [{"tokens": ["the", "a", "and", "or", "not"], "tags": tags}]
    made = make_data(_recipe(tmp_path, rows, {"t": {**NER, "scheme": scheme}}))
    (ids,) = made.train["d"].take(np.array([0])).column(LABELS + "t").to_pylist()
    names = [made.tasks["t"].logit_names[i] for i in ids if i >= 0]
    expected = TAGGED["bio" if scheme == "bio" else "bioes"][0]
    assert names == expected


def test_a_whole_batch_without_a_label_is_no_reason_to_fail(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": None, "entities": None}] * 1500
    entity = {"start": 0, "end": 4, "label": "x"}
    rows = [*rows, {"text": "good", "label": "u", "entities": [entity]},
            {"text": "b", "label": "v", "entities": []}]  # fmt: skip
    train = make_data(_recipe(tmp_path, rows, {"t": MOOD, "n": SPANS}, text="text")).train["d"]
    assert np.flatnonzero(train.labelled["t"]).tolist() == [1500, 1501]
    assert train.take(np.array([1500])).column(LABELS + "n").to_pylist() == [[-100, 1, -100]]


def test_a_task_without_any_label_in_train_is_merely_never_labelled(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": None}] * 3
    recipe = _recipe(tmp_path, rows, {"t": {**MOOD, "labels": ["x", "y"]}}, text="text")
    assert not make_data(recipe).train["d"].labelled["t"].any()


def test_parquet_keeps_the_names_of_a_class_label(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["worse", "better"])})
    table = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    table.to_parquet(str(tmp_path / "d.parquet"))
    files = dict.fromkeys(("train", "validation"), str(tmp_path / "d.parquet"))
    recipe = make_recipe(
        {"d": {"path": "parquet", "data_files": files, "text": "text"}}, {"t": MOOD}
    )
    assert make_data(recipe).tasks["t"].labels == ("worse", "better")
    assert _labels(recipe, "t") == [1, 0]


@pytest.mark.parametrize(
    ("row", "task", "columns", "message"),
    [
        ({"text": " ", "label": "a"}, MOOD, {"text": "text"},
         "row 2: column text: expected text, found an empty one; mend or drop the row"),
        ({"text": None, "label": "a"}, MOOD, {"text": "text"},
         "row 2: column text: expected text, found None"),
        ({"text": "a", "other": None, "label": "a"}, MOOD, {"text": "text", "text_pair": "other"},
         "row 2: column text_pair: expected text, found None"),
        ({"tokens": [], "tags": []}, NER, {"tokens": "tokens"},
         "row 2: column tokens: expected words, found none"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, NER, {"tokens": "tokens"},
         "row 2, column tags: task 't': 2 words but 1 tags; give exactly one tag per word"),
        ({"tokens": ["a"], "tags": ["person"]}, NER, {"tokens": "tokens"},
         "row 2, column tags: task 't': 'person' is no tag of a span"),
        ({"tokens": ["a"], "tags": [None]}, NER, {"tokens": "tokens"},
         "row 2, column tags: task 't': expected tags such as .* found None"),
        ({"text": "a", "entities": [{"start": 0, "end": 9, "label": "x"}]}, SPANS,
         {"text": "text"}, "row 2, column entities: task 't': entity 'x' of characters 0 to 9 lies"
         " outside the text of 1 characters"),
        ({"text": "a b", "entities": [{"start": 1, "end": 2, "label": "x"}]}, SPANS,
         {"text": "text"}, "row 2, column entities: task 't': entity 'x' .* is only blanks"),
        ({"text": "abc", "entities": [{"start": 0, "end": 2, "label": "x"},
                                      {"start": 2, "end": 3, "label": "y"}]}, SPANS,
         {"text": "text"}, r"row 2, column entities: task 't': entities 'x' \(0 to 2\) and 'y'"
         r" \(2 to 3\) share a word"),
        ({"text": "abc", "entities": [{"start": 0, "end": None, "label": "x"}]}, SPANS,
         {"text": "text"}, "row 2, column entities: task 't': expected an entity with start, end"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(
    tmp_path: Path, row: dict[str, Any], task: Any, columns: Any, message: str
) -> None:
    good = {"text": "ab", "other": "b", "tokens": ["a"], "tags": ["B-x"],
            "entities": [{"start": 0, "end": 2, "label": "x"}]}  # fmt: skip
    rows = [{**good, "label": "a"}, {**good, "label": "b"}, {**good, "label": "a", **row}]
    with pytest.raises(DataError, match=f"dataset 'd', split train, {message}"):
        make_data(_recipe(tmp_path, rows, {"t": task}, **columns))


@pytest.mark.parametrize(
    ("task", "columns", "value", "message"),
    [
        (MOOD, {"text": "text"}, ["x"], r"expected a label's name or index, found \['x'\]"),
        (NER, {"tokens": "tokens"}, "O B-x", r"expected a list of tags, one per word, found 'O B"),
        (NER, {"tokens": "tokens"}, [7], r"expected tags such as 'O' or 'B-person', found 7"),
        (SPANS, {"text": "text"}, "x", r"expected a list of entities, found 'x'"),
        (SPANS, {"text": "text"}, ["x"], r"expected an entity with start, end and label, found"),
    ],
)
def test_a_value_of_another_kind_is_named(
    tmp_path: Path, task: Any, columns: Any, value: Any, message: str
) -> None:
    key = next(k for k in ("label", "tags", "entities") if k in task)
    good = {"label": "a", "tags": ["B-x"], "entities": [{"start": 0, "end": 1, "label": "x"}]}[key]
    rows = [{"text": "a", "tokens": ["a"], key: one} for one in (good, value)]
    expected = f"dataset 'd', split train, row 1, column {key}: task 't': {message}"
    with pytest.raises(DataError, match=expected):
        make_data(_recipe(tmp_path, rows, {"t": task}, **columns))


def test_entities_may_come_as_a_record_of_lists(tmp_path: Path) -> None:
    entities = {"start": [0, 4], "end": [3, 8], "label": ["x", "y"]}
    rows = [{"text": "the city", "entities": entities}]
    assert _labels(_recipe(tmp_path, rows, {"t": SPANS}, text="text"), "t") == [[-100, 1, 3, -100]]


def test_entities_need_a_scheme(tmp_path: Path) -> None:
    rows = [{"text": "a", "entities": [{"start": 0, "end": 1, "label": "x"}]}]
    recipe = _recipe(tmp_path, rows, {"t": {**SPANS, "scheme": "none"}}, text="text")
    with pytest.raises(DataError, match="task 't': entities are spans; scheme: none is for tags"):
        make_data(recipe)


def test_a_label_outside_the_given_ones_is_named(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, ROWS, {"t": {**MOOD, "labels": ["up", "over"]}})
    expected = (
        "dataset 'd', split train, row 1: task 't' has no label 'down'; its labels are up, over;"
        r" mend the row, or add it to tasks.t.labels"
    )
    with pytest.raises(DataError, match=expected):
        make_data(recipe)


@pytest.mark.parametrize("value", [3, -1])
def test_an_index_past_the_given_labels_is_named(tmp_path: Path, value: int) -> None:
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": value}]
    recipe = _recipe(tmp_path, rows, {"t": {**MOOD, "labels": ["x", "y"]}}, text="text")
    expected = f"split train, row 1, column label: task 't': label index {value} is out of range"
    with pytest.raises(DataError, match=expected):
        make_data(recipe)


def _cached(folder: Path) -> dict[str, int]:
    """The encoded columns that are kept, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("cache-*.arrow")}


def _cache_of(recipe: Recipe) -> Path:
    return Path(make_data(recipe).splits["d"]["train"].cache_files[0]["filename"]).parent


def test_the_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, ROWS, {"mood": MOOD, "ner": NER})
    first = make_data(recipe).train["d"].take(np.arange(3))
    folder = _cache_of(recipe)
    before = _cached(folder)
    assert before
    assert make_data(recipe).train["d"].take(np.arange(3)).equals(first)
    assert _cached(folder) == before


@pytest.mark.slow
def test_another_process_meets_the_same_cache(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, ROWS, {"mood": MOOD, "ner": NER})
    folder = _cache_of(recipe)
    before = _cached(folder)
    recipe.to_yaml(tmp_path / "recipe.yaml")
    script = (
        "from mtl_nlp.recipe import Recipe; from tests.rows import make_data;"
        f" made = make_data(Recipe.from_yaml({str(tmp_path / 'recipe.yaml')!r}));"
        " print(len(made.train['d']))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split()[-1] == "3"
    assert _cached(folder) == before


@pytest.mark.parametrize(
    "change",
    ["max_length=16", "tasks.ner.scheme=bioes", "tasks.mood.map={up: high}", "datasets.d.join=''"],
)
def test_what_changes_the_columns_misses_the_cache(tmp_path: Path, change: str) -> None:
    recipe = _recipe(tmp_path, ROWS, {"mood": MOOD, "ner": NER})
    folder = _cache_of(recipe)
    before = _cached(folder)
    make_data(recipe.with_overrides([change]))
    assert _cached(folder).keys() > before.keys()


def test_changed_rows_are_read_anew(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, ROWS, {"mood": MOOD})
    assert _labels(recipe, "mood") == [1, 0, None]
    write_rows(tmp_path / "d-train.jsonl", ROWS[::-1])
    assert _labels(recipe, "mood") == [None, 0, 1]
