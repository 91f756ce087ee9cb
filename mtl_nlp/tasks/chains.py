"""The words of a row that a CRF joins: all up to the last one that the encoder sees."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtl_nlp.heads.crf import ANY, crf_decode
from mtl_nlp.ragged import Ragged


def up_to_last(seen: np.ndarray) -> int:
    """How many words there are up to the last of those seen."""
    return int(seen.max(initial=-1)) + 1


def with_unknown(labels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Labels at the words' numbers, (seq_len,), ``ANY`` where one within the chain is missing."""
    inside = np.arange(len(labels)) < up_to_last(seen)
    return np.where(inside & (labels == -100), ANY, labels)


def best_tags(
    logits: np.ndarray, seen: Sequence[np.ndarray], fallback: int, allowed: Tensor
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The best tags of every row, and the probability of each.

    Args:
        logits: As `CrfHead` gives them, (rows, seq_len + num_labels + 2, num_labels).
        seen: The words of each row that the encoder sees.
        fallback: The tag of words in between that it does not see.
        allowed: As `crf_decode` wants it, (num_labels + 2, num_labels).

    Returns:
        For each row its tags, (words,), and their probabilities, (words,).
    """
    known = [np.full(up_to_last(words), fallback) for words in seen]
    for labels, words in zip(known, seen, strict=True):
        labels[words] = ANY
    padded = Ragged.from_lists(known).pad(max([1, *map(len, known)]), -100)
    tags, probabilities = crf_decode(torch.from_numpy(logits), torch.from_numpy(padded), allowed)
    return [
        (tags[row, : len(one)].numpy(), probabilities[row, : len(one)].numpy())
        for row, one in enumerate(known)
    ]
