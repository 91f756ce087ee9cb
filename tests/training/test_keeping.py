"""Which checkpoints stay; what a full disk does to them is in test_full_disk."""

from pathlib import Path

import pytest

from mtl_nlp.errors import UserError
from mtl_nlp.training.checkpoints import checkpoints
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.preparation import prepare
from mtl_nlp.training.selection import Selection
from mtl_nlp.training.state import check_readable, load_state
from tests.runs import tiny_loop, tiny_model, tiny_recipe


@pytest.fixture
def loop(tmp_path: Path) -> TrainingLoop:
    prepared = prepare(tiny_recipe(tmp_path))
    return tiny_loop(prepared, tiny_model(prepared), tmp_path / "run", keep_checkpoints=2)


def test_the_newest_and_the_best_stay_and_each_is_published_once_it_is_whole(
    loop: TrainingLoop,
) -> None:
    keeping, published = loop.keeping, []

    def publish(folder: Path, step: int) -> None:
        check_readable(folder)
        published.append((folder.name, step))

    keeping.published = publish
    assert keeping.newest() is None
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        loop.done, loop.selection = step, Selection(0.5, best)
        written = keeping.write(loop.standing())
        assert written == keeping.newest()
        assert load_state(written).step == step
    assert [one.step for one in checkpoints(keeping.folder)] == [2, 4, 5]
    assert published == [(f"step-00000{step}", step) for step in range(1, 6)]
    assert keeping.best(2) == keeping.folder / "step-000002"
    with pytest.raises(UserError, match=r"no evaluated model could be written .* free space there"):
        keeping.best(3)
