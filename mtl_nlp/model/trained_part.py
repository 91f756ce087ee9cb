"""A model saved without the weights of its frozen encoder, which stay where they are on the Hub.

Adapters lie in ``adapters/NAME`` as PEFT's own files, heads and what else has learned in
``model.safetensors``; ``config.json`` names the encoder's repository and commit.
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file, extract_commit_hash

from mtl_nlp.errors import ModelError
from mtl_nlp.model.adapter_plan import Base, Sharing, is_target
from mtl_nlp.model.adapters import adapter_weights, layer_norms, module_key, peft_config
from mtl_nlp.model.encoders import load_encoder, shared_part
from mtl_nlp.model.sources import Source

ADAPTERS = "adapters"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def trained_state(
    model: PreTrainedModel, encoder: PreTrainedModel, sharing: Sharing
) -> dict[str, Tensor]:
    """What of a model's weights is neither an adapter's nor its encoder's as it was."""
    norms = layer_norms(encoder) if sharing.spec.layer_norms else []
    learned_too = {id(p) for norm in norms for p in norm.parameters()}
    learned = {name for name, p in model.named_parameters() if id(p) in learned_too}
    return {
        name: weights
        for name, weights in model.state_dict().items()
        if name in learned or not name.startswith("encoder.")
    }


def save_adapters(encoder: PreTrainedModel, sharing: Sharing, folder: Path) -> None:
    """Write each adapter as PEFT does, so that ``PeftModel.from_pretrained`` reads it."""
    for name in sharing.names:
        place = folder / ADAPTERS / name
        config = peft_config(sharing)
        if sharing.base is not None:
            config.base_model_name_or_path = sharing.base.name
            config.revision = sharing.base.revision
        config.inference_mode = True
        config.save_pretrained(str(place))
        weights = adapter_weights(encoder, name)
        save_file({n: w.detach().contiguous() for n, w in weights.items()}, place / _WEIGHTS)


def whole_state(source: Source, sharing: Sharing, base: Base) -> dict[str, Tensor]:
    """All weights of a model that was saved without its encoder's, which are fetched.

    Args:
        source: Where the model is.
        sharing: Of its configuration.
        base: Where its encoder is.

    Raises:
        ModelError: If a file is missing, or what is there does not load.
        HubError: If the Hub refuses or cannot be reached.
    """
    encoder = shared_part(load_encoder(Source(base.name, base.revision, source.token), None))
    state = {
        f"encoder.{_under_adapter(name, sharing)}": weights
        for name, weights in encoder.state_dict().items()
    }
    for adapter in sharing.names:
        saved = load_file(_file(source, f"{ADAPTERS}/{adapter}/{_WEIGHTS}"))
        state |= {_in_model(name, adapter): weights for name, weights in saved.items()}
    return state | load_file(_file(source, "model.safetensors"))


def has_weights_of(encoder: PreTrainedModel, source: Source) -> bool:
    """Whether an encoder without adapters still has the weights that lie at a source.

    Its pooler does not count: nothing reads what it makes, and many a source has none.
    """
    with torch.random.fork_rng(devices=[]):  # of a pooler that is not there
        lying = shared_part(load_encoder(source, None)).state_dict()
    return all(
        torch.equal(weights.cpu(), lying[name].to(weights.dtype))
        for name, weights in encoder.state_dict().items()
        if not name.startswith("pooler.")
    )


def _under_adapter(name: str, sharing: Sharing) -> str:
    """What a weight of the plain encoder is called where its module is adapted."""
    module, _, weight = name.rpartition(".")
    return f"{module}.base_layer.{weight}" if is_target(module, sharing) else name


def _in_model(name: str, adapter: str) -> str:
    """What a weight of a PEFT file is called in the model: the adapter's name is put in again."""
    module, part, *rest = name.removeprefix(_PREFIX).rsplit(
        ".", 2 if name.endswith(".weight") else 1
    )
    return ".".join(["encoder", module, part, module_key(adapter), *rest])


def commit_of(source: Source) -> str | None:
    """The commit of the Hub that was loaded from a source; None of a folder."""
    if Path(source.name).exists():
        return None
    found = cached_file(
        source.name,
        "config.json",
        revision=source.revision,
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else str(extract_commit_hash(found, None))


def _file(source: Source, name: str) -> str:
    found = cached_file(
        os.fspath(source.name),
        name,
        revision=source.revision,
        token=source.token,
        _raise_exceptions_for_missing_entries=False,
    )
    if found is None:
        raise ModelError(
            f"model {source}: expected {name}, which holds a part of what was trained, found none;"
            " copy or download it again"
        )
    return str(found)
