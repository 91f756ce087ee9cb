"""Every end of a program has its status and says no more than it must."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtl_nlp.errors import DataError, ElsewhereError
from mtl_nlp.program import program
from mtl_nlp.training.interruption import Stopped


def status_of(error: BaseException, *, debug: bool = False) -> object:
    with pytest.raises(SystemExit, match=r"^\d+$") as ended, program(debug=debug):
        raise error
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (DataError("row 3 is empty\n\n  mend it"), 2, "error: row 3 is empty\n  mend it\n"),
        (Stopped(signal.SIGINT, "stopped at 3"), 130, "stopped at 3; go on with --resume\n"),
        (Stopped(signal.SIGTERM, "stopped at 3"), 143, "stopped at 3; go on with --resume\n"),
        (KeyboardInterrupt(), 130, ""),
        (ElsewhereError("process 1: error: row 3", 2), 2, "process 1: error: row 3\n"),
        (ElsewhereError("", 143), 143, ""),
        (
            ZeroDivisionError("a\nb"),
            1,
            "internal error: ZeroDivisionError: a; run again with --debug\n",
        ),
        (AssertionError(), 1, "internal error: AssertionError; run again with --debug\n"),
    ],
)
def test_an_error_has_its_status(
    error: BaseException, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(error) == status
    assert capsys.readouterr() == ("", told)


def test_debug_shows_the_traceback_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(DataError("row 3"), debug=True) == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.endswith("error: row 3\n")


def test_one_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert status_of(DataError("row 3")) == 2
    assert status_of(ValueError("only here")) == 1
    assert capsys.readouterr().err.startswith("internal error: ValueError: only here")


def test_what_ends_well_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with program():
        print("done")
    assert capsys.readouterr() == ("done\n", "")


def test_a_reader_that_has_left_is_no_mistake() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mtl_nlp", "--help"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1
