import math

import pytest
import torch
from torch import nn

from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.optimizer import build_optimizer, build_schedule


def net(order: tuple[str, ...] = ("first", "norm", "last")) -> nn.ModuleDict:
    torch.manual_seed(0)
    modules = {"first": nn.Linear(3, 4), "norm": nn.LayerNorm(4), "last": nn.Linear(4, 2)}
    return nn.ModuleDict({name: modules[name] for name in order})


def rates(steps: int, **spec: object) -> list[float]:
    optimizer = build_optimizer(net(), TrainingSpec(learning_rate=1.0, **spec))
    schedule = build_schedule(optimizer, TrainingSpec(learning_rate=1.0, **spec), steps)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    optimizer = build_optimizer(net(), TrainingSpec(weight_decay=0.1, learning_rate=2e-3))
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [p.shape for p in decayed["params"]] == [(4, 3), (2, 4)]
    assert [p.shape for p in plain["params"]] == [(4,), (2,), (4,), (4,)]
    assert optimizer.defaults["lr"] == 2e-3


def test_what_is_frozen_is_left_out() -> None:
    model = net()
    model["first"].requires_grad_(False)
    groups = build_optimizer(model, TrainingSpec()).param_groups
    assert sum(len(group["params"]) for group in groups) == 4


def test_its_state_fits_a_model_whose_parts_came_in_another_order() -> None:
    one, other = net(), net(("last", "norm", "first"))
    optimizers = [build_optimizer(model, TrainingSpec()) for model in (one, other)]
    shapes = [[p.shape for g in o.param_groups for p in g["params"]] for o in optimizers]
    assert shapes[0] == shapes[1]
    sum(p.square().sum() for p in one.parameters()).backward()
    optimizers[0].step()
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    assert torch.equal(
        optimizers[0].state[one["last"].weight]["exp_avg"],
        optimizers[1].state[other["last"].weight]["exp_avg"],
    )


def test_a_linear_schedule_warms_up_from_0_and_falls_towards_0() -> None:
    expected = [0.0, 0.5, 1.0, *(1 - step / 8 for step in range(1, 8))]
    assert rates(10, warmup=0.2, schedule="linear") == pytest.approx(expected)


def test_a_cosine_schedule_falls_by_half_a_cosine() -> None:
    expected = [(1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)]
    assert rates(10, warmup=0.0, schedule="cosine") == pytest.approx(expected)


def test_a_constant_schedule_warms_up_and_stays() -> None:
    assert rates(5, warmup=0.4, schedule="constant") == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0])


def test_one_step_of_training_is_not_all_warm_up() -> None:
    assert rates(1, warmup=0.1) == [1.0]
