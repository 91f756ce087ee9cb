import numpy as np
import pytest

from mtl_nlp.data import passes
from mtl_nlp.data.passes import Passes


def all_rows(of: Passes, number: int) -> np.ndarray:
    blocks = -(-of.size // of.block)
    return np.concatenate([of.shuffled(number, block) for block in range(blocks)])


@pytest.mark.parametrize("size", [1, 7, 64, 65, 1000, 1597])
@pytest.mark.parametrize("most", [1, 16, 64])
def test_a_table_in_blocks_has_each_row_once_in_a_pass(monkeypatch, size: int, most: int) -> None:
    monkeypatch.setattr(passes, "MOST_ROWS", most)
    of = Passes("d", size, seed=3)
    first, second = all_rows(of, 0), all_rows(of, 1)
    assert np.sort(first).tolist() == np.sort(second).tolist() == list(range(size))
    assert size < 60 or first.tolist() != second.tolist()


def test_each_block_has_rows_of_all_parts_of_a_table(monkeypatch) -> None:
    monkeypatch.setattr(passes, "MOST_ROWS", 100)
    of = Passes("d", 10_000, seed=3)
    for block in range(100):
        tenths = np.bincount(of.shuffled(0, block) // 1000, minlength=10)
        assert tenths.min() >= 8
        assert tenths.max() <= 12


def test_a_stream_is_shuffled_buffer_by_buffer_and_numbered_on_over_the_passes() -> None:
    of = Passes("d", 25, seed=3, buffer=10)
    for number in range(2):
        for block, (start, stop) in enumerate([(0, 10), (10, 20), (20, 25)]):
            rows = of.shuffled(number, block)
            assert np.sort(rows).tolist() == list(range(number * 25 + start, number * 25 + stop))
    assert of.shuffled(0, 0).tolist() != (of.shuffled(1, 0) - 25).tolist()
