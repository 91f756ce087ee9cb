"""A disk that fills while a training goes on: a limit of file sizes, and a real file system."""

import contextlib
import io
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file

from mtl_nlp.errors import UserError
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.state import check_readable
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("disk"), evaluation__every=2))


@contextlib.contextmanager
def file_limit() -> Iterator[Callable[[int], None]]:
    """A function that lets no file grow beyond so many bytes, which Python meets as EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def loop_in(prepared: Prepared, folder: Path, **training: int) -> tuple[TrainingLoop, Console]:
    console = Console(file=io.StringIO(), width=200)
    model = tiny_model(prepared)
    return tiny_loop(prepared, model, folder, console, keep_checkpoints=9, **training), console


# Below the optimizer's state, and below the model's weights.
@pytest.mark.parametrize("size", [80_000, 20_000], ids=["optimizer", "model"])
def test_the_last_checkpoint_stays_whole_and_the_run_goes_on(
    prepared: Prepared, tmp_path: Path, size: int
) -> None:
    loop, console = loop_in(prepared, tmp_path, max_steps=8)
    with file_limit() as limit:
        loop.keeping.published = lambda path, step: limit(size) if step == 4 else None
        selection = loop.run()
    assert len(steps_of(tmp_path)) == 8
    folder = tmp_path / "checkpoints"
    assert [path.name for path in sorted(folder.iterdir())] == ["step-000002", "step-000004"]
    for one in checkpoints(folder):
        check_readable(one.path)
    assert selection.step in (2, 4)
    assert loop.best_checkpoint() == folder / f"step-{selection.step:06d}"
    for step in (6, 8):
        assert f"warning: no checkpoint at step {step}: " in said(console)
    assert "the newest is step-000004, and the training goes on" in said(console)


def test_without_any_checkpoint_a_run_says_so_at_its_end(
    prepared: Prepared, tmp_path: Path
) -> None:
    loop, console = loop_in(prepared, tmp_path, max_steps=2)
    with file_limit() as limit:
        limit(20_000)
        loop.run()
    assert "the newest is none" in said(console)
    with pytest.raises(UserError, match=r"no evaluated model could be written to .*free space"):
        loop.best_checkpoint()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB; only root may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_log_and_checkpoints_wait_for_space(
    prepared: Prepared, small_disk: Path
) -> None:
    loop, console = loop_in(prepared, small_disk, max_steps=24)
    filler, shown = small_disk / "filler", loop.telling.progress.step

    def fill(path: Path, step: int) -> None:
        if step != 2:
            return
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)

    def free(*words: Any) -> None:
        shown(*words)
        if loop.done == 23:
            filler.unlink()

    loop.keeping.published, loop.telling.progress.step = fill, free  # type: ignore[method-assign]
    loop.run()
    assert [one.step for one in checkpoints(small_disk / "checkpoints")] == [2, 24]
    assert [record["step"] for record in steps_of(small_disk)] == list(range(1, 25))
    assert "No space left on device" in said(console)
    assert said(console).count("log.jsonl cannot be written; its lines are kept for later") == 1
    newest = checkpoints(small_disk / "checkpoints")[-1].path
    saved, model = load_file(newest / "model.safetensors"), loop.model.state_dict()
    assert all((saved[name] == model[name]).all() for name in saved)
