"""How long a row an encoder can read."""

from torch import nn
from transformers import PreTrainedModel

from mtl_nlp.errors import RecipeError

_TABLES = ("position_embeddings", "embed_positions")


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
