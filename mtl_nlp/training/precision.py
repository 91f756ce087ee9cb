"""Which number format a training computes in."""

from typing import Literal

import torch

from mtl_nlp.errors import RecipeError

Precision = Literal["no", "bf16", "fp16"]
"""As Accelerate names them; ``no`` is float32."""


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """The precision of a recipe on a device.

    ``auto`` is bfloat16 where the device computes in it, and float32 elsewhere.

    Raises:
        RecipeError: If float16 is wanted on a CPU, where autocast gains nothing by it.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise RecipeError(
            "training.precision: fp16 needs a GPU, found only a CPU; use auto, fp32 or bf16"
        )
    if wanted == "auto":
        return "bf16" if _computes_bf16(device) else "no"
    return {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[wanted]  # type: ignore[return-value]


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
