"""What a whole training shows of a step is in test_loop; here is what it leaves behind."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from mtl_nlp.training.objective import Objective, count_items
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.step import OptimizerStep
from tests.runs import tiny_loop, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("step"), dropout=0.1))


def test_a_step_repeats_itself_whatever_was_drawn_before(
    prepared: Prepared, tmp_path: Path
) -> None:
    done = []
    for drawn in (0, 7):
        model = tiny_model(prepared)
        loop = tiny_loop(prepared, model, tmp_path / str(drawn), max_steps=1)
        torch.rand(drawn)
        step = OptimizerStep(
            model,
            Objective(model),
            loop.optimizer,
            Accelerator(cpu=True),
            datasets=loop.data.datasets,
            seed=3,
            max_grad_norm=1.0,
        )
        plan = loop.mixture.plan(0)
        batches = loop._batches(plan)
        done.append(step.take(plan, batches, count_items(model.tasks, batches)))
        assert all(parameter.grad is None for parameter in model.parameters())
    assert done[0] == done[1]
    assert set(done[0].losses) == {"intent", "ner", "topic"}
