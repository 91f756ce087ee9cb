"""The model that a training begins with."""

from typing import Any

import torch

from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.model.limits import check_vocabulary
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.recomputing import check_recomputes
from mtl_nlp.model.warm_start import start_from
from mtl_nlp.tasks.own import own_types
from mtl_nlp.training.checkpoints import Checkpoint
from mtl_nlp.training.preparation import Prepared


def begin_model(
    prepared: Prepared, start: Checkpoint | None = None, *, say: list[str]
) -> MultiTaskModel:
    """A pretrained encoder with a fresh head for every task, or what a checkpoint holds.

    Where the recipe starts warm, encoder and perhaps heads have the weights of another model.

    Args:
        prepared: The recipe with its tasks.
        start: The checkpoint to go on from.
        say: Told what a warm start took.

    Raises:
        ModelError: If the encoder cannot be loaded, or cannot read the tokenizer's sub-words, or
            the model of a warm start does not fit it.
    """
    recipe = prepared.recipe
    if start is not None:
        model = load_model(start.path, task_types=own_types(prepared.tasks))
        check_vocabulary(model.encoder, prepared.encoder.tokenizer)
        if recipe.training.gradient_checkpointing:
            check_recomputes(model.encoder)
        return model
    torch.manual_seed(recipe.seed)
    model = MultiTaskModel.from_encoder(
        resolve_encoder(recipe.encoder), {}, dropout=recipe.dropout, max_length=recipe.max_length
    )
    check_vocabulary(model.encoder, prepared.encoder.tokenizer)
    if recipe.training.gradient_checkpointing:
        check_recomputes(model.encoder)
    joins = [spec.join for spec in recipe.datasets.values() if spec.tokens is not None]
    model.config.join = joins[0] if joins else model.config.join
    model.config.long_text, model.config.stride = recipe.long_text, recipe.stride
    for task in prepared.tasks.values():
        model.set_head(task)
    if recipe.warm_start.model is not None:
        say += start_from(
            model,
            prepared.encoder.tokenizer,
            recipe.warm_start.model,
            heads=recipe.warm_start.heads,
            task_types=own_types(prepared.tasks),
        )
    model.share(recipe.sharing, {name: spec.sharing for name, spec in recipe.tasks.items()})
    return model


def count_parameters(model: MultiTaskModel) -> dict[str, Any]:
    """Parameters of encoder, heads, decoder and adapters, and all that learn if some do not."""
    counted = model.count_adapters()
    beside = sum(counted.get("adapters", {}).values())
    encoder = {id(p) for p in model.encoder.parameters()}
    decoder = () if model.decoder is None else model.decoder.parameters()
    apart = [p.numel() for p in decoder if id(p) not in encoder]  # its embeddings are the encoder's
    learning = [p.numel() for p in model.parameters() if p.requires_grad]
    return {
        "encoder": sum(p.numel() for p in model.encoder.parameters()) - beside,
        "heads": {
            name: sum(p.numel() for p in head.parameters()) for name, head in model.heads.items()
        },
        **({"decoder": sum(apart)} if apart else {}),
        **({"learning": sum(learning)} if len(learning) < len(list(model.parameters())) else {}),
        **counted,
    }
