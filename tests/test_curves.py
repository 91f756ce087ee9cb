import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtl_nlp.curves import _MOST_POINTS, smoothed, thinned

CURVES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300).map(
    lambda values: np.column_stack([np.arange(len(values), dtype=float), values])
)


@given(curve=CURVES, offset=st.integers(-100, 100))
def test_smoothing_stays_within_the_values_and_moves_with_them(
    curve: NDArray[np.float64], offset: int
) -> None:
    smooth = smoothed(curve)
    np.testing.assert_array_equal(smooth[:, 0], curve[:, 0])
    assert curve[:, 1].min() - 1e-6 <= smooth[:, 1].min()
    assert smooth[:, 1].max() <= curve[:, 1].max() + 1e-6
    np.testing.assert_allclose(
        smoothed(curve + np.array([0, offset])) - smooth, [[0, offset]] * len(curve), atol=1e-6
    )


@given(length=st.integers(1, 5000))
def test_thinning_keeps_points_in_order_with_both_ends(length: int) -> None:
    curve = np.column_stack([np.arange(length, dtype=float), np.zeros(length)])
    kept = thinned(curve)[:, 0]
    assert len(kept) == min(length, _MOST_POINTS)
    assert (kept[0], kept[-1]) == (0, length - 1)
    assert (np.diff(kept) > 0).all()
