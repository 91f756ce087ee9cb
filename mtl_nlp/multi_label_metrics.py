"""Scores of predictions that give each item any number of labels."""

from collections.abc import Collection, Sequence

import numpy as np

# scikit-learn takes over a second to import and is needed only once something is scored.


def multi_label_scores(
    references: Sequence[Collection[str]],
    predictions: Sequence[Collection[str]],
    probabilities: np.ndarray,
    labels: Sequence[str],
) -> dict[str, float]:
    """Micro and macro F1 of sets of labels, and how well the right ones are ranked.

    Args:
        references: The right labels of each item, perhaps none of them, or ones not in ``labels``.
        predictions: The predicted ones, in the same order.
        probabilities: Of every label, by which it is ranked, (items, labels).
        labels: Their names.

    Returns:
        ``micro_f1`` over all labels of all items; ``macro_f1``, its mean over the labels that
        occur in references or predictions; and ``lrap``, the label ranking average precision (for
        each right label of an item, the part of right ones among those ranked no lower, averaged
        over labels and then items), as in scikit-learn, where an item without labels counts 1. A
        right label that is not in ``labels`` ranks last. All are 0.0 without items, F1 also without
        labels.

    Raises:
        ValueError: If there are not as many predictions as references.
    """
    from sklearn.metrics import label_ranking_average_precision_score

    if not len(references) == len(predictions) == len(probabilities):
        raise ValueError(
            f"{len(references)} references but {len(predictions)} predictions; "
            "give exactly one prediction per reference"
        )
    if not references:
        return {"micro_f1": 0.0, "macro_f1": 0.0, "lrap": 0.0}
    others = dict.fromkeys(name for names in references for name in names if name not in labels)
    places = {name: place for place, name in enumerate([*labels, *others])}
    right, found = _table(references, places), _table(predictions, places)
    ranks = np.pad(probabilities, ((0, 0), (0, len(others))), constant_values=-1.0)
    lrap = float(label_ranking_average_precision_score(right, ranks))
    correct = (right & found).sum(axis=0)  # (labels,)
    occurring = right.sum(axis=0) + found.sum(axis=0)
    shown = occurring > 0
    if not shown.any():
        return {"micro_f1": 0.0, "macro_f1": 0.0, "lrap": lrap}
    return {
        "micro_f1": float(2 * correct.sum() / occurring.sum()),
        "macro_f1": float(np.mean(2 * correct[shown] / occurring[shown])),
        "lrap": lrap,
    }


def _table(sets: Sequence[Collection[str]], places: dict[str, int]) -> np.ndarray:
    """Which item has which label, (items, labels)."""
    table = np.zeros((len(sets), len(places)), dtype=bool)
    for row, names in zip(table, sets, strict=True):
        row[[places[name] for name in names]] = True
    return table
