"""What a head is given: the encoder's output for the rows it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class EncoderStates:
    """Hidden states with what is needed to read them.

    Attributes:
        hidden_states: The encoder's last layer, (rows, seq_len, hidden).
        attention_mask: 1 = token, 0 = padding, (rows, seq_len).
        words: Word each sub-word belongs to, -1 for none, (rows, seq_len); None where the caller
            has no words.
        embeddings: The encoder's input embeddings, (vocabulary, features), for heads that score
            every sub-word of the vocabulary; None where the caller has none.
        mixed: What stands in the place of the last layer for tasks that read a mix of all layers,
            by task, (rows, seq_len, hidden).
    """

    hidden_states: Tensor
    attention_mask: Tensor
    words: Tensor | None = None
    embeddings: Tensor | None = None
    mixed: Mapping[str, Tensor] = field(default_factory=dict)

    def select(self, rows: Tensor) -> "EncoderStates":
        """Only these rows, in this order; themselves where that is all of them.

        Args:
            rows: Distinct row numbers in rising order, (n,).
        """
        if len(rows) == len(self.hidden_states):
            return self
        return EncoderStates(
            self.hidden_states[rows],
            self.attention_mask[rows],
            None if self.words is None else self.words[rows],
            self.embeddings,
            {name: one[rows] for name, one in self.mixed.items()},
        )
