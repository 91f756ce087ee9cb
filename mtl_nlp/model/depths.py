"""How deep in an encoder each of its parameters lies, told by the encoder's shape."""

import torch
from torch import nn
from transformers import PreTrainedModel

from mtl_nlp.heads.stock import probe


def parameter_depths(encoder: PreTrainedModel) -> dict[str, int]:
    """How many layers lie above each parameter of an encoder.

    There is no list of architectures: its layers are the longest ``nn.ModuleList`` of modules of
    one class that lies in no other, and a forward of a small batch tells what runs before them.

    Returns:
        By name: 0 for the top layer and what runs after the layers (a last norm, a pooler), one
        more for each layer below, and one more than the lowest for what runs before them and for
        embeddings wherever they are kept.

    Raises:
        ValueError: If it has no such layers, or several alike, or does not run through each once.
    """
    place, layers = _stack(encoder)
    order = _run(encoder)
    if any(order.count(layer) != 1 for layer in layers):
        raise ValueError(
            f"{type(encoder).__name__} does not run through each module of {place!r} once, as where"
            " one set of weights serves as several layers, so that a layer has no weights of its"
            " own"
        )
    before = set(order[: min(map(order.index, layers))])
    depths = {}
    for name, _ in encoder.named_parameters():
        owner = encoder.get_submodule(name.rpartition(".")[0])
        if name.startswith(f"{place}."):
            number = int(name.removeprefix(f"{place}.").partition(".")[0])
            depths[name] = len(layers) - 1 - number
        else:
            below = owner in before or isinstance(owner, nn.Embedding)
            depths[name] = len(layers) if below else 0
    return depths


def _stack(encoder: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """An encoder's layers, and where it keeps them.

    Raises:
        ValueError: If they cannot be told.
    """
    lists = {n: m for n, m in encoder.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    outer = {
        name: layers
        for name, layers in lists.items()
        if len({type(layer) for layer in layers}) == 1
        and not any(name.startswith(f"{other}.") for other in lists)
    }
    longest = max(map(len, outer.values()), default=0)
    found = [(name, layers) for name, layers in outer.items() if len(layers) == longest]
    if len(found) != 1:
        kept = f"several of {longest}: {', '.join(n for n, _ in found)}" if found else "none"
        raise ValueError(
            f"the layers of {type(encoder).__name__} cannot be told: expected one longest"
            f" nn.ModuleList of modules of one class, found {kept}"
        )
    return found[0]


@torch.no_grad()
def _run(encoder: PreTrainedModel) -> list[nn.Module]:
    """The modules of an encoder in the order in which a forward of a small batch calls them."""
    order: list[nn.Module] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: order.append(module))
        for module in encoder.modules()
    ]
    training = encoder.training
    encoder.eval()
    try:
        encoder(**probe(encoder))
    finally:
        encoder.train(training)
        for hook in hooks:
            hook.remove()
    return order
