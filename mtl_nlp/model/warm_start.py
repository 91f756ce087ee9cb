"""A model that starts from another one's weights: its encoder, and the heads that both have."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError
from mtl_nlp.heads.decoder import GenerationHead
from mtl_nlp.heads.stock import probe
from mtl_nlp.model.loading import load_model, load_tokenizer
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.base import Task

_PLACE = "warm_start.model"


def start_from(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    *,
    heads: bool,
    task_types: Mapping[str, type[Task]] | None = None,
) -> list[str]:
    """Give a model the weights of another one.

    Args:
        model: With a head for every task.
        tokenizer: Of its encoder.
        source: Folder or Hub id of a model of this package whose encoder is the same but for its
            weights, without adapters, and whose tokenizer is the same.
        heads: Whether also heads are taken: those of tasks with the same name, type and labels.
        task_types: Types of the user's own, by their name in ``config.json``.

    Returns:
        What was taken and what not, and why.

    Raises:
        ModelError: If there is no such model, or its encoder or tokenizer is another, or it has
            adapters.
        HubError: If the Hub refuses or cannot be reached.
    """
    other = load_model(source, task_types=task_types)
    if other.sharing is not None:
        raise ModelError(
            f"{_PLACE}: expected a model whose encoder has learned, found adapters"
            f" ({', '.join(other.sharing.names)}) beside a frozen one in {source}; where there is"
            " one, merge_and_unload() it, save the model with its tokenizer, and name that"
        )
    nn.Module.to(other, torch.float32)
    if load_tokenizer(source).get_vocab() != tokenizer.get_vocab():
        raise ModelError(
            f"{_PLACE}: the sub-words of {source} are not those of the recipe's encoder; name the"
            " encoder that it was trained from"
        )
    _take_encoder(model.encoder, other.encoder, source)
    if not heads:
        return [f"warm start: the encoder is that of {source}; every head is fresh"]
    fresh = {name: _why_fresh(model, other, name) for name in model.tasks}
    taken = [name for name, reason in fresh.items() if reason is None]
    for name in taken:
        model.heads[name].load_state_dict(other.heads[name].state_dict())
    if any(_generates(model.heads[name]) for name in taken):
        assert model.decoder is not None
        assert other.decoder is not None
        model.decoder.load_state_dict(other.decoder.state_dict())
    told = f"the heads of {', '.join(taken)} are" if taken else "but no head is"
    notes = (
        [f"warm start: the encoder and {told} those of {source}"]
        if taken
        else [f"warm start: the encoder is that of {source}, {told}"]
    )
    return notes + [
        f"warm start: the head of {name} is fresh: {reason}"
        for name, reason in fresh.items()
        if reason is not None
    ]


@torch.no_grad()
def _take_encoder(own: PreTrainedModel, given: PreTrainedModel, source: str) -> None:
    """Give an encoder the weights of another.

    Raises:
        ModelError: If with them it does not compute what that one does.
    """
    mend = "name the encoder that it was trained from"
    if difference := _difference(own.state_dict(), given.state_dict()):
        raise ModelError(
            f"{_PLACE}: the encoder of {source} is another than the recipe's: {difference}; {mend}"
        )
    own.load_state_dict(given.state_dict())
    training = own.training
    own.eval(), given.eval()
    try:
        batch = probe(own)
        here, there = (encoder(**batch).last_hidden_state for encoder in (own, given))
    finally:
        own.train(training)
    if not torch.allclose(here, there, atol=1e-5):
        raise ModelError(
            f"{_PLACE}: the encoder of {source} has weights of the same shapes as the recipe's, but"
            f" computes otherwise with them, as with another number of attention heads; {mend}"
        )


def _why_fresh(model: MultiTaskModel, other: MultiTaskModel, name: str) -> str | None:
    """Why a head cannot be another model's, or None."""
    task, theirs = model.tasks[name], other.tasks.get(name)
    if theirs is None:
        return f"that model has no such task, but {', '.join(other.tasks) or 'none'}"
    if theirs.type != task.type:
        return f"there it is a {theirs.type} task, here {task.type}"
    if theirs.labels != task.labels or theirs.logit_names != task.logit_names:
        alike = sorted(theirs.logit_names) == sorted(task.logit_names)
        return "its labels are in another order there" if alike else "its labels are others there"
    if theirs.after != task.after:
        return "there it is after other tasks"
    one, two = model.heads[name], other.heads[name]
    if difference := _difference(one.state_dict(), two.state_dict()):
        return f"there it is of another kind: {difference}"
    if _generates(one):
        assert model.decoder is not None
        assert other.decoder is not None
        if model.decoder.ties != other.decoder.ties:
            return "there the decoder is tied to the encoder otherwise"
        difference = _difference(model.decoder.state_dict(), other.decoder.state_dict())
        return f"there the decoder is another: {difference}" if difference else None
    return None


def _generates(head: nn.Module) -> bool:
    return any(isinstance(module, GenerationHead) for module in head.modules())


def _difference(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """What first differs in the names or shapes of weights, or None."""
    for name in (*own, *given):
        if name not in given:
            return f"it has no {name}"
        if name not in own:
            return f"it has {name}, which is not here"
        if own[name].shape != given[name].shape:
            return f"{name} is {tuple(given[name].shape)} there, {tuple(own[name].shape)} here"
    return None
