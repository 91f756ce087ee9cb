"""Where one of several processes fails, all end within seconds, and say why."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mtl_nlp.training.checkpoints import checkpoints
from tests.ranks import Ranks, told
from tests.runs import tiny_recipe

pytestmark = pytest.mark.slow

MISTAKE = "process 1: error: only this process met it; mend it"


@pytest.mark.parametrize(
    ("faults", "statuses", "main_tells"),
    [
        ({0: "sleep", 1: "mistake"}, [2, 2], MISTAKE),
        ({0: "crash"}, [1, 1], "internal error: RuntimeError: only this process crashed"),
        ({1: "kill"}, [1, -9], "internal error: RuntimeError: "),
        ({0: "disk"}, [2, 2], "error: output: no evaluated model could be written to"),
    ],
    ids=["a mistake, the other hangs", "the main one crashes", "kill -9", "full disk"],
)
def test_where_one_fails_all_end_and_the_main_one_tells(
    tmp_path: Path, faults: Mapping[int, str], statuses: list[int], main_tells: str
) -> None:
    ranks = Ranks(tiny_recipe(tmp_path, training__max_steps=9, evaluation__every=9), faults=faults)
    assert ranks.join() == statuses, told(ranks.folder)  # or they hang
    lines = (tmp_path / "rank-0.txt").read_text().splitlines()
    assert sum(line.startswith(main_tells) for line in lines) == 1, lines
    assert not checkpoints(ranks.folder / "checkpoints")
