"""What people read of task types."""

import pytest

from mtl_nlp.tasks import TASK_TYPES
from mtl_nlp.type_reports import describe_type, task_types
from tests.screens import shown


def test_a_default_of_nothing_is_none() -> None:
    told = shown(task_types({"x": describe_type(TASK_TYPES["text_generation"])}))
    assert "(default ())" not in told
    assert "(default )" not in told


def test_brackets_in_meanings_are_no_markup() -> None:
    described = describe_type(TASK_TYPES["question_answering"])
    described["column_meanings"]["answers"] = "lists [text] of {text: [a]}"
    described["options"]["max_answer"]["meaning"] = "at most [bold] words"
    told = shown(task_types({"question_answering": described}))
    assert "lists [text] of {text: [a]}" in told
    assert "at most [bold] words" in told


@pytest.mark.parametrize("name", TASK_TYPES)
def test_every_task_type_is_described(name: str) -> None:
    described = describe_type(TASK_TYPES[name])
    told = shown(task_types({name: described}), width=200)
    assert described["summary"] in told
    columns = [column for way in described["columns"] for column in way]
    inputs = [" + ".join(way) for way in described["input"]]
    assert inputs
    for word in (*described["metrics"], *described["options"], *columns, *inputs):
        assert word in told
    meanings = [option["meaning"] for option in described["options"].values()]
    for meaning in (*described["column_meanings"].values(), *meanings):
        assert meaning in told.replace("\n", " ") or len(meaning) > 150  # those are wrapped
