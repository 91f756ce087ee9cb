"""What `accelerate launch` may ask of a training, by the environment of its processes."""

import os

from mtl_nlp.errors import UserError

_TRIED = {
    "ACCELERATE_DYNAMO_BACKEND": "no",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",  # else Accelerate divides every loss by it
    "ACCELERATE_USE_PARALLELISM_CONFIG": "false",
}
"""Settings of the launcher with their only value that trainings were tried with."""


def check_launch() -> None:
    """Refuse what `accelerate launch` was asked for and no training here can do.

    Raises:
        UserError: If it is DeepSpeed or Megatron-LM, or what no training here was tried with.
    """
    mend = "; use DDP, or FSDP2 as in recipes/accelerate/fsdp2.yaml"
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if asked(f"ACCELERATE_USE_{name}"):
            raise UserError(
                f"accelerate launch: {name} takes gradients, clipping and the optimizer's steps"
                f" into its own hands, where a step's idle heads cannot be left alone{mend}"
            )
    for name, tried in _TRIED.items():
        if (found := os.environ.get(name, tried)).lower() != tried:
            key = name.removeprefix("ACCELERATE_").lower()
            raise UserError(
                f"accelerate launch: expected {key} {tried}, found {found}, with which no training"
                " here was tried; leave it out (the recipe's training.micro_batch_size cuts steps)"
            )
    if not asked("ACCELERATE_USE_FSDP"):
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError(f"accelerate launch: expected fsdp_version 2, found 1{mend}")
    for name in ("CPU_RAM_EFFICIENT_LOADING", "OFFLOAD_PARAMS", "ACTIVATION_CHECKPOINTING"):
        if asked(f"FSDP_{name}"):
            raise UserError(
                f"accelerate launch: expected fsdp_{name.lower()} false, found true, with which no"
                " training here was tried; set it to false (training.gradient_checkpointing saves"
                " memory, too)"
            )


def asked(name: str) -> bool:
    """Whether the launcher has switched something on."""
    return os.environ.get(name, "false").lower() in ("true", "1")
