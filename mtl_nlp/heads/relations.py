"""A score for every labelled span of words, and for every relation between two of them."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mtl_nlp.heads.biaffine import LABEL_SIZE, Biaffine
from mtl_nlp.heads.spans import RARE, SpanHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.words import Pooling, pool_words

Logits = TypeVar("Logits", Tensor, np.ndarray)


def unpacked(
    logits: Logits, *, span_labels: int, relations: int, max_width: int
) -> tuple[Logits, Logits]:
    """What `RelationHead` says of spans, and of pairs of words.

    Returns:
        Logits (rows, seq_len, max_width, span_labels), at ``[:, w, k]`` those of the span that
        begins with word ``w`` and has ``k + 1`` words, and (rows, seq_len, seq_len, 2, relations),
        at ``[:, h, t, 0]`` those of a head that begins with word ``h`` and a tail that begins with
        word ``t``, at ``[:, h, t, 1]`` those of spans that end with these words.
    """
    rows, seq_len = logits.shape[:2]
    size = max_width * span_labels
    spans, pairs = logits[:, :, :size], logits[:, :, size:]
    return (
        spans.reshape(rows, seq_len, max_width, span_labels),
        pairs.reshape(rows, seq_len, -1, 2, relations),
    )


class RelationHead(nn.Module):
    """Spans as `SpanHead` scores them, and two tables of word pairs that score their relations.

    A relation's score is the sum of one for the first words of its two spans and one for their last
    words, so that spans need not be known for the tables to be made. The two tables are those of
    TPLinker (Wang et al., 2020, arXiv:2010.13415), here each biaffine (Dozat & Manning, 2017,
    arXiv:1611.01734). Like those of spans the scores start near the logit of 1%.

    Args:
        hidden: Width of the encoder's last layer, in features.
        span_labels: Logits per span, each a yes or no of its own.
        relations: Logits per pair of spans, likewise.
        max_width: Words of the longest span.
        pooling: Which sub-words stand for a word.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
    Shape: returns logits (rows, seq_len, max_width * span_labels + seq_len * 2 * relations),
        float32; `unpacked` takes them apart. They mean nothing where the row lacks a word.

    Raises:
        ValueError: If there is no span label or no relation.
    """

    def __init__(
        self,
        hidden: int,
        *,
        span_labels: int,
        relations: int,
        max_width: int,
        pooling: Pooling,
        dropout: float,
    ) -> None:
        super().__init__()
        if min(span_labels, relations) < 1:
            raise ValueError(
                "a head of relations needs a label of spans and one of relations at least, found"
                f" {span_labels} and {relations}; give the task labels and span_labels"
            )
        self.pooling = pooling
        self.spans = SpanHead(
            hidden, span_labels, max_width=max_width, pooling=pooling, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.first = Biaffine(hidden, LABEL_SIZE, relations, dropout=dropout, normalize=True)
        self.last = Biaffine(hidden, LABEL_SIZE, relations, dropout=dropout, normalize=True)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len, max_width * span_labels + seq_len * 2 * relations)."""
        words = self.dropout(pool_words(states, self.pooling)[0])  # (rows, seq_len, hidden)
        tables = [table(words, words) for table in (self.first, self.last)]
        # (rows, seq_len, 2, relations, seq_len); the tail comes before what is said of the pair.
        pairs = torch.stack(tables, dim=2).permute(0, 1, 4, 2, 3).float() + RARE / 2
        return torch.cat([self.spans(states).flatten(2), pairs.flatten(2)], dim=2)
