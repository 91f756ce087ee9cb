"""What an encoder makes of its rows: its last layer, and mixes of all layers for tasks that ask."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.heads.layer_mix import LayerMix, MixingHead
from mtl_nlp.heads.stock import probe
from mtl_nlp.tasks.after import run_for
from mtl_nlp.tasks.base import Task

NO_MIXES: Mapping[str, LayerMix] = MappingProxyType({})


def mixes_of(
    names: Iterable[str], tasks: Mapping[str, Task], heads: HeadsByTask
) -> dict[str, LayerMix]:
    """The mixes that running the heads of some tasks takes, by task; mostly none.

    Args:
        names: The tasks whose heads are to be run.
        tasks: All of the model's.
        heads: Theirs.
    """
    found = {name: heads[name] for name in run_for(names, tasks) if tasks[name].layers == "mix"}
    return {name: head.mix for name, head in found.items() if isinstance(head, MixingHead)}


def states_of(
    encoder: PreTrainedModel, inputs: Mapping[str, Any], mixes: Mapping[str, LayerMix]
) -> tuple[Tensor, dict[str, Tensor]]:
    """An encoder's last layer and mixes of all, in the shape in which it gives them.

    The states of all layers are kept only where there is a mix.

    Args:
        encoder: The encoder.
        inputs: What it is called with.
        mixes: By task.
    """
    if not mixes:
        last: Tensor = encoder(**inputs).last_hidden_state
        return last, {}
    output = encoder(**inputs, output_hidden_states=True)
    return output.last_hidden_state, {
        name: mix(output.hidden_states) for name, mix in mixes.items()
    }


def states_to_mix(config: PreTrainedConfig) -> int:
    """How many states an encoder with this configuration gives, one more than layers.

    Raises:
        ValueError: If it does not say.
    """
    layers = getattr(config, "num_hidden_layers", None)  # some families have stages instead
    if not isinstance(layers, int):
        raise ValueError(f"{config.model_type} encoders do not say how many layers they have")
    return layers + 1


@torch.no_grad()
def mixing_problem(encoder: PreTrainedModel) -> str | None:
    """Why the layers of an encoder cannot be mixed, or None; tried on a small batch."""
    name, training = type(encoder).__name__, encoder.training
    encoder.eval()
    try:
        expected = states_to_mix(encoder.config)
        output = encoder(**probe(encoder), output_hidden_states=True)
        shapes = [tuple(state.shape) for state in output.hidden_states]
        last = output.last_hidden_state
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        return f"{name} does not give the states of its layers ({error})"
    finally:
        encoder.train(training)
    if len(shapes) != expected:
        return f"{name} gives {len(shapes)} states, where its layers make {expected}"
    if strange := [shape for shape in shapes if shape != tuple(last.shape)]:
        return f"{name} gives states of unlike shapes, {strange[0]} and {tuple(last.shape)}"
    if not torch.equal(output.hidden_states[-1], last):
        return f"the last of the states that {name} gives is not its last layer"
    return None
