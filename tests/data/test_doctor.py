"""The data doctor counts what is there and tells what will hurt."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.data.doctor import Examination, examine
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import Recipe
from tests.rows import Rows, json_dataset, make_data, make_recipe

MOOD = {"type": "text_classification", "dataset": "d", "label": "label"}
NER = {"type": "token_classification", "dataset": "d", "tags": "tags"}
SPANS = {"type": "token_classification", "dataset": "d", "entities": "entities"}


def _examine(recipe: Recipe) -> Examination:
    made = make_data(recipe)
    return examine(made.recipe, made.splits, made.tasks, made.bindings, made.encoder, made.train)


def _recipe(folder: Path, task: dict[str, Any], column: str, **splits: Rows) -> Recipe:
    dataset = {**json_dataset(folder, "d", **splits), column: column}
    return make_recipe({"d": dataset}, {"t": task})


def _texts(folder: Path, *, task: dict[str, Any] = MOOD, **labels: list[Any]) -> Recipe:
    """Rows of distinct texts with these labels, two more of a and b each in train."""
    labels = {**labels, "train": ["a", "b", "a", "b", *labels.get("train", [])]}
    labels.setdefault("validation", ["a"])
    rows = {
        split: [{"text": f"{split} {i}", "label": label} for i, label in enumerate(values)]
        for split, values in labels.items()
    }
    return _recipe(folder, task, "text", **rows)


def _sentences(folder: Path, **tags: list[list[str]]) -> Recipe:
    rows = {
        split: [{"tokens": [f"{split}{i}"] * len(t), "tags": t} for i, t in enumerate(sentences)]
        for split, sentences in tags.items()
    }
    return _recipe(folder, NER, "tokens", **rows)


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    train = [
        {"tokens": ["good", "day"], "label": "x", "tags": ["B-a", "I-a"]},
        {"tokens": ["bad", "day"], "label": None, "tags": ["B-a", "B-b"]},
        {"tokens": ["the", "day"], "label": "y", "tags": None},
        {"tokens": ["a", "day"], "label": "y", "tags": ["I-b", "O"]},
    ]
    test = [{"tokens": ["city"], "label": "x", "tags": ["O"]}]
    validation = [{"tokens": ["cities"], "label": None, "tags": ["B-a"]}]
    files = json_dataset(tmp_path, "d", train=train, validation=validation, test=test)
    recipe = make_recipe({"d": {**files, "tokens": "tokens"}}, {"mood": MOOD, "ner": NER})
    found = _examine(recipe)
    assert found.datasets == {"d": {"rows": {"train": 4, "validation": 1, "test": 1}}}
    assert found.tasks == {
        "mood": {
            "type": "text_classification",
            "labels": {
                "train": {"x": 1, "y": 2},
                "validation": {"x": 0, "y": 0},
                "test": {"x": 1, "y": 0},
            },
            "missing": {"train": 1, "validation": 1, "test": 0},
            "truncated": 0.0,
        },
        "ner": {
            "type": "token_classification",
            "labels": {
                "train": {"a": 2, "b": 2},
                "validation": {"a": 1, "b": 0},
                "test": {"a": 0, "b": 0},
            },
            "missing": {"train": 1, "validation": 0, "test": 0},
            "truncated": 0.0,
        },
    }
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()


def test_a_task_counts_over_all_its_datasets(tmp_path: Path) -> None:
    rows = {n: [{"text": f"{n} {label}", "label": label} for label in "aabb"] for n in "de"}
    rows["e"][0]["label"] = None
    datasets = {
        name: {**json_dataset(tmp_path, name, train=four, validation=four[:1]), "text": "text"}
        for name, four in rows.items()
    }
    found = _examine(make_recipe(datasets, {"t": {**MOOD, "dataset": ["d", "e"]}}))
    assert found.tasks["t"]["labels"]["train"] == {"a": 3, "b": 4}
    assert found.tasks["t"]["missing"] == {"train": 1, "validation": 1}


def test_good_data_has_nothing_to_warn_of(tmp_path: Path) -> None:
    assert _examine(_texts(tmp_path, validation=["a"], test=["b"])).warnings == []


WARNED = [
    (
        {"validation": ["a", "c"], "test": ["c", "d", "d"]}, MOOD,
        ["task 't': labels that train lacks: c (1 in validation, 1 in test), d (2 in test); they"
         " count as errors in scoring"],
    ),
    (
        {}, {**MOOD, "labels": ["a", "b", "never"]},
        ["task 't': labels that no row has: never; nothing teaches them"],
    ),
    (
        {"validation": ["never"]}, {**MOOD, "labels": ["a", "b", "never"]},
        ["task 't': labels that train lacks: never (1 in validation); they count as errors in"
         " scoring"],
    ),
    (
        {"train": ["e", "c", "d"]}, MOOD,
        ["task 't': labels that occur only once in train: c, d, e"],
    ),
    (
        {"train": [f"x{i:02}" for i in range(12)]}, MOOD,
        ["task 't': labels that occur only once in train: x00, x01, x02, x03, x04, x05, x06, x07"
         " and 4 more"],
    ),
    (
        {"validation": [None, None]}, MOOD,
        ["task 't': no row of validation has its label, so it has no part in choosing the best"
         " model"],
    ),
    (
        {"test": [None]}, MOOD,
        ["task 't': no row of test has its label, so it gets no test score"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "task", "warnings"), WARNED)
def test_doubtful_labels_are_warned_of(
    tmp_path: Path, labels: dict[str, list[Any]], task: dict[str, Any], warnings: list[str]
) -> None:
    assert _examine(_texts(tmp_path, task=task, **labels)).warnings == warnings


def test_a_task_without_test_rows_beside_one_that_has_them_is_warned_of(tmp_path: Path) -> None:
    rows = [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(4)]
    other = [{"text": f"v {i}", "label": "a"} for i in range(2)]
    files = {
        "d": json_dataset(tmp_path, "d", train=rows, validation=other),
        "e": json_dataset(
            tmp_path, "e", train=rows, validation=other, test=[{"text": "n", "label": "b"}]
        ),
    }
    datasets = {name: {**files[name], "text": "text"} for name in files}
    recipe = make_recipe(datasets, {"t": MOOD, "u": {**MOOD, "dataset": "e"}})
    assert _examine(recipe).warnings == [
        "task 't': no row of test has its label, so it gets no test score"
    ]


def test_a_task_without_a_labelled_training_row_is_an_error(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": None}, {"text": "b", "label": None}]
    recipe = _recipe(tmp_path, {**MOOD, "labels": ["x", "y"]}, "text", train=rows, validation=rows)
    with pytest.raises(DataError, match="task 't': none of the 2 rows of train has its label"):
        _examine(recipe)


def test_rows_of_test_and_validation_that_stand_in_train_are_warned_of(tmp_path: Path) -> None:
    train = [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(6)]
    new = [{"text": f"new {i}", "label": "a"} for i in range(3)]
    recipe = _recipe(tmp_path, MOOD, "text", train=train, validation=[*new, train[4]],
                     test=[new[0], train[5], train[1], new[1], new[2]])  # fmt: skip
    assert _examine(recipe).warnings == [
        "dataset 'd', split validation: 1 of 4 rows (25.0%) stand in train too, so scores on them"
        " say little; row 3 is row 4 there",
        "dataset 'd', split test: 2 of 5 rows (40.0%) stand in train too, so scores on them say"
        " little; row 1 is row 5 there",
    ]


def test_the_label_and_the_second_text_decide_what_is_the_same_row(tmp_path: Path) -> None:
    train = [{"text": "a", "other": o, "label": o} for o in ("x", "y", "x", "y")]
    files = json_dataset(tmp_path, "d", train=train[:2], validation=[{**train[0], "other": "z"}],
                         test=[{**train[0], "label": "y"}])  # fmt: skip
    dataset = {**files, "text": "text", "text_pair": "other"}
    warnings = _examine(make_recipe({"d": dataset}, {"t": MOOD})).warnings
    assert [w for w in warnings if "stand in train" in w] == [
        "dataset 'd', split test: 1 of 1 rows (100.0%) stand in train too, so scores on them say"
        " little; row 0 is row 0 there"
    ]


def test_rows_that_stand_in_train_of_another_dataset_of_the_task_are_warned_of(
    tmp_path: Path,
) -> None:
    rows = {n: [{"text": f"{n} {i}", "label": "ab"[i % 2]} for i in range(4)] for n in "def"}
    new = [{"text": "new", "label": "a"}]
    datasets = {
        "d": json_dataset(tmp_path, "d", train=rows["d"], validation=new),
        "e": json_dataset(tmp_path, "e", train=rows["e"], validation=rows["d"][2:3]),
        "f": json_dataset(tmp_path, "f", train=rows["f"], validation=rows["d"][:1]),
    }
    tasks = {"t": {**MOOD, "dataset": ["d", "e"]}, "u": {**MOOD, "dataset": "f"}}
    recipe = make_recipe({n: {**files, "text": "text"} for n, files in datasets.items()}, tasks)
    assert _examine(recipe).warnings == [
        "dataset 'e', split validation: 1 of 1 rows (100.0%) stand in train of dataset 'd' too, so"
        " scores on them say little; row 0 is row 2 there"
    ]


def test_equal_texts_with_different_labels_are_warned_of(tmp_path: Path) -> None:
    texts = ["same", "other", "same", "third", "third", "same", "fourth", "fourth"]
    labels = ["a", "b", "b", "a", "a", None, None, "b"]
    train = [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)]
    recipe = _recipe(tmp_path, MOOD, "text", train=train, validation=[{"text": "v", "label": "a"}])
    assert _examine(recipe).warnings == [
        "task 't', dataset 'd', split train: inputs that stand there again with another label: 1,"
        " such as rows 0 and 2"
    ]


def test_cut_rows_are_warned_of_with_the_length_that_would_do(tmp_path: Path) -> None:
    lengths = [3] * 90 + [20] * 8 + [40] * 2
    train = [{"text": "the " * n + str(i), "label": "ab"[i % 2]} for i, n in enumerate(lengths)]
    recipe = _recipe(tmp_path, MOOD, "text", train=train, validation=[{"text": "v", "label": "a"}])
    found = _examine(recipe.with_overrides(["max_length=12"]))
    assert found.tasks["t"]["truncated"] == 0.1
    (told,) = found.warnings
    (enough,) = re.findall(
        r"^task 't': 10.0% of its training rows are cut at max_length 12; (\d+) would hold 99%",
        told,
    )
    again = _examine(recipe.with_overrides([f"max_length={enough}"]))
    assert again.tasks["t"]["truncated"] <= 0.01
    shorter = _examine(recipe.with_overrides([f"max_length={int(enough) - 1}"]))
    assert shorter.tasks["t"]["truncated"] > 0.01


def test_only_a_tasks_own_rows_count_as_cut(tmp_path: Path) -> None:
    train = [{"text": "the " * (30 if i % 2 else 3) + str(i), "a": None if i % 2 else str(i % 4),
              "b": str(i % 3)} for i in range(24)]  # fmt: skip
    files = json_dataset(tmp_path, "d", train=train, validation=train[:3])
    tasks = {name: {**MOOD, "label": name} for name in "ab"}
    recipe = make_recipe({"d": {**files, "text": "text"}}, tasks, max_length=12)
    found = _examine(recipe)
    assert {name: task["truncated"] for name, task in found.tasks.items()} == {"a": 0.0, "b": 0.5}
    assert [w.split(":")[0] for w in found.warnings if "are cut" in w] == ["task 'b'"]


def test_a_length_beyond_the_encoder_is_said_to_be_so(tmp_path: Path) -> None:
    train = [{"text": "the " * 600 + str(i), "label": "ab"[i % 2]} for i in range(4)]
    recipe = _recipe(tmp_path, MOOD, "text", train=train, validation=[{"text": "v", "label": "a"}])
    (told,) = _examine(recipe).warnings
    assert "; 603 (more than the 512 that the encoder takes) would hold 99% of them" in told


def test_illegal_tags_are_warned_of_per_split(tmp_path: Path) -> None:
    good = ["B-x", "I-x", "O"]
    recipe = _sentences(
        tmp_path,
        train=[good, good, ["B-x", "O", "I-x"], ["B-x", "B-x"]],
        validation=[good],
        test=[good, good, ["I-x"]],
    )
    assert _examine(recipe).warnings == [
        "task 't', dataset 'd', split train: 1 of 4 tagged rows break bio and are read leniently,"
        " the first is row 2: word 2, tag 'I-x'",
        "task 't', dataset 'd', split test: 1 of 3 tagged rows break bio and are read leniently,"
        " the first is row 2: word 0, tag 'I-x'",
    ]


def test_schemes_that_differ_between_datasets_are_warned_of(tmp_path: Path) -> None:
    tags = {"d": ["B-x", "I-x", "B-x"], "e": ["B-x", "E-x", "S-x"]}
    datasets = {
        name: {
            **json_dataset(tmp_path, name, **{
                split: [{"tokens": [name + split + str(i)] * 3, "tags": row} for i in range(2)]
                for split in ("train", "validation")
            }),
            "tokens": "tokens",
        }
        for name, row in tags.items()
    }  # fmt: skip
    assert _examine(make_recipe(datasets, {"t": {**NER, "dataset": ["d", "e"]}})).warnings == [
        "task 't': its datasets are tagged in different schemes (d has bio, e has bioes); all are"
        " read and brought to one"
    ]


def test_entities_that_split_a_word_are_warned_of(tmp_path: Path) -> None:
    def row(text: str, *entities: tuple[int, int]) -> dict[str, Any]:
        return {
            "text": text,
            "entities": [{"start": a, "end": b, "label": "x"} for a, b in entities],
        }

    train = [
        row("Nadia came", (0, 5)),
        row("In Nadia's city", (3, 8)),
        row("New York-based", (0, 8)),
        row("a whole word ", (2, 7), (8, 13)),
    ]
    recipe = _recipe(tmp_path, SPANS, "text", train=train, validation=[row("Ann", (0, 3))])
    assert _examine(recipe).warnings == [
        "task 't', dataset 'd', split train: entities that begin or end inside a word are widened"
        " to whole words: 2, the first in row 1: 'Nadia' becomes \"Nadia's\""
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "  ", "label": "a"}, "row 1: column text: expected text, found an empty one"),
        ({"text": "v", "label": 0.5}, "row 1, column label: task 't': expected a label's name or"),
    ],
)
def test_a_bad_row_is_found_in_every_split(
    tmp_path: Path, split: str, row: dict[str, Any], message: str
) -> None:
    good = {"text": "g", "label": 1 if isinstance(row["label"], float) else "a"}
    other = {"text": "h", "label": 0 if isinstance(row["label"], float) else "b"}
    rows = {"train": [good, other], "validation": [good], "test": [good]}
    recipe = _recipe(tmp_path, MOOD, "text", **{**rows, split: [good, row]})
    with pytest.raises(DataError, match=f"dataset 'd', split {split}, {message}"):
        _examine(recipe)


def test_each_datasets_words_are_joined_its_own_way(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-x"]}, {"tokens": ["ab"], "tags": ["B-x"]}]
    dataset = {**json_dataset(tmp_path, "d", train=rows, validation=rows[:1]), "tokens": "tokens"}
    apart = _examine(make_recipe({"d": dataset}, {"t": NER})).warnings
    joined = _examine(make_recipe({"d": {**dataset, "join": ""}}, {"t": NER})).warnings
    assert not any("another label" in warning for warning in apart)
    assert any("another label" in warning for warning in joined)


def test_names_in_map_that_no_row_has_are_told(tmp_path: Path) -> None:
    task = {**MOOD, "map": {"a": "good", "c": "fair", "d": "poor"}}
    (warning,) = _examine(_texts(tmp_path, task=task, test=["c"], train=["c", "c"])).warnings
    assert warning == "task 't': map renames labels that no row has: d"
