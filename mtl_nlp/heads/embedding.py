"""One vector for each text."""

from typing import Literal

from torch import Tensor, nn

from mtl_nlp.heads.states import EncoderStates

TextPooling = Literal["mean", "cls"]
"""Which tokens stand for a text: all of them, or the first."""


class EmbeddingHead(nn.Module):
    """The mean of the tokens' vectors, or that of the first token.

    Pooling as in Reimers & Gurevych (2019, arXiv:1908.10084). It has no weights: what is learned is
    the encoder.

    Args:
        pooling: Which tokens stand for a text.
    Shape: returns embeddings (texts, hidden) in float32.
    """

    def __init__(self, pooling: TextPooling) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, states: EncoderStates) -> Tensor:
        """Embeddings (texts, hidden)."""
        hidden_states = states.hidden_states.float()
        if self.pooling == "cls":
            return hidden_states[:, 0]
        mask = states.attention_mask.unsqueeze(-1).to(hidden_states.dtype)  # (texts, seq_len, 1)
        return (hidden_states * mask).sum(dim=1) / mask.sum(dim=1)
