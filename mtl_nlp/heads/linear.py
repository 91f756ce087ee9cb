"""Our own plain heads, for encoders whose stock head cannot be lifted."""

from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.states import EncoderStates


def hidden_dropout(config: PreTrainedConfig) -> float:
    """The probability with which an encoder drops its hidden features; 0 if it tells none."""
    names = ("hidden_dropout_prob", "dropout", "dropout_rate", "mlp_dropout")
    values = config.to_dict()
    return next((float(values[name]) for name in names if name in values), 0.0)


class PooledHead(nn.Module):
    """Mean of the real tokens, projected (Reimers & Gurevych, 2019, arXiv:1908.10084).

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: Logits per row.
        dropout: Probability in [0, 1) of zeroing a pooled feature, in training only.
    Shape: returns logits (rows, num_labels).
    """

    def __init__(self, hidden: int, num_labels: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout, self.project = nn.Dropout(dropout), nn.Linear(hidden, num_labels)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, num_labels)."""
        mask = states.attention_mask.unsqueeze(-1).to(states.hidden_states.dtype)
        mean = (states.hidden_states * mask).sum(dim=1) / mask.sum(dim=1)  # (rows, hidden)
        logits: Tensor = self.project(self.dropout(mean))
        return logits


class TokenHead(nn.Module):
    """Every token's vector, projected.

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: Logits per token.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
    Shape: returns logits (rows, seq_len, num_labels).
    """

    def __init__(self, hidden: int, num_labels: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout, self.project = nn.Dropout(dropout), nn.Linear(hidden, num_labels)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len, num_labels)."""
        logits: Tensor = self.project(self.dropout(states.hidden_states))
        return logits
