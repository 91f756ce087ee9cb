"""Adapters beside the frozen weights of an encoder: PEFT's layers, put in, merged, taken out."""

import copy
import warnings
from collections.abc import Iterable
from typing import Any

from peft import IA3Config, LoraConfig, PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from mtl_nlp.model.adapter_plan import Sharing, in_attention


def module_key(adapter: str) -> str:
    """What an adapter is called inside PEFT's layers, where it must be no name of a module."""
    return f"{adapter}-"


def peft_config(sharing: Sharing) -> PeftConfig:
    """What PEFT has to know of an adapter."""
    spec = sharing.spec
    targets = list(spec.targets or ())
    if spec.method == "ia3":
        outside = [name for name in targets if not in_attention(name)]
        return IA3Config(target_modules=targets, feedforward_modules=outside)
    alpha = 2 * spec.rank if spec.alpha is None else spec.alpha
    return LoraConfig(
        r=spec.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=spec.dropout,
        target_modules=targets,
    )


def put_in(encoder: PreTrainedModel, sharing: Sharing, names: Iterable[str]) -> None:
    """Give an encoder fresh adapters, which as yet change nothing."""
    parameter = next(encoder.parameters())
    for name in names:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            inject_adapter_in_model(peft_config(sharing), encoder, module_key(name))
        # PEFT makes those of an encoder in half precision in float32.
        for weights in adapter_parameters(encoder, name):
            weights.data = weights.data.to(parameter.dtype)


def take_out(encoder: PreTrainedModel, merged: str | None = None) -> None:
    """Make an encoder the plain one again, with the changes of one adapter in its own weights."""
    for name, layer in adapted_layers(encoder).items():
        if merged is not None:
            layer.merge(adapter_names=[module_key(merged)])
        encoder.set_submodule(name, layer.get_base_layer())
    del encoder.peft_config
    encoder.requires_grad_(True)


def drop(encoder: PreTrainedModel, adapter: str) -> None:
    """Take one adapter of several out."""
    for layer in adapted_layers(encoder).values():
        layer.delete_adapter(module_key(adapter))
    configs: Any = encoder.peft_config
    del configs[module_key(adapter)]


def plain_copy(encoder: PreTrainedModel, merged: str | None = None) -> PreTrainedModel:
    """The stock encoder that stands under the adapters, as `take_out` makes it."""
    copied = copy.deepcopy(encoder)
    take_out(copied, merged)
    return copied


def freeze(encoder: PreTrainedModel, sharing: Sharing) -> None:
    """Let nothing of an encoder learn but its adapters, and LayerNorms if that is said."""
    encoder.requires_grad_(False)
    for name in sharing.names:
        for weights in adapter_parameters(encoder, name):
            weights.requires_grad_(True)
    if sharing.spec.layer_norms:
        for norm in layer_norms(encoder):
            norm.requires_grad_(True)


def layer_norms(encoder: nn.Module) -> list[nn.Module]:
    """The norms of an encoder, of any kind."""
    return [one for one in encoder.modules() if type(one).__name__.endswith("Norm")]


def adapted_layers(encoder: nn.Module) -> dict[str, Any]:
    """PEFT's layers in an encoder, by the names of the modules that they stand for."""
    return {n: one for n, one in encoder.named_modules() if isinstance(one, BaseTunerLayer)}


def adapter_parameters(encoder: nn.Module, adapter: str) -> list[nn.Parameter]:
    """The weights of one adapter."""
    return list(adapter_weights(encoder, adapter).values())


def adapter_weights(encoder: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """The weights of one adapter, by the names that PEFT's files have for them."""
    key, found = module_key(adapter), {}
    for place, layer in adapted_layers(encoder).items():
        for part, weights in layer.named_parameters():
            names = part.split(".")
            if key in names:
                names.remove(key)
                found[".".join(["base_model.model", place, *names])] = weights
    return found
