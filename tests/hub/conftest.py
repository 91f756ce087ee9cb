import time
from pathlib import Path

import pytest

from tests.pushes import fill_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with everything that publishing must send, and everything that it must not."""
    return fill_run(tmp_path / "run")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between tries, by the client or by us; no test really waits."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited
