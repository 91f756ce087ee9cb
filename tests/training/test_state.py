from pathlib import Path

import pytest
import torch
from torch import nn

from mtl_nlp.errors import ModelError
from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.optimizer import build_optimizer, build_schedule
from mtl_nlp.training.selection import Selection
from mtl_nlp.training.skipping import Skips
from mtl_nlp.training.state import (
    TrainingState,
    load_balancing,
    load_optimizer,
    load_state,
    save_state,
)

SPEC = TrainingSpec(learning_rate=0.1)
STATE = TrainingState(
    7,
    {"step": 0, "carry": {"a": "1/3"}},
    Selection(0.1 + 0.2, 5, 2),
    {"a": 100, "b": 12},
    Skips(1, 3),
)


class Training:
    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = nn.Linear(3, 2)
        self.optimizer = build_optimizer(self.model, SPEC)
        self.schedule = build_schedule(self.optimizer, SPEC, 20)

    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(torch.ones(1, 3)).square().sum().backward()
            self.optimizer.step()
            self.schedule.step()


def test_a_training_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole, half = Training(0), Training(0)
    whole.step(12)
    half.step(5)
    save_state(tmp_path, STATE, half.optimizer.state_dict(), half.schedule, None, {})
    resumed = Training(1)
    resumed.model.load_state_dict(half.model.state_dict())
    load_optimizer(tmp_path, resumed.optimizer, resumed.schedule, None)
    resumed.step(7)
    assert torch.equal(resumed.model.weight, whole.model.weight)
    assert resumed.schedule.get_last_lr() == whole.schedule.get_last_lr()


def test_the_scale_of_float16_gradients_goes_along(tmp_path: Path) -> None:
    training = Training(0)
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (128.0, 4.0)]
    for scaler in scalers:
        scaler.scale(torch.ones(()))  # makes the scale
    save_state(tmp_path, STATE, training.optimizer.state_dict(), training.schedule, scalers[0], {})
    load_optimizer(tmp_path, training.optimizer, training.schedule, scalers[1])
    assert scalers[1].get_scale() == 128.0


def test_what_is_saved_is_read_back_to_the_last_digit(tmp_path: Path) -> None:
    training = Training(0)
    save_state(
        tmp_path, STATE, training.optimizer.state_dict(), training.schedule, None, {"x": [1.5]}
    )
    assert load_state(tmp_path) == STATE
    assert load_balancing(tmp_path) == {"x": [1.5]}


@pytest.mark.parametrize("content", [None, "", "[]", '{"step": 1}', '{"step": 1, "mixture": {}, '])
def test_a_broken_state_is_named_with_the_way_out(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    with pytest.raises(ModelError, match=r"checkpoint .*: state\.json cannot be .* delete this"):
        load_state(tmp_path)
