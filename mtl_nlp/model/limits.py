"""What an encoder can read: how long a row, which sub-words, and padded rows."""

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.stock import probe

_TABLES = ("position_embeddings", "embed_positions")
_MOST_BY_PADDING = 1e-4


def check_length(encoder: PreTrainedModel, max_length: int) -> None:
    """Refuse rows of more sub-words than the encoder has learned positions for.

    Encoders with relative or rotary positions have no such limit.

    Args:
        encoder: Perhaps on the meta device.
        max_length: Sub-words of the longest row.

    Raises:
        RecipeError: Naming the longest that is possible.
    """
    for name, table in encoder.named_modules():
        if name.rpartition(".")[2] not in _TABLES or not isinstance(table, nn.Embedding):
            continue
        # RoBERTa and its kind count from behind the position of the padding.
        first = 0 if table.padding_idx is None else table.padding_idx + 1
        longest = table.num_embeddings - first
        if max_length > longest:
            raise RecipeError(
                f"max_length: {max_length} tokens, but the encoder has positions for {longest};"
                f" use at most {longest}, or another encoder"
            )


def check_vocabulary(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer whose sub-words have higher numbers than the encoder has rows for.

    Raises:
        ModelError: Naming both sizes.
    """
    rows = len(encoder.get_input_embeddings().weight)  # type: ignore[arg-type]
    wanted = 1 + max(tokenizer.get_vocab().values())
    if wanted > rows:
        raise ModelError(
            f"tokenizer {tokenizer.name_or_path}: it numbers {wanted} sub-words, but the encoder's"
            f" embedding table has {rows} rows; use the tokenizer that the encoder was pretrained"
            " with, or give the encoder more rows with resize_token_embeddings and save it"
        )


@torch.no_grad()
def padding_problem(encoder: PreTrainedModel) -> str | None:
    """Why an encoder cannot read padded rows, or None.

    Two short rows are read in one padded batch and each alone; their hidden states must be the
    same to rounding, or predictions would depend on what else is in the batch.
    """
    batch, training = probe(encoder), encoder.training
    mask = nn.functional.pad(batch["attention_mask"], (0, 8))  # (2, 16)
    padding = encoder.config.pad_token_id or 0
    input_ids = nn.functional.pad(batch["input_ids"], (0, 8)).where(mask.bool(), padding)
    encoder.eval()
    try:
        together = encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        differences = []
        for ids, ones, states in zip(input_ids, mask, together, strict=True):
            length = int(ones.sum())
            alone = encoder(input_ids=ids[None, :length], attention_mask=ones[None, :length])
            differences.append((alone.last_hidden_state[0] - states[:length]).abs().max())
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        return f"{type(encoder).__name__} does not run on sub-words and a mask of padding ({error})"
    finally:
        encoder.train(training)
    difference = float(torch.stack(differences).max())
    if difference <= _MOST_BY_PADDING * max(1.0, float(together.abs().max())):
        return None
    return (
        f"what {type(encoder).__name__} computes for a row depends on its padding (it differs by"
        f" {difference:.1g}), so predictions would depend on what else is in the batch; use an"
        " encoder that masks padding, such as BERT or RoBERTa"
    )
