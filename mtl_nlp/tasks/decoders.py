"""How the tags of a row are found: each word's by its own score, or all of a row together."""

import numpy as np
from pydantic import AfterValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from mtl_nlp.tasks.schemes import LegalPaths, best_legal_path

_FAR_BELOW = -1e6
_OFF = {"class_weights": "none", "label_smoothing": 0.0, "focal": 0.0}


def _fits_loss(decoder: str, info: ValidationInfo) -> str:
    given = [name for name, off in _OFF.items() if info.data.get(name, off) != off]
    if decoder == "crf" and given:
        raise PydanticCustomError(
            "no_loss_of_words",
            "should be linear with {options}: a CRF has one loss for all tags of a row together,"
            " none of each word that could be weighed or smoothed",
            {"options": " and ".join(given)},
        )
    return decoder


FITS_LOSS = AfterValidator(_fits_loss)
"""Of a `ClassTask`'s ``decoder``: ``crf`` is refused beside options of a loss of single words."""


def best_linear_tags(
    scores: np.ndarray, seen: np.ndarray, length: int, fallback: int, legal: LegalPaths | None
) -> tuple[np.ndarray, np.ndarray]:
    """The best tag of each word of a row, under the constraint that spans are legal.

    Args:
        scores: Log-probabilities of the tags of the words seen, (seen, num_labels).
        seen: The numbers of these words, (seen,).
        length: How many words the row has.
        fallback: The tag of the others.
        legal: Which tags may follow each other; None: all.

    Returns:
        Tags, (length,), and their probabilities, (length,).
    """
    table = np.full((length, scores.shape[1]), _FAR_BELOW)
    table[:, fallback] = 0.0
    table[seen] = scores
    path = table.argmax(axis=1) if legal is None else best_legal_path(table, legal)
    return path, np.exp(table[np.arange(length), path])
