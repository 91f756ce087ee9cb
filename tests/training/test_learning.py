"""What it is made of has tests of its own; here is that it stands again where it was saved."""

from pathlib import Path

import pytest
import torch

from mtl_nlp.training.objective import count_items
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import tiny_loop, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    recipe = tiny_recipe(tmp_path_factory.mktemp("learning"), balancing={"method": "uw"})
    return prepare(recipe)


def test_it_goes_on_with_the_same_bits_where_it_was_saved(
    prepared: Prepared, tmp_path: Path
) -> None:
    whole, again = (
        tiny_loop(prepared, tiny_model(prepared), tmp_path / name, max_steps=9)
        for name in ("whole", "again")
    )
    for step in range(6):
        if step == 3:
            whole.learning.save(tmp_path, whole.standing(), whole.learning.optimizer_state())
            again.model.load_state_dict(whole.model.state_dict())
            again.learning.load(tmp_path)
        for loop in (whole, again) if step >= 3 else (whole,):
            plan = loop.mixture.plan(step)
            batches = loop.cutting.batches(plan)
            loop.learning.step(plan, batches, count_items(loop.model.tasks, batches))
            loop.learning.schedule.step()
    assert again.learning.rate == whole.learning.rate < prepared.recipe.training.learning_rate
    weights = [
        [*loop.model.parameters(), *loop.learning.balancing.parameters()] for loop in (whole, again)
    ]
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
