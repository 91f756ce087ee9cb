"""Scores of every word under every head, and of every relation between them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words

# Those of Dozat & Manning (2017).
ARC_SIZE, LABEL_SIZE = 500, 100
_SLOPE = 0.1  # of the leaky rectifier below 0


class Biaffine(nn.Module):
    """A score of each kind for every pair of a dependent and a head.

    Dozat & Manning (2017, arXiv:1611.01734): ``dᵀ U h + uᵀ h + vᵀ d + b`` of the two words'
    features, which two layers make, one for words as dependents and one for words as heads.

    Args:
        hidden: Width of the words' vectors, in features.
        size: Features of a word as dependent, and as head.
        kinds: Scores per pair.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
        normalize: Whether a word's features are normalized (Ba et al., 2016, arXiv:1607.06450)
            before the rectifier. The small weights that layers start with, three of them
            multiplied, else make it slow to learn from few pairs.
    Shape: dependents (rows, n, hidden), heads (rows, m, hidden); returns (rows, n, kinds, m).
    """

    def __init__(
        self, hidden: int, size: int, kinds: int, *, dropout: float, normalize: bool = False
    ) -> None:
        super().__init__()
        self.kinds = kinds
        self.as_dependent: nn.Module = nn.Linear(hidden, size)
        self.as_head: nn.Module = nn.Linear(hidden, size)
        if normalize:
            self.as_dependent = nn.Sequential(self.as_dependent, nn.LayerNorm(size))
            self.as_head = nn.Sequential(self.as_head, nn.LayerNorm(size))
        # Its bias and the 1 behind each head's features make the terms of less than two words.
        self.weight = nn.Linear(size, kinds * (size + 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, dependents: Tensor, heads: Tensor) -> Tensor:
        """Scores (rows, n, kinds, m)."""
        dependent = self.dropout(F.leaky_relu(self.as_dependent(dependents), _SLOPE))
        head = self.dropout(F.leaky_relu(self.as_head(heads), _SLOPE))
        head = F.pad(head, (0, 1), value=1.0)  # (rows, m, size + 1)
        half = self.weight(dependent).unflatten(2, (self.kinds, -1))  # (rows, n, kinds, size + 1)
        scores = torch.bmm(half.flatten(1, 2), head.transpose(1, 2))  # (rows, n * kinds, m)
        return scores.view(len(scores), -1, self.kinds, scores.shape[2])


class BiaffineHead(nn.Module):
    """Which head each word has, and in which relation, over the words and a root.

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: Relations.
        pooling: Which sub-words stand for a word.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
    Shape: returns logits (rows, seq_len, 1 + num_labels, seq_len + 1): of word ``w`` at ``[:, w]``,
        under the root at the last axis' 0 or under word ``h`` at ``h + 1``, first the score
        of that arc, then those of its relations. What cannot be a head has the lowest number as
        its arc's score: a word itself, and words that are not there.
    """

    def __init__(self, hidden: int, num_labels: int, *, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.root = nn.Embedding(1, hidden)
        self.dropout = nn.Dropout(dropout)
        self.arcs = Biaffine(hidden, ARC_SIZE, 1, dropout=dropout)
        self.labels = Biaffine(hidden, LABEL_SIZE, num_labels, dropout=dropout)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len, 1 + num_labels, seq_len + 1)."""
        vectors, present = pool_words(states, self.pooling)  # (rows, seq_len, hidden)
        # A word numbered beyond its own row's sub-words is cut off however far others reach.
        present = present & states.attention_mask.bool()
        words = self.dropout(vectors)
        root = self.root.weight.to(words.dtype).expand(len(words), 1, -1)
        heads = torch.cat([root, words], dim=1)  # (rows, seq_len + 1, hidden)
        arcs = self.arcs(words, heads)  # (rows, seq_len, 1, seq_len + 1)
        itself = torch.eye(words.shape[1], dtype=torch.bool, device=words.device)
        possible = F.pad(present[:, None] & ~itself, (1, 0), value=True)
        arcs = arcs.masked_fill(~possible[:, :, None], torch.finfo(arcs.dtype).min)
        return torch.cat([arcs, self.labels(words, heads)], dim=2)
