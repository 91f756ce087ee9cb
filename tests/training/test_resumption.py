"""Which checkpoint a run goes on from, where some are torn."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtl_nlp.training.checkpoints import Checkpoint, checkpoints
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.resumption import newest_checkpoint
from tests.runs import tiny_loop, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("resumption"), evaluation__every=1))


@pytest.fixture
def folder(prepared: Prepared, tmp_path: Path) -> Path:
    """Of a run with checkpoints of two steps."""
    tiny_loop(prepared, tiny_model(prepared), tmp_path, max_steps=2).run()
    return tmp_path / "checkpoints"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("tear", [cut, empty, Path.unlink])
@pytest.mark.parametrize("name", ["state.json", "optimizer.pt", "model.safetensors"])
def test_a_torn_one_is_passed_over_with_a_word(
    folder: Path, name: str, tear: Callable[[Path], None]
) -> None:
    tear(folder / "step-000002" / name)
    told: list[str] = []
    assert newest_checkpoint(folder, told.append) == Checkpoint(1, folder / "step-000001")
    assert len(told) == 2
    assert told[0].startswith("passed over and set aside as .torn-step-000002: checkpoint ")
    assert f"{name} cannot be read" in told[0]
    assert told[1] == "going on from checkpoint step-000001"
    assert [one.step for one in checkpoints(folder)] == [1]
    told.clear()
    newest_checkpoint(folder, told.append)
    assert told == ["going on from checkpoint step-000001"]


def test_one_that_was_being_written_is_told_of_and_a_whole_one_taken(folder: Path) -> None:
    (folder / ".writing-step-000003").mkdir()
    told: list[str] = []
    assert newest_checkpoint(folder, told.append) == Checkpoint(2, folder / "step-000002")
    assert told == [
        "checkpoint step-000003 was half-written when the process ended: passed over",
        "going on from checkpoint step-000002",
    ]
    assert not (folder / ".writing-step-000003").exists()


def test_where_none_is_whole_a_run_starts_afresh(folder: Path) -> None:
    for one in checkpoints(folder):
        cut(one.path / "config.json")
    told: list[str] = []
    assert newest_checkpoint(folder, told.append) is None
    assert [line.split(":")[0] for line in told] == [
        "passed over and set aside as .torn-step-000002",
        "passed over and set aside as .torn-step-000001",
        "no checkpoint to resume from",
    ]
