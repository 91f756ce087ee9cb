"""A score for every span of words and label, from the words at its ends and its width."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words

_FEATURES = 256  # of a span; there are max_width spans a word, so this sets the head's memory
RARE = -4.6  # logit of 1%, so that the many spans that are nothing do not drown the first steps


class SpanHead(nn.Module):
    """Every span of up to ``max_width`` words, through one hidden layer.

    A span is its first word, its last word and a learned embedding of its width, as in Zhong &
    Chen (2021, arXiv:2010.12812). The first layer over the three is a sum of one for each, so
    a word goes through it once, however many spans begin or end there; the words' parts are
    normalized, without which the small weights that layers start with make it slow to learn. Logits
    start near that of 1% (Lin et al., 2017, arXiv:1708.02002, section 4.1).

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: Logits per span, each a yes or no of its own.
        max_width: Words of the longest span.
        pooling: Which sub-words stand for a word.
        dropout: Probability in [0, 1) of zeroing a feature of a word, in training only.
    Shape: returns logits (rows, seq_len, max_width, num_labels), float32; at ``[:, w, k]`` those
        of the span that begins with word ``w`` and has ``k + 1`` words. They mean nothing where the
        row lacks the first or the last of these words.
    """

    def __init__(
        self, hidden: int, num_labels: int, *, max_width: int, pooling: Pooling, dropout: float
    ) -> None:
        super().__init__()
        features = min(hidden, _FEATURES)
        self.max_width, self.pooling = max_width, pooling
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Sequential(nn.Linear(hidden, features), nn.LayerNorm(features))
        self.end = nn.Sequential(nn.Linear(hidden, features), nn.LayerNorm(features))
        self.width = nn.Embedding(max_width, features)
        self.score = nn.Linear(features, num_labels)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len, max_width, num_labels)."""
        vectors = self.dropout(pool_words(states, self.pooling)[0])  # (rows, seq_len, hidden)
        seq_len = vectors.shape[1]
        starts = self.start(vectors)  # (rows, seq_len, features)
        ends = self.end(F.pad(vectors, (0, 0, 0, self.max_width - 1)))
        numbers = torch.arange(self.max_width, device=vectors.device)
        widths = self.width(numbers).to(starts.dtype)  # (max_width, features)
        # One width at a time: all at once would hold (rows, seq_len, max_width, features) thrice.
        logits = [
            self.score(F.gelu(starts + ends[:, more : more + seq_len] + widths[more]))
            for more in range(self.max_width)
        ]  # each (rows, seq_len, num_labels)
        return torch.stack(logits, dim=2).float() + RARE
