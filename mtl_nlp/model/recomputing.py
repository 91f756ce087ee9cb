"""Activation checkpointing: an encoder layer's states are computed once more in the backward.

Only what goes into a layer is kept then, not all that is computed in it (Chen et al., 2016,
arXiv:1604.06174): less memory for a second forward.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from transformers import PreTrainedModel

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.packing import attending


def check_recomputes(encoder: PreTrainedModel) -> None:
    """Refuse an encoder whose layers transformers cannot compute once more.

    Raises:
        RecipeError: Naming its class.
    """
    try:
        encoder.activation_checkpointing_enable()
    except ValueError:
        raise RecipeError(
            f"training.gradient_checkpointing: transformers offers none for"
            f" {type(encoder).__name__}; leave it out, and lower training.micro_batch_size or"
            " training.micro_batch_tokens if memory is short"
        ) from None
    encoder.activation_checkpointing_disable()


def recompute(encoder: PreTrainedModel) -> None:
    """From now on compute the layers' states once more in the backward, in training mode."""
    encoder.activation_checkpointing_enable(
        {"use_reentrant": False, "context_fn": partial(_contexts, encoder)}
    )


def _contexts(
    encoder: PreTrainedModel,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around a layer's first computation nothing, around its second the attention of the first."""
    return nullcontext(), attending(encoder, encoder.config._attn_implementation)
