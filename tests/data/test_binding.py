"""Label columns reach a task under its own names, class numbers as names."""

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import List as ListFeature

from mtl_nlp.data.binding import Binding, records


def test_records_come_in_order_across_batches() -> None:
    table = Dataset.from_dict({"a": range(2500), "b": [str(i) for i in range(2500)]})
    assert list(records(table)) == [{"a": i, "b": str(i)} for i in range(2500)]


def test_only_the_label_of_an_entity_is_renamed() -> None:
    feature = ListFeature({"start": Value("int64"), "label": Value("string")})
    table = Dataset.from_dict(
        {"column": [[{"start": 0, "label": "0"}]]}, features=Features({"column": feature})
    )
    binding = Binding("t", "d", {"entities": "column"}, {"0": "person"})
    assert list(binding.column(table)) == [{"entities": [{"start": 0, "label": "person"}]}]


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        (ClassLabel(names=["a", "b"]), 1, "b"),
        (ClassLabel(names=["a", "b"]), -1, None),
        (ClassLabel(names=["a", "b"]), None, None),
        (ListFeature(ClassLabel(names=["O", "B-x"])), [1, 0], ["B-x", "O"]),
        (ListFeature({"start": Value("int64"), "label": ClassLabel(names=["p", "q"])}),
         [{"start": 3, "label": 1}], [{"start": 3, "label": "q"}]),
        (Value("string"), "b", "b"),
        (Value("float64"), 1.0, 1.0),
    ],
)  # fmt: skip
def test_class_numbers_reach_the_task_as_names(feature: Any, value: Any, expected: Any) -> None:
    table = Dataset.from_dict({"column": [value]}, features=Features({"column": feature}))
    binding = Binding("t", "d", {"label": "column"}, {})
    assert list(binding.column(table)) == [{"label": expected}]


def test_a_record_of_lists_has_its_class_numbers_named() -> None:
    feature = {"start": ListFeature(Value("int64")), "label": ListFeature(ClassLabel(names=["p"]))}
    table = Dataset.from_dict(
        {"column": [{"start": [3], "label": [0]}]}, features=Features({"column": feature})
    )
    (fields,) = Binding("t", "d", {"entities": "column"}, {}).column(table)
    assert fields == {"entities": {"start": [3], "label": ["p"]}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("pos", "good"),
        (1, "one"),
        (["B-pos", "O", "I-pos"], ["B-good", "O", "I-good"]),
        ({"label": "pos", "start": 4}, {"label": "good", "start": 4}),
        ("other", "other"),
        (None, None),
    ],
)
def test_renaming_reaches_into_lists_and_records(value: Any, expected: Any) -> None:
    binding = Binding("t", "d", {"label": "label"}, {"pos": "good", "1": "one"})
    features = Features({"label": Value("string")})
    assert binding.fields({"label": value}, features) == {"label": expected}


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["a b", "c"], [(0, "a b"), (4, "c")]),
        ("It's so.", [(0, "It's"), (5, "so"), (7, ".")]),
        (None, []),
    ],
)
def test_a_task_that_learns_from_words_is_given_them(
    column: Any, words: list[tuple[int, str]]
) -> None:
    table = Dataset.from_list([{"lemmas": ["x"], "input": column, "other": 1}])
    binding = Binding("t", "d", {"lemmas": "lemmas"}, {}, "input")
    (fields,) = binding.column(table)
    assert fields.keys() == {"lemmas", "words"}
    found = fields["words"]
    assert list(zip(found.starts, found.strings(), strict=True)) == words


def test_rows_of_a_task_without_columns_are_counted_also_in_a_part_of_a_table() -> None:
    binding = Binding("t", "d", {}, {})
    table = Dataset.from_dict({"text": ["a", "b", "c"]})
    assert list(binding.column(table)) == [{}] * 3
    assert list(binding.column(table.select([2, 0]))) == [{}] * 2
