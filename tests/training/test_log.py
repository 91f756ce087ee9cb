import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.errors import DataError
from mtl_nlp.training.log import RunLog, RunRecords, read_log


def step(number: int) -> dict[str, Any]:
    return {"step": number, "loss": 0.5, "losses": {"a": 0.25}, "rows": {"sst2": 3}, "tokens": 40}


def evaluation(number: int) -> dict[str, Any]:
    return {"step": number, "evaluation": {"validation": {"a": {"f1": 0.5}, "mean": 0.5}}}


def write(path: Path, *records: dict[str, Any]) -> None:
    with RunLog(path) as log:
        for record in records:
            log.write(record)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=4)


@settings(max_examples=50)
@given(records=RECORDS, cut=st.integers(1, 30))
def test_whatever_is_written_is_read_back_and_a_torn_end_costs_one_line(
    records: list[dict[str, Any]], cut: int
) -> None:
    numbered = [{**record, "step": number} for number, record in enumerate(records)]
    last = {"step": len(records), "padding": "x" * 30}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        write(path, *numbered, last)
        assert read_records(path) == [*numbered, last]

        path.write_bytes(path.read_bytes()[:-cut])
        assert read_records(path) == numbered

        write(path, last)
        assert read_records(path) == [*numbered, last]


def read_records(path: Path) -> list[dict[str, Any]]:
    records = read_log(path)
    return sorted(records.steps + records.evaluations, key=lambda record: record["step"])


def test_steps_and_evaluations_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl", step(1), step(2), evaluation(2), step(3))
    assert read_log(tmp_path / "log.jsonl") == RunRecords(
        [step(1), step(2), step(3)], [evaluation(2)]
    )


def test_every_line_can_be_read_at_once(tmp_path: Path) -> None:
    with RunLog(tmp_path / "run" / "log.jsonl") as log:
        log.write(step(1))
        assert read_log(tmp_path / "run" / "log.jsonl").steps == [step(1)]


def test_lines_are_strict_json_whatever_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    values = [math.nan, math.inf, -math.inf, np.float32(0.5), np.int64(7), True, np.float64("nan")]
    write(path, {"step": np.int64(1), "values": values, "losses": {"a": np.float32("inf")}})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = json.loads(path.read_text(), parse_constant=refuse)
    assert line == {
        "step": 1,
        "values": [None, None, None, 0.5, 7, True, None],
        "losses": {"a": None},
    }
    assert line["values"][5] is True


@pytest.mark.parametrize("last", [0, 1, 2, 3, 9])
def test_truncating_drops_exactly_the_later_lines_and_writing_goes_on(
    tmp_path: Path, last: int
) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:
        for record in [step(1), step(2), evaluation(2), step(3), evaluation(3)]:
            log.write(record)
        log.truncate_after(last)
        log.write(step(last + 1))
    records = read_log(path)
    assert [record["step"] for record in records.steps] == [*range(1, min(last, 3) + 1), last + 1]
    assert [record["step"] for record in records.evaluations] == [
        number for number in (2, 3) if number <= last
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_record_without_its_step_is_refused(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl") as log, pytest.raises(ValueError, match="needs its 'step'"):
        log.write({"loss": 0.5})


@pytest.mark.parametrize("line", ['{"step": 2, "lo', "[2]", '{"loss": 1}', '{"step": "2"}', ""])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(DataError, match=r"log\.jsonl, line 2: expected .* remove that line"):
        read_log(path)


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log\.jsonl: expected the log .* no such file"):
        read_log(tmp_path / "log.jsonl")
