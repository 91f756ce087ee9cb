"""Where the random numbers of a training stand, to draw them once more."""

import torch
from torch import Tensor

RandomState = tuple[Tensor, Tensor | None]
"""Of the host, and of another device."""


def random_state(device: torch.device) -> RandomState:
    """Where the numbers that are drawn for a device stand."""
    host = torch.get_rng_state()
    if device.type == "cpu":
        return host, None
    return host, torch.get_device_module(device).get_rng_state()


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Let the numbers that stood there come again."""
    host, other = state
    torch.set_rng_state(host)
    if other is not None:
        torch.get_device_module(device).set_rng_state(other)
