from typing import Any

import pytest

from mtl_nlp.tasks.records import read_records


@pytest.mark.parametrize(
    ("value", "records"),
    [
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ({"a": [1, 3], "b": [2, 4]}, [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ({"a": [1], "b": [2], "c": [3, 4]}, [{"a": 1, "b": 2}]),
        ({"a": [], "b": []}, []),
        ([], []),
        (None, []),
        (["odd"], ["odd"]),  # which whoever reads the record refuses
    ],
)
def test_both_ways_are_read_alike(value: Any, records: list[Any]) -> None:
    assert read_records(value, what="things", keys=("a", "b")) == records


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "^expected a list of things, found 'text'$"),
        (0, "^expected a list of things, found 0$"),
        ({"a": [1], "b": []}, "^expected lists of as and bs of one length, found {"),
        ({"a": 1, "b": 2}, "^expected lists of as and bs of one length"),
    ],
)
def test_what_is_neither_is_told(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_records(value, what="things", keys=("a", "b"))
