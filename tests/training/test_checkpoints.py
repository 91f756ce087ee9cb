import errno
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtl_nlp.training.checkpoints import (
    Checkpoint,
    checkpoints,
    clean_torn,
    rotate,
    write_checkpoint,
)


def write(folder: Path, step: int, text: str = "weights") -> Path:
    def fill(path: Path) -> None:
        (path / "model").mkdir()
        (path / "model" / "weights.bin").write_text(text)

    return write_checkpoint(folder, step, fill)


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints(folder)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoints_are_listed_by_step_and_nothing_else_is(tmp_path: Path) -> None:
    for step in (1_200_000, 200, 0, 1000):
        assert write(tmp_path, step) == tmp_path / f"step-{step:06d}"
    for stranger in ("step-7", "step-0000300", "step-000300.old", "best", ".writing-step-000400"):
        (tmp_path / stranger).mkdir()
    (tmp_path / "step-000500").write_text("a file")
    assert checkpoints(tmp_path) == [
        Checkpoint(step, tmp_path / f"step-{step:06d}") for step in (0, 200, 1000, 1_200_000)
    ]


def test_a_folder_that_is_not_there_holds_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints(tmp_path / "run" / "checkpoints") == []
    clean_torn(tmp_path / "run" / "checkpoints")
    write(tmp_path / "run" / "checkpoints", 3)
    assert steps(tmp_path / "run" / "checkpoints") == [3]


def test_a_step_written_again_replaces_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, 5, "old")
    path = write(tmp_path, 5, "new")
    assert (path / "model" / "weights.bin").read_text() == "new"
    assert names(tmp_path) == ["step-000005"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt("stopped")],
    ids=["disk full", "interrupted"],
)
@pytest.mark.parametrize("step", [5, 6], ids=["same step", "next step"])
def test_a_fill_that_fails_changes_nothing_and_says_why(
    tmp_path: Path, error: BaseException, step: int
) -> None:
    write(tmp_path, 5, "old")

    def fill(path: Path) -> None:
        (path / "weights.bin").write_text("half")
        raise error

    with pytest.raises(type(error), match=r"No space left|stopped") as raised:
        write_checkpoint(tmp_path, step, fill)
    assert raised.value is error
    assert names(tmp_path) == ["step-000005"]
    assert (tmp_path / "step-000005" / "model" / "weights.bin").read_text() == "old"


def test_a_negative_step_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        write(tmp_path / "checkpoints", -1)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("keep", "protect", "left"),
    [
        (2, [], [3, 4]),
        (2, [1], [1, 3, 4]),
        (1, [4, 9], [4]),
        (3, [1, 2], [1, 2, 3, 4]),
        (9, [], [1, 2, 3, 4]),
    ],
)
def test_rotation_keeps_the_newest_and_the_protected(
    tmp_path: Path, keep: int, protect: list[int], left: list[int]
) -> None:
    for step in (1, 2, 3, 4):
        write(tmp_path, step)
    rotate(tmp_path, keep, protect)
    assert steps(tmp_path) == left
    assert names(tmp_path) == [f"step-{step:06d}" for step in left]


def test_rotation_never_removes_the_newest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one checkpoint"):
        rotate(tmp_path, 0)


def test_what_a_kill_left_behind_is_cleared_and_hinders_nothing(tmp_path: Path) -> None:
    write(tmp_path, 1)
    torn = [f".{state}-step-00000{step}" for state in ("writing", "removing") for step in (1, 2)]
    for name in [*torn, ".replaced-step-000001"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.bin").write_text("half")
    write(tmp_path, 1, "new")
    write(tmp_path, 2)
    write(tmp_path, 3)
    (tmp_path / ".removing-step-000001").mkdir()
    (tmp_path / ".removing-step-000001" / "half.bin").write_text("half")
    rotate(tmp_path, 2)
    (tmp_path / ".replaced-step-000003").mkdir()
    (tmp_path / ".writing-step-000009").mkdir()
    clean_torn(tmp_path)
    assert names(tmp_path) == ["step-000002", "step-000003"]


def test_a_checkpoint_set_aside_comes_back_if_its_replacement_never_came(tmp_path: Path) -> None:
    write(tmp_path, 7, "old").rename(tmp_path / ".replaced-step-000007")
    (tmp_path / ".writing-step-000007").mkdir()
    clean_torn(tmp_path)
    assert names(tmp_path) == ["step-000007"]
    assert (tmp_path / "step-000007" / "model" / "weights.bin").read_text() == "old"


WRITER = """
import sys
from pathlib import Path
from mtl_nlp.training.checkpoints import checkpoints, clean_torn, rotate, write_checkpoint

folder = Path(sys.argv[1])
clean_torn(folder)
step = max((checkpoint.step for checkpoint in checkpoints(folder)), default=0)
print("ready", flush=True)
while True:
    step += 1

    def fill(path):
        for part in range(4):
            (path / f"part-{part}").write_bytes(bytes([step % 256]) * 50_000)

    write_checkpoint(folder, step - step % 2, fill)  # every other time, one is replaced
    rotate(folder, 2)
"""


def test_killed_at_any_moment_every_checkpoint_is_whole(tmp_path: Path) -> None:
    newest = -1
    for kill in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(random.Random(kill).uniform(0.02, 0.2))
            writer.send_signal(signal.SIGKILL)
        clean_torn(tmp_path)
        found = checkpoints(tmp_path)
        assert max(steps(tmp_path), default=-1) >= newest, "a checkpoint that was written is gone"
        newest = max(steps(tmp_path), default=-1)
        for checkpoint in found:
            parts = [(checkpoint.path / f"part-{part}").read_bytes() for part in range(4)]
            assert {len(part) for part in parts} == {50_000}
            assert len(set().union(*map(set, parts))) == 1, "parts of two checkpoints are mixed"
        assert names(tmp_path) == [checkpoint.path.name for checkpoint in found]
    assert newest > 0
