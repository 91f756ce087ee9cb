"""A label per word, from the vectors of its sub-words."""

from torch import Tensor, nn

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words


class WordHead(nn.Module):
    """Every word's vector, projected.

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: Logits per word.
        pooling: Which sub-words stand for a word.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
    Shape: returns logits (rows, seq_len, num_labels), those of word ``w`` at ``[:, w]``.
    """

    def __init__(self, hidden: int, num_labels: int, *, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout, self.project = nn.Dropout(dropout), nn.Linear(hidden, num_labels)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len, num_labels)."""
        vectors, _ = pool_words(states, self.pooling)  # (rows, seq_len, hidden)
        logits: Tensor = self.project(self.dropout(vectors))
        return logits
