"""An encoder whose input embeddings are moved a little."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.packing import Packing


@contextmanager
def perturbed(model: MultiTaskModel, attention_mask: Tensor, by: Tensor) -> Iterator[None]:
    """Within, the encoder's next run reads moved embeddings.

    They are moved where sub-words have become vectors, before positions, segments and norms: where
    transformers takes ``inputs_embeds``.

    Args:
        model: Whose encoder it is.
        attention_mask: Of the rows that it will read, (rows, seq_len).
        by: What is added to their embeddings, (rows, seq_len, features).
    """
    added = Packing.of(attention_mask).pack_features(by) if model.packs else by

    def move(embedding: nn.Module, ids: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
        del embedding, ids
        handle.remove()  # a decoder may read by the same embeddings
        return vectors + added

    handle = model.encoder.get_input_embeddings().register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()
