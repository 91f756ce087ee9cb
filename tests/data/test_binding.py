"""A task finds its labels in the columns of its datasets, whatever they are called."""

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import List as ListFeature

from mtl_nlp.data.binding import Binding, bind_tasks, learn_tasks, metric_name, records
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.tasks.base import Task
from tests.rows import make_recipe

TEXT = {"path": "org/texts", "text": "text"}
WORDS = {"path": "org/words", "tokens": "tokens"}
MOOD = {"type": "text_classification", "dataset": "d", "label": "label"}
SUBJECTS = {"type": "multi_label_classification", "dataset": "d", "labels": "subjects"}
NER = {"type": "token_classification", "dataset": "d", "tags": "tags"}


def _learn(task: dict[str, Any], *tables: Dataset) -> Task:
    """The task learned from datasets d, e, … of these training rows."""
    names = "de"[: len(tables)]
    inputs = WORDS if task["type"] == "token_classification" and "tags" in task else TEXT
    recipe = make_recipe(dict.fromkeys(names, inputs), {"t": {**task, "dataset": list(names)}})
    splits = {name: {"train": table} for name, table in zip(names, tables, strict=True)}
    return learn_tasks(*bind_tasks(recipe), splits)["t"]


def _labels(*values: Any, feature: Any = None) -> Dataset:
    features = Features({"label": feature}) if feature else None
    return Dataset.from_dict({"label": list(values)}, features=features)


def test_records_come_in_order_across_batches() -> None:
    table = Dataset.from_dict({"a": range(2500), "b": [str(i) for i in range(2500)]})
    assert list(records(table)) == [{"a": i, "b": str(i)} for i in range(2500)]


def test_columns_are_bound_per_dataset() -> None:
    task = {**MOOD, "dataset": ["d", "e"], "label": {"d": "stars", "e": "mood"}}
    tasks, bindings = bind_tasks(make_recipe({"d": TEXT, "e": TEXT}, {"t": task}))
    assert [(b.dataset, b.columns) for b in bindings] == [
        ("d", {"label": "stars"}),
        ("e", {"label": "mood"}),
    ]
    assert tasks["t"].inputs == ("text",)


def test_settings_reach_the_task() -> None:
    task = {**NER, "scheme": "bioes", "labels": ["person"], "weight": 2}
    (built,) = bind_tasks(make_recipe({"d": WORDS}, {"t": task}))[0].values()
    assert (built.type, built.weight, built.labels) == ("token_classification", 2.0, ("person",))
    assert built.logit_names == ("O", "B-person", "I-person", "E-person", "S-person")


@pytest.mark.parametrize(
    ("labels", "column", "names"),
    [
        ("subjects", "subjects", ()),
        ({"d": "about"}, "about", ()),
        (["a", "b"], "labels", ("a", "b")),
    ],
)
def test_a_type_with_a_column_of_labels_is_told_column_or_names(
    labels: Any, column: str, names: tuple[str, ...]
) -> None:
    task = {**SUBJECTS, "labels": labels}
    tasks, (binding,) = bind_tasks(make_recipe({"d": TEXT}, {"t": task}))
    assert (binding.columns, tasks["t"].labels) == ({"labels": column}, names)


def test_labels_of_all_datasets_are_learned_sorted() -> None:
    assert _learn(MOOD, _labels("b", "c"), _labels("a", None)).labels == ("a", "b", "c")


def test_numbers_are_sorted_as_numbers() -> None:
    assert _learn(MOOD, _labels(10, 9, 2)).labels == ("2", "9", "10")


def test_whole_numbers_read_as_floats_are_whole() -> None:
    assert _learn(MOOD, _labels(1.0, 0.0, None)).labels == ("0", "1")


def test_a_class_label_keeps_its_order() -> None:
    feature = ClassLabel(names=["worse", "better"])
    assert _learn(MOOD, _labels(1, 1, feature=feature)).labels == ("worse", "better")


def test_class_labels_of_several_datasets_are_joined_in_order() -> None:
    one, other = ClassLabel(names=["z", "b"]), ClassLabel(names=["b", "a"])
    tables = _labels(0, feature=one), _labels(1, feature=other)
    assert _learn(MOOD, *tables).labels == ("z", "b", "a")


def test_renaming_reaches_labels_and_tags_behind_their_prefix() -> None:
    assert _learn({**MOOD, "map": {"pos": "good"}}, _labels("pos", "bad")).labels == ("bad", "good")
    feature = ListFeature(ClassLabel(names=["O", "B-PER", "I-PER"]))
    tags = Dataset.from_dict({"tags": [[1, 2]]}, features=Features({"tags": feature}))
    assert _learn({**NER, "map": {"PER": "person"}}, tags).labels == ("person",)


@pytest.mark.parametrize(
    ("values", "rename"),
    [
        ([True, False, None], {"true": "pos", "false": "neg"}),
        ([1.0, 0.0, None], {"1": "pos", "0": "neg"}),
        ([1, 0, None], {"1": "pos", "0": "neg"}),
        ([1.5, 0.0, 1.0], {"1": "pos", "0": "neg", "1.5": "pos"}),
    ],
)
def test_truth_values_and_numbers_are_renamed_by_their_names(
    values: list[Any], rename: dict[str, str]
) -> None:
    task = {**MOOD, "map": rename}
    assert _learn(task, _labels(*values)).labels == ("neg", "pos")
    (binding,) = bind_tasks(make_recipe({"d": TEXT}, {"t": task}))[1]
    assert binding.renamed(_labels(*values)) == set(rename)
    assert binding.renamed(_labels("pos", None)) == set()


def test_only_the_label_of_an_entity_is_renamed() -> None:
    feature = ListFeature({"start": Value("int64"), "label": Value("string")})
    table = Dataset.from_dict(
        {"column": [[{"start": 0, "label": "0"}]]}, features=Features({"column": feature})
    )
    binding = Binding("t", "d", {"entities": "column"}, {"0": "person"})
    assert list(binding.column(table)) == [{"entities": [{"start": 0, "label": "person"}]}]


def test_given_labels_need_no_rows() -> None:
    assert _learn({**MOOD, "labels": ["x", "y"]}, _labels(None)).labels == ("x", "y")


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
    ("task", "message"),
    [
        ({**MOOD, "type": "text_clasification"}, r"tasks.t.type: .*did you mean 'text_classif"),
        ({**MOOD, "scheme": "bio"}, r"tasks.t.scheme: unknown key"),
        ({**NER, "schema": "bio"}, r"tasks.t.schema: unknown key; did you mean 'scheme'\?"),
        ({**NER, "scheme": "bilou"}, r"tasks.t.scheme: .*found 'bilou'"),
        ({**MOOD, "inputs": ["text"]}, r"tasks.t.inputs: is not for a recipe to set"),
        ({**MOOD, "stock": False}, r"tasks.t.stock: is not for a recipe to set"),
        ({**NER, "entities": "e"}, r"tasks.t: expected the label columns tags: COLUMN or entities"
         r": COLUMN, found .*tags: tags.*entities: e|tasks.t: expected the label columns"),
        ({k: v for k, v in MOOD.items() if k != "label"}, r"tasks.t: expected .*label: COLUMN,"
         " found none"),
        ({**MOOD, "labels": "mood"}, r"tasks.t.labels: should be a list of label names, found"),
        ({"type": SUBJECTS["type"], "dataset": "d"}, r"tasks.t: expected .* labels: COLUMN, found"),
        ({**MOOD, "label": 3}, r"tasks.t.label: expected a column's name, found 3"),
        ({**MOOD, "label": {"e": "label"}}, r"tasks.t.label: names no column for the dataset 'd';"
         " it has one for e"),
    ],
)  # fmt: skip
def test_mistakes_in_a_task_name_its_key(task: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        bind_tasks(make_recipe({"d": WORDS if "tags" in task else TEXT}, {"t": task}))


def test_pairs_and_single_texts_do_not_mix_in_one_task() -> None:
    datasets = {"d": TEXT, "e": {**TEXT, "text_pair": "second"}}
    with pytest.raises(RecipeError, match=r"tasks.t.dataset: e holds pairs of texts"):
        bind_tasks(make_recipe(datasets, {"t": {**MOOD, "dataset": ["d", "e"]}}))


def test_places_in_words_and_in_characters_do_not_mix_in_one_task() -> None:
    task = {"type": "span_classification", "dataset": ["d", "e"], "spans": "spans"}
    with pytest.raises(
        RecipeError, match=r"tasks.t.dataset: places in e count words of tokens, in"
    ):
        bind_tasks(make_recipe({"d": TEXT, "e": WORDS}, {"t": task}))
    for both in (TEXT, WORDS):
        bind_tasks(make_recipe({"d": both, "e": both}, {"t": task}))
    bind_tasks(make_recipe({"d": TEXT, "e": WORDS}, {"t": {**MOOD, "dataset": ["d", "e"]}}))


def test_a_missing_label_column_is_told_with_the_ones_there_are() -> None:
    table = Dataset.from_dict({"text": ["x"], "mood": ["good"]})
    expected = r"dataset 'd', split train: no column 'label' \(tasks.t.label\); it has text, mood"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, table)


def test_a_label_that_cannot_be_learned_is_told_with_its_row() -> None:
    expected = r"dataset 'e', split train, row 1, column label: task 't': .*found 0\.5"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, _labels("a", "b", "c"), _labels(0.0, 0.5))


def test_rows_without_label_columns_are_counted_where_they_are_taken_from_a_table() -> None:
    held_out = _labels(*"abcde").select([3, 1])
    binding = Binding(task="t", dataset="d", columns={}, rename={})
    assert list(binding.column(held_out)) == [{}, {}]


def test_rows_that_teach_nothing_are_told_with_their_datasets() -> None:
    expected = r"dataset 'd', 'e', split train: task 't': expected at least two different labels"
    with pytest.raises(DataError, match=expected):
        _learn(MOOD, _labels("a"), _labels("a", None))


@pytest.mark.parametrize(
    ("names", "message"),
    [(["only"], "at least 2 labels, found only alone"), (["a", ""], "found an empty one")],
)
def test_classes_that_no_task_can_have_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"dataset 'd', split train: task 't': .*{message}"):
        _learn(MOOD, _labels(0, 0, feature=ClassLabel(names=names)))


def test_one_dataset_carries_several_tasks() -> None:
    tasks = {"intent": MOOD, "slots": NER}
    _, bindings = bind_tasks(make_recipe({"d": WORDS}, tasks))
    assert [(b.task, b.dataset) for b in bindings] == [("intent", "d"), ("slots", "d")]


def test_further_metrics_may_be_named() -> None:
    names = ["f1", "org/wer", "/home/me/wrongness/wrongness.py"]
    tasks, _ = bind_tasks(make_recipe({"d": TEXT}, {"t": {**MOOD, "metrics": names}}))
    assert tasks["t"].metric_names == ("accuracy", "macro_f1", "weighted_f1", "mcc")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**MOOD, "metrics": ["f1", "accuracy"]}, r"'accuracy' is computed anyway, like all of "
         r"accuracy, macro_f1, weighted_f1, mcc; leave it out"),
        ({**NER, "metrics": ["f1"]}, r"'f1' is computed anyway, like all of f1, precision"),
        ({**NER, "scheme": "none", "metrics": ["./accuracy"]}, r"'./accuracy' is computed anyway"),
        ({**MOOD, "metrics": ["a/wer", "b/wer"]}, r"two metrics are called 'wer'; keep one"),
    ],
)  # fmt: skip
def test_metrics_whose_scores_would_be_others_are_refused(
    task: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=rf"^tasks\.t\.metrics: {message}"):
        bind_tasks(make_recipe({"d": WORDS if "tags" in task else TEXT}, {"t": task}))


@pytest.mark.parametrize(
    ("source", "name"),
    [("rouge", "rouge"), ("org/wer", "wer"), ("/a/b.c/", "b.c"), ("a/wer.py", "wer")],
)
def test_a_metric_is_called_by_its_last_name(source: str, name: str) -> None:
    assert metric_name(source) == name


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
