"""What a whole training shows of a step is in test_loop; here is what it leaves behind."""

import copy
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.training.objective import Objective, count_items, row_shares, step_factors
from mtl_nlp.training.optimizer import build_optimizer
from mtl_nlp.training.pieces import Pieces
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
            loop.learning.optimizer,
            Accelerator(cpu=True),
            balancing=loop.learning.balancing,
            seed=3,
            max_grad_norm=1.0,
        )
        plan = loop.mixture.plan(0)
        batches = loop.cutting.batches(plan)
        done.append(step.take(plan, batches, count_items(model.tasks, batches)))
        assert all(parameter.grad is None for parameter in model.parameters())
    assert done[0] == done[1]
    assert set(done[0].losses) == {"intent", "ner", "topic"}


@pytest.mark.parametrize("max_grad_norm", [1e-3, 0.5, 1e9])
def test_the_gradient_is_clipped_as_torch_does(
    prepared: Prepared, tmp_path: Path, max_grad_norm: float
) -> None:
    model = tiny_model(prepared)
    loop = tiny_loop(prepared, model, tmp_path, max_steps=1)
    step = loop.learning.optimizer_step
    step.max_grad_norm = max_grad_norm
    twin = copy.deepcopy(model)
    plan = loop.mixture.plan(0)
    batches = loop.cutting.batches(plan)
    counts = count_items(model.tasks, batches)
    done = step.take(plan, batches, counts)

    twin.train()
    twin.skip_padding()
    pieces = Pieces(twin, Objective(twin), loop.accelerator, plan, batches, counts, seed=step.seed)
    pieces.backward(step_factors(twin.tasks, counts, row_shares(plan.counts, loop.data.datasets)))
    norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), max_grad_norm)
    optimizer = build_optimizer(twin, loop.spec)
    optimizer.step()
    assert done.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    # Adam's own step hardly depends on how long a gradient is; what it remembers of it does.
    states = [
        (loop.learning.optimizer.state[a], optimizer.state[b])
        for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    ]
    assert sum("exp_avg" in theirs for _, theirs in states) > 20
    for ours, theirs in states:
        assert ours.keys() == theirs.keys()
        if theirs:
            atol = 1e-7 * min(1.0, max_grad_norm)
            torch.testing.assert_close(ours["exp_avg"], theirs["exp_avg"], rtol=1e-4, atol=atol)


def test_what_balancing_learns_is_not_clipped(prepared: Prepared, tmp_path: Path) -> None:
    recipe = prepared.recipe.model_copy(update={"balancing": BalancingSpec(method="uw")})
    learned = []
    for max_grad_norm in (1e-3, 1e9):
        model = tiny_model(prepared)
        balanced = Prepared(**{**vars(prepared), "recipe": recipe})
        loop = tiny_loop(balanced, model, tmp_path / str(max_grad_norm), max_steps=1)
        loop.learning.optimizer_step.max_grad_norm = max_grad_norm
        plan = loop.mixture.plan(0)
        batches = loop.cutting.batches(plan)
        loop.learning.optimizer_step.take(plan, batches, count_items(model.tasks, batches))
        states = [loop.learning.optimizer.state[p] for p in loop.learning.balancing.parameters()]
        learned.append([state["exp_avg"].item() for state in states])
    assert learned[0] == pytest.approx(learned[1], rel=1e-6)
    assert all(learned[0])
