from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.optimizer import base_rate, build_optimizer, build_schedule
from mtl_nlp.training.rates import parameter_rates
from tests.tiny import tiny_encoder

TASKS = {
    name: {"type": "text_classification", "labels": ["a", "b"]} for name in ("topic", "intent")
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: tiny_encoder(tmp_path_factory.mktemp(name), name) for name in ("roberta", "albert")
    }


@pytest.fixture
def model(folders: dict[str, Path]) -> MultiTaskModel:
    return MultiTaskModel.from_encoder(folders["roberta"], TASKS)


def spec(**training: Any) -> TrainingSpec:
    return TrainingSpec(**{"learning_rate": 1e-4, **training})


def test_the_rate_of_a_part_and_of_a_layer_are_as_written(model: MultiTaskModel) -> None:
    given = {"heads": 1e-3, "heads.topic": 2e-3, "encoder.embeddings": 5e-5}
    rates = parameter_rates(model, spec(learning_rates=given, layer_decay=0.5))
    expected = {
        "heads.topic.": 2e-3,
        "heads.intent.": 1e-3,
        "encoder.encoder.layer.1.": 1e-4,
        "encoder.encoder.layer.0.": 1e-4 * 0.5,
        "encoder.embeddings.": 5e-5 * 0.5**2,
        "encoder.pooler.": 1e-4,
    }
    assert rates.keys() == {name for name, _ in model.named_parameters()}
    for name, rate in rates.items():
        assert rate == next(r for part, r in expected.items() if name.startswith(part))


def test_each_parameter_is_in_one_group_with_its_rate_and_decay(model: MultiTaskModel) -> None:
    model.encoder.embeddings.requires_grad_(False)
    training = spec(learning_rates={"heads": 1e-3}, layer_decay=0.9, weight_decay=0.1)
    rates, groups = parameter_rates(model, training), build_optimizer(model, training).param_groups
    found = {id(p): group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found) == len(rates)
    for name, parameter in model.named_parameters():
        if name in rates:
            group = found[id(parameter)]
            assert group["lr"] == rates[name]
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
        else:
            assert name.startswith("encoder.embeddings.")
            assert id(parameter) not in found


def test_all_rates_follow_the_schedule_and_the_base_one_is_told(model: MultiTaskModel) -> None:
    training = spec(learning_rates={"heads": 1e-3, "encoder": 1e-2}, warmup=0.5)
    optimizer = build_optimizer(model, training)
    schedule = build_schedule(optimizer, training, 4)
    for factor in (0.0, 0.5, 1.0, 0.5):
        assert base_rate(schedule, training) == pytest.approx(1e-4 * factor)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([r * factor for r in (1e-2, 1e-2, 1e-3, 1e-3)])
        optimizer.step()
        schedule.step()


def test_a_first_step_of_adam_is_as_long_as_the_rate(model: MultiTaskModel) -> None:
    """Adam's first step is the rate times the sign of the gradient (Kingma & Ba, 2015)."""
    training = spec(learning_rates={"heads": 1e-3}, layer_decay=0.5, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, training)
    sum((p * torch.randn_like(p).sign()).sum() for p in model.parameters()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        moved = (parameter.detach() - before[name]).abs()
        rate = parameter_rates(model, training)[name]
        torch.testing.assert_close(moved, torch.full_like(moved, rate), rtol=1e-2, atol=1e-7)


def test_without_rates_there_are_two_groups_as_ever(model: MultiTaskModel) -> None:
    assert [g["lr"] for g in build_optimizer(model, spec()).param_groups] == [1e-4, 1e-4]


def test_what_does_not_fit_is_told(model: MultiTaskModel, folders: dict[str, Path]) -> None:
    for change, message in (
        (
            {"head.topic": 1.0},
            r"training\.learning_rates: .*'head\.topic'; the nearest are h",
        ),
        (
            {"heads.t*": 1.0, "heads.*c": 2.0},
            r"equally specific, both meet 'heads\.topic\..*long",
        ),
    ):
        with pytest.raises(RecipeError, match=message):
            parameter_rates(model, spec(learning_rates=change))
    model.heads.requires_grad_(False)
    with pytest.raises(
        RecipeError, match=r"all that 'heads\.topic' meets is frozen, .*sharing\.method"
    ):
        parameter_rates(model, spec(learning_rates={"heads.topic": 1.0}))
    albert = MultiTaskModel.from_encoder(folders["albert"], TASKS)
    with pytest.raises(RecipeError, match=r"training\.layer_decay: AlbertModel does not .* own; l"):
        parameter_rates(albert, spec(layer_decay=0.9))
