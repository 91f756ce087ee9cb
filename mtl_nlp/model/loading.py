"""A saved model or tokenizer by folder or Hub id, checked; mistakes are told in one paragraph."""

import os
from collections.abc import Mapping
from typing import Any

from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.sources import Source, explained, refuse_gaps
from mtl_nlp.tasks.base import Task


def load_model(
    name_or_path: str | os.PathLike[str],
    revision: str | None = None,
    token: str | None = None,
    *,
    task_types: Mapping[str, type[Task]] | None = None,
) -> MultiTaskModel:
    """A saved model, all of whose weights were found.

    Args:
        name_or_path: Folder, ``org/name`` or ``org/name@revision``.
        revision: Branch, tag or commit of the Hub repository.
        token: Hub token for a private one.
        task_types: Types of the user's own, by their name in ``config.json``.

    Raises:
        ModelError: If there is no such folder, or it holds no whole model of this package.
        HubError: If the Hub has no such repository or revision, or cannot be reached.
        RecipeError: If ``config.json`` has tasks that this version does not know.
    """
    source = Source.parse(name_or_path, revision, token)
    with explained(source, what="model"):
        found, _ = PreTrainedConfig.get_config_dict(
            source.name, revision=source.revision, token=source.token
        )
        _check_config(found, source)
        loaded: Any = MultiTaskModel.from_pretrained(
            source.name,
            revision=source.revision,
            token=source.token,
            task_types=task_types,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # seen below, with their names
        )
    model: MultiTaskModel = loaded[0]
    refuse_gaps(loaded[1], source, what="model")
    return model


def load_tokenizer(
    name_or_path: str | os.PathLike[str], revision: str | None = None, token: str | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a saved model or encoder; one that tells character offsets and pads.

    Args:
        name_or_path: Folder, ``org/name`` or ``org/name@revision``.
        revision: Branch, tag or commit of the Hub repository.
        token: Hub token for a private one.

    Raises:
        ModelError: If there is none, it tells no character offsets or has no padding token.
        HubError: If the Hub has no such repository or revision, or cannot be reached.
    """
    source = Source.parse(name_or_path, revision, token)
    with explained(source, what="tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source.name, revision=source.revision, token=source.token
        )
    # Where the files are missing, transformers may make an empty tokenizer of the model's type.
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise ModelError(
            f"tokenizer {source}: expected tokenizer.json, found no vocabulary; save the tokenizer"
            " beside the model, with its save_pretrained"
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"tokenizer {source}: {type(tokenizer).__name__} tells no character offsets, which"
            " tie words to sub-words; use an encoder with a tokenizer.json"
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"tokenizer {source}: it has no padding token, which rows of unequal length need; give"
            " it one (tokenizer.pad_token = tokenizer.eos_token, say) and save it again"
        )
    return tokenizer


def _check_config(found: Any, source: Source) -> None:
    if not found:
        raise ModelError(
            f"model {source}: expected config.json, found none; name a folder that `mtl-nlp train`"
            " or save_pretrained left"
        )
    model_type = found.get("model_type") if isinstance(found, dict) else None
    if model_type != MultiTaskConfig.model_type:
        raise ModelError(
            f"model {source}: expected a model of this package (model_type"
            f" {MultiTaskConfig.model_type!r} in config.json), found {model_type!r}; a bare encoder"
            " is named as `encoder:` in a recipe, and a stock fine-tuned model is taken in with"
            " MultiTaskModel.from_transformers"
        )
    tasks = found.get("tasks")
    if (
        not isinstance(found.get("encoder_config"), dict)
        or not isinstance(tasks, list)
        or not all(isinstance(task, dict) and task.keys() >= {"name", "type"} for task in tasks)
    ):
        raise ModelError(
            f"model {source}: config.json must hold encoder_config and a list of tasks, each with"
            " name and type, as save_pretrained writes them; copy or download it again"
        )
