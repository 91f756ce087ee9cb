"""Scores of predicted numbers."""

from collections.abc import Sequence

import numpy as np

# scipy.stats takes most of a second to import and is needed only once something is scored.


def regression_scores(
    references: Sequence[float], predictions: Sequence[float]
) -> dict[str, float]:
    """Rank correlation, linear correlation, and root mean squared error.

    Args:
        references: The right numbers.
        predictions: The predicted ones, in the same order.

    Returns:
        ``spearman`` and ``pearson`` in [-1, 1], 0.0 where they are undefined, because all numbers
        of a side are equal or there are none; and ``rmse``, in the numbers' unit, 0.0 without any.

    Raises:
        ValueError: If there are not as many predictions as references.

    >>> regression_scores([1.0, 2.0, 4.0], [0.0, 1.0, 2.0])["spearman"]
    1.0
    """
    from scipy.stats import pearsonr, spearmanr

    if len(references) != len(predictions):
        raise ValueError(
            f"{len(references)} references but {len(predictions)} predictions; "
            "give exactly one prediction per reference"
        )
    right = np.asarray(references, dtype=np.float64)
    found = np.asarray(predictions, dtype=np.float64)
    rmse = float(np.sqrt(np.mean((right - found) ** 2))) if len(right) else 0.0
    if len(right) < 2 or np.ptp(right) == 0 or np.ptp(found) == 0:
        return {"spearman": 0.0, "pearson": 0.0, "rmse": rmse}
    return {
        "spearman": float(spearmanr(right, found).statistic),
        "pearson": float(pearsonr(right, found).statistic),
        "rmse": rmse,
    }
