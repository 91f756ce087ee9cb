"""The decoder that a model's generation tasks share: where it comes from, and whether it fits."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.decoder import AUTO_CLASS, Decoder, take_decoder
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import lay_anew, probe
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.sources import Source, explained, load_weights, refuse_gaps
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.text_generation import TextGeneration


def load_decoder(source: Source, encoder_config: PreTrainedConfig) -> Decoder:
    """The pretrained decoder of an encoder-decoder checkpoint.

    Args:
        source: The checkpoint, which the shared encoder was loaded from too.
        encoder_config: Its configuration, perhaps with another dropout.

    Raises:
        ModelError: If there is no decoder, it is not whole, or it computes otherwise without its
            encoder.
        HubError: If the Hub refuses or cannot be reached.
    """
    with explained(source, what="decoder"):
        config = AutoConfig.from_pretrained(
            source.name, revision=source.revision, token=source.token
        )
        if isinstance(config, MultiTaskConfig):
            raise ModelError(
                f"model {source}: it was saved without a decoder, since it had no task that"
                " generates; begin anew with MultiTaskModel.from_encoder"
            )
        stock, told = load_weights(AUTO_CLASS, source, copy.deepcopy(encoder_config))
    refuse_gaps(told, source, what="decoder")
    try:
        decoder = take_decoder(stock)
    except ValueError as error:
        raise ModelError(f"decoder {source}: {error}; use T5, BART or another checkpoint") from None
    _check_start(decoder, source)
    return decoder


def fitted(task: TextGeneration, decoder: Decoder, source: Source | None) -> TextGeneration:
    """The task with the sub-word of its language.

    Args:
        task: As a recipe describes it.
        decoder: The one that it shall use.
        source: Where the tokenizer lies.

    Raises:
        RecipeError: If its texts are longer than the decoder has learned positions for, or the
            tokenizer does not know its language.
        ModelError: If there is no tokenizer, which the language needs.
    """
    for name, table in decoder.stock.named_modules():
        if name.rpartition(".")[2] == "embed_positions" and isinstance(table, nn.Embedding):
            longest = int(decoder.stock.config.max_position_embeddings)
            if task.max_new_tokens > longest:
                raise RecipeError(
                    f"tasks.{task.name}.max_new_tokens: {task.max_new_tokens} sub-words, but the"
                    f" decoder has positions for {longest}; use at most {longest}"
                )
    if task.target_language is None or task.first_token is not None:
        return task
    if source is None:
        raise ModelError(f"task {task.name!r}: target_language needs the checkpoint's tokenizer")
    with explained(source, what="tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            source.name, revision=source.revision, token=source.token
        )
    return replace(task, first_token=task.language_token(tokenizer))


@torch.no_grad()
def stock_writer(
    task: TextGeneration, decoder: Decoder, encoder: PreTrainedModel
) -> PreTrainedModel:
    """Decoder and encoder as one stock model that generates as a task does.

    Its logits and what it generates are the task's own, which is checked on one small batch.
    ``generation_config.json`` says how it generates, ``task_specific_params`` the prefix.

    Args:
        task: Whose texts it writes.
        decoder: The decoder; its weights are laid anew.
        encoder: The encoder, in evaluation mode.

    Raises:
        ModelError: If the stock model computes otherwise.
    """
    lay_anew(decoder)  # as the stock model's are, so that their last bits are equal
    stock = decoder.with_encoder(encoder)
    batch = probe(encoder)
    states = EncoderStates(encoder(**batch).last_hidden_state, batch["attention_mask"])
    stock.generation_config = decoder.generation_config(task.writing)
    if task.prefix:
        stock.config.task_specific_params = {task.name: {"prefix": task.prefix}}
    logits = stock(**batch, labels=batch["input_ids"]).logits
    generate: Any = stock.generate
    written, ours = generate(**batch)[:, 1:], decoder.generate(states, task.writing)
    if not torch.equal(logits, decoder(states, batch["input_ids"])) or not torch.equal(
        written[ours >= 0], ours[ours >= 0]
    ):
        raise ModelError(
            f"task {task.name!r}: {type(stock).__name__} computes otherwise than this model, so it"
            " is not exported; use the model as it is, with mtl_nlp's from_pretrained and pipeline"
        )
    return stock


def check_told_apart(task: TextGeneration, others: Iterable[Task]) -> None:
    """Refuse a task whose texts the decoder could not tell from those of another task.

    Raises:
        RecipeError: Naming the other task.
    """
    kind = task.prefix, task.target_language
    for other in others:
        if isinstance(other, TextGeneration) and (other.prefix, other.target_language) == kind:
            raise RecipeError(
                f"tasks.{task.name}: it and tasks.{other.name} share the decoder, which cannot tell"
                " them apart; give each its own prefix, such as prefix: 'translate English to"
                " German: ', or make them one task on several datasets"
            )


def _check_start(decoder: Decoder, source: Source) -> None:
    """Refuse a decoder that generates from another token than it is trained to start from."""
    said = decoder.settings
    start = said.get("decoder_start_token_id", said.get("bos_token_id"))
    end = said.get("eos_token_id")
    end = end[0] if isinstance(end, list) else end
    if start is None or end is None:
        raise ModelError(
            f"decoder {source}: config.json must say decoder_start_token_id and eos_token_id, the"
            " sub-words that every text starts from and ends with; add them"
        )
    labels = torch.tensor([[end, end]], device=decoder.stock.device)
    trained = int(decoder.shifted(labels)[0, 0])
    if trained != start:
        raise ModelError(
            f"decoder {source}: it is trained to start from sub-word {trained}, but generates from"
            f" {start}, as mBART-25 does with its languages; use another checkpoint, such as T5,"
            " BART, mBART-50 or M2M100"
        )
