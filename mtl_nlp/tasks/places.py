"""Which words of a row the encoder sees, and where their logits stand."""

import numpy as np

from mtl_nlp.tasks.base import Encoding
from mtl_nlp.words import first_subwords


def at_first_sub_words(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """The words seen, in rising order, and the places of their first sub-words, both (seen,)."""
    words = encoding.token_words
    first = np.flatnonzero(first_subwords(words))
    # Words of the pair are numbered behind those of the text and carry no tags.
    first = first[words[first] < len(encoding.row.words)]
    return words[first], first


def at_their_numbers(encoding: Encoding) -> np.ndarray:
    """The words seen by a head of words, which are their places too, in rising order, (seen,).

    There are as many places as sub-words: words numbered beyond are as if they were cut off, also
    in a wider batch, so that company changes nothing.
    """
    seen, _ = at_first_sub_words(encoding)
    return seen[seen < len(encoding.token_words)]
