"""What is asked of `accelerate launch` is done as it says, or refused."""

import pytest

from mtl_nlp.errors import UserError
from mtl_nlp.training.launch import check_launch
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


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DYNAMO_BACKEND", "INDUCTOR", "expected dynamo_backend no, found INDUCTOR"),
        ("GRADIENT_ACCUMULATION_STEPS", "4", "expected gradient_accumulation_steps 1, found 4"),
        ("USE_PARALLELISM_CONFIG", "true", "expected use_parallelism_config false, found true"),
    ],
)
def test_what_would_change_steps_is_refused(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    with pytest.raises(UserError, match=told):
        check_launch()
