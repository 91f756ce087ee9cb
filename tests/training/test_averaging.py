from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mtl_nlp.training.averaging import Average


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[2].bias.requires_grad_(False)
    return model


def wander(model: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """Random steps of what learns; the weights after each."""
    found = []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += torch.randn_like(parameter)
        found.append({n: p.detach().clone() for n, p in model.named_parameters()})
    return found


@settings(max_examples=20)
@given(st.integers(1, 30), st.floats(0.05, 0.9999))
def test_it_is_the_average_that_the_formula_says(steps: int, decay: float) -> None:
    model = net()
    expected = {name: p.detach().double() for name, p in model.named_parameters()}
    average = Average(model, decay)
    for number in range(1, steps + 1):
        weights = wander(model, 1)[0]
        average.update()
        d = min(decay, (1 + number) / (10 + number))
        expected = {n: d * expected[n] + (1 - d) * weights[n].double() for n in expected}
    with average.shown():
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_within_the_model_is_the_average_with_its_own_buffers_and_parameters() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    average = Average(model, 0.5)
    wander(model, 1)
    average.update()
    parameters = list(model.parameters())
    model(torch.randn(8, 3))  # moves the buffers
    mean = model[1].running_mean.clone()
    with average.shown():
        assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
        assert torch.equal(model[1].running_mean, mean)
    model(torch.randn(8, 3)).sum().backward()
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert torch.equal(model[0].weight, before - model[0].weight.grad)


def test_it_shows_the_weights_again_if_judging_fails() -> None:
    model = net()
    average = Average(model, 0.5)
    weights = wander(model, 1)[0]
    average.update()
    with pytest.raises(KeyError), average.shown():
        raise KeyError
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())


def test_what_is_loaded_goes_on_with_the_same_bits(tmp_path: Any) -> None:
    model = net()
    average = Average(model, 0.9)
    for _ in range(3):
        wander(model, 1)
        average.update()
    with average.shown():
        saved = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(average.state(), tmp_path / "state.pt")
    other = net()
    other.load_state_dict(saved)
    resumed = Average(other, 0.9)
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    for one, its in ((model, average), (other, resumed)):
        torch.manual_seed(5)
        wander(one, 2)
        its.update()
    for shown in (False, True):
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two)
        if not shown:
            average._exchange(), resumed._exchange()
