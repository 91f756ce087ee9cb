"""What is refused before weights are shared out, and that whole states stay as they are."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from torch.optim import AdamW

from mtl_nlp.errors import RecipeError, UserError
from mtl_nlp.training.sharding import check_launch, check_sharded, gathered, spread
from tests.kills import assert_same_bits
from tests.shards import CONFIGURATIONS, environment_of

CONFIGURATION_NAMES = sorted(path.stem for path in CONFIGURATIONS.glob("*.yaml"))


def set_all(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", CONFIGURATION_NAMES)
def test_every_configuration_of_ours_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of(name)
    assert ("ACCELERATE_USE_FSDP" in environment) == (name == "fsdp2")
    set_all(monkeypatch, environment)
    check_launch()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fsdp_version", "1"], "expected fsdp_version 2, found 1; use DDP, or FSDP2 as in"),
        (["--fsdp_offload_params", "true"], "expected fsdp_offload_params false, found true"),
        (["--fsdp_cpu_ram_efficient_loading", "true"], "fsdp_cpu_ram_efficient_loading false"),
        (["--fsdp_activation_checkpointing", "true"], "fsdp_activation_checkpointing false"),
    ],
)
def test_what_was_not_tried_is_refused(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, environment_of("fsdp2", *words))
    with pytest.raises(UserError, match=told):
        check_launch()


@pytest.mark.parametrize("name", ["DEEPSPEED", "MEGATRON_LM"])
def test_what_takes_the_steps_itself_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(UserError, match=f"accelerate launch: {name} takes gradients, .* use DDP"):
        check_launch()


def test_what_would_silently_not_be_shared_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = SimpleNamespace(
        distributed_type=DistributedType.MULTI_CPU, num_processes=2, device=torch.device("cpu")
    )
    check_sharded(one, SimpleNamespace(decoder=None))  # type: ignore[arg-type]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP needs several GPUs, found 2 processes on cpu; use"):
        check_sharded(one, SimpleNamespace(decoder=None))  # type: ignore[arg-type]


def test_a_decoder_is_not_shared_out() -> None:
    one: Any = SimpleNamespace(distributed_type=DistributedType.FSDP)
    check_sharded(one, SimpleNamespace(decoder=None))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="tasks: a task that generates texts has a decoder"):
        check_sharded(one, SimpleNamespace(decoder=torch.nn.Linear(1, 1)))  # type: ignore[arg-type]


def test_a_state_that_is_whole_stays_as_it_is() -> None:
    linear = torch.nn.Linear(2, 2)
    optimizer = AdamW(linear.parameters())
    linear(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert_same_bits(gathered(state), state)
    assert_same_bits(spread(state, optimizer), state)
