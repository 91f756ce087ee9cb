"""Encoder rows of one forward that have different adapters.

Adapters are low in rank, so those of all rows are computed of every token, and what is not a row's
own is left out in the middle, where a token has but ``rank`` numbers for each adapter: two products
as for one adapter, wherever the rows' tokens lie.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft.tuners import ia3, lora
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from mtl_nlp.heads.stock import probe
from mtl_nlp.model.adapters import adapted_layers, adapter_parameters, module_key

_CHECKPOINT = "_gradient_checkpointing_func"
_HOOKS = "_hooks_of_routes"


@dataclass(frozen=True)
class Route:
    """Which adapter each token of a forward has.

    Attributes:
        keys: The adapters that any has, as PEFT's layers call them.
        numbers: The place among those of each token's, of the shape of the tokens; None where
            there is one for all.
    """

    keys: tuple[str, ...]
    numbers: Tensor | None


class Routes:
    """Tells the adapted layers of an encoder which adapter each token has.

    The encoder is called with ``adapters``, (rows, seq_len) or wherever its tokens lie: the place
    of each token's adapter among the names. Called without it computes without adapters.

    Args:
        names: The adapters.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.keys = [module_key(name) for name in names]
        self.now: Route | None = None

    def route(self, numbers: Tensor) -> Route:
        """The route of tokens with these adapters."""
        present = numbers.unique()
        keys = tuple(self.keys[number] for number in present.tolist())
        several = len(keys) > 1  # PyTorch warns of packed numbers, which lie apart
        return Route(keys, torch.searchsorted(present, numbers.contiguous()) if several else None)

    def enter(
        self, encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Before a forward of the encoder: set out."""
        numbers = kwargs.pop("adapters", None)
        self.now = None if numbers is None else self.route(numbers)
        for module in encoder.modules():
            parts: dict[str, Any] = module.__dict__
            if parts.get("gradient_checkpointing") and not isinstance(
                parts[_CHECKPOINT], _Recomputed
            ):
                parts[_CHECKPOINT] = _Recomputed(parts[_CHECKPOINT], self)
        return args, kwargs

    def leave(self, *_: object) -> None:
        """After it."""
        self.now = None


@dataclass(frozen=True)
class _Recomputed:
    """Checkpoints a layer's activations: when they are computed again, the route is as it was."""

    checkpoint: Callable[..., Any]
    routes: Routes

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        again = partial(self._along, self.routes.now, function)
        return self.checkpoint(again, *args, **kwargs)

    def _along(self, route: Route | None, function: Callable[..., Any], *args: Any) -> Any:
        before, self.routes.now = self.routes.now, route
        try:
            return function(*args)
        finally:
            self.routes.now = before


class RoutedLora(lora.Linear):
    """PEFT's linear layer with LoRA (Hu et al., 2021, arXiv:2106.09685), each token its own."""

    routes: Routes

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for its input (…, features)."""
        result: Tensor = self.base_layer(x)
        route = self.routes.now
        if route is None:
            return result
        first, adapters = route.keys[0], len(route.keys)
        a, b = dict(self.lora_A.items()), dict(self.lora_B.items())
        down = torch.cat([a[key].get_parameter("weight") for key in route.keys])
        up = torch.cat([b[key].get_parameter("weight") for key in route.keys], dim=1)
        inner = F.linear(self.lora_dropout[first](x), down) * self.scaling[first]
        if route.numbers is not None:
            own = F.one_hot(route.numbers, adapters).bool().unsqueeze(-1)
            inner = (inner.unflatten(-1, (adapters, -1)) * own).flatten(-2)
        return result + F.linear(inner, up)


class RoutedIA3(ia3.Linear):
    """PEFT's linear layer with IA3 (Liu et al., 2022, arXiv:2205.05638), each token its own."""

    routes: Routes

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for its input (…, features)."""
        route = self.routes.now
        if route is None:
            return self.base_layer(x)  # type: ignore[no-any-return]
        factors = torch.stack([self.ia3_l[key].flatten() for key in route.keys])
        factor = factors[0] if route.numbers is None else F.embedding(route.numbers, factors)
        if self.is_feedforward:
            return self.base_layer((x * factor).to(x.dtype))  # type: ignore[no-any-return]
        result: Tensor = self.base_layer(x)
        return (result * factor).to(result.dtype)


_ROUTED: dict[type, type] = {
    lora.Linear: RoutedLora,
    ia3.Linear: RoutedIA3,
}


def route_through(encoder: PreTrainedModel, names: Sequence[str]) -> None:
    """Have an encoder take ``adapters`` with its input, where there are several to choose from."""
    stop_routing(encoder)
    routes = Routes(names)
    for layer in adapted_layers(encoder).values():
        if len(names) == 1:
            layer.set_adapter(routes.keys[0])
        else:
            layer.__class__ = _ROUTED[type(layer)]
            layer.routes = routes
    if len(names) == 1:
        return
    encoder.__dict__[_HOOKS] = (
        encoder.register_forward_pre_hook(routes.enter, with_kwargs=True),
        encoder.register_forward_hook(routes.leave, always_call=True),
    )


def stop_routing(encoder: PreTrainedModel) -> None:
    """Have an encoder take its input alone again, in PEFT's own layers."""
    stock = {routed: plain for plain, routed in _ROUTED.items()}
    for layer in adapted_layers(encoder).values():
        layer.__class__ = stock.get(type(layer), type(layer))
    for hook in encoder.__dict__.pop(_HOOKS, ()):
        hook.remove()


@torch.no_grad()
def routing_problem(encoder: PreTrainedModel, names: Sequence[str]) -> str | None:
    """Why the rows of an encoder cannot have different adapters, or None.

    With adapters that do something, two rows are read together and each by itself.
    """
    weights = [one for name in names for one in adapter_parameters(encoder, name)]
    before, generator = [one.clone() for one in weights], torch.Generator().manual_seed(0)
    training, batch = encoder.training, probe(encoder)
    numbers = torch.tensor([[0], [len(names) - 1]]).expand(2, batch["input_ids"].shape[1])
    numbers = numbers.to(encoder.device)
    encoder.eval()
    try:
        for one in weights:
            one.copy_(torch.randn(one.shape, generator=generator) * 0.1)
        together = encoder(**batch, adapters=numbers).last_hidden_state
        for row, states in enumerate(together):
            whole = numbers[row].expand_as(numbers)
            alone = encoder(**batch, adapters=whole).last_hidden_state[row]
            if not torch.allclose(alone, states, atol=1e-4):
                return "what it computes for a row depends on the other rows' adapters"
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        return f"an adapted layer is given something other than the tokens of rows ({error})"
    finally:
        encoder.train(training)
        for one, kept in zip(weights, before, strict=True):
            one.copy_(kept)
    return None
