import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.training.pace import Pace

LOSSES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100)


@given(losses=LOSSES)
def test_a_smoothed_loss_lies_among_the_losses(losses: list[float]) -> None:
    pace = Pace(total=len(losses), done=0, planned={}, sizes={}, rows={}, began=0.0)
    for loss in losses:
        pace.advance({"a": loss}, 1, {}, now=1.0)
    assert min(losses) - 1e-6 <= pace.losses["a"] <= max(losses) + 1e-6
    if len(losses) <= 25:
        assert pace.losses["a"] == pytest.approx(sum(losses) / len(losses), abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_shown_but_forgotten(bad: float) -> None:
    pace = Pace(total=9, done=0, planned={}, sizes={}, rows={}, began=0.0)
    for loss, shown in [(bad, bad), (1.0, 1.0), (bad, bad), (2.0, 1.5)]:
        pace.advance({"a": loss}, 1, {}, now=1.0)
        assert pace.losses["a"] == pytest.approx(shown, nan_ok=True)


def test_pauses_count_for_the_time_left_but_not_for_the_speed() -> None:
    pace = Pace(total=30, done=10, planned={}, sizes={}, rows={}, began=100.0)
    assert pace.seconds_left is None
    assert pace.tokens_per_second == 0.0
    for step in range(5):
        pace.advance({}, 500, {"a": 2}, now=101.0 + step)
    pace.pause(now=125.0)
    for step in range(5):
        pace.advance({}, 500, {"a": 2}, now=126.0 + step)
    assert pace.tokens_per_second == pytest.approx(500)
    assert pace.seconds_left == pytest.approx(30)  # 10 of 20 steps in 30 seconds
    assert pace.rows == {"a": 20}


def test_the_steps_of_a_pass_are_those_that_its_draws_took() -> None:
    pace = Pace(total=30, done=10, planned={}, sizes={"a": 30}, rows={"a": 20}, began=0.0)
    assert pace.steps_of_a_pass("a") == 15
    pace.advance({}, 1, {"a": 90}, now=1.0)
    assert pace.steps_of_a_pass("a") == 3
