"""A CRF's words: all up to the last one seen."""

import numpy as np
import pytest
import torch

from mtl_nlp.tasks.chains import best_tags, up_to_last, with_unknown


@pytest.mark.parametrize(("seen", "words"), [([], 0), ([0], 1), ([0, 1, 4], 5)])
def test_words_are_joined_up_to_the_last_one_seen(seen: list[int], words: int) -> None:
    assert up_to_last(np.array(seen, dtype=int)) == words


def test_a_word_within_that_has_no_label_may_have_any() -> None:
    labels = np.array([2, -100, 0, -100, -100])
    assert with_unknown(labels, np.array([0, 2, 3])).tolist() == [2, -1, 0, -1, -100]
    assert with_unknown(labels[3:], np.array([], dtype=int)).tolist() == [-100, -100]


def test_a_word_that_is_not_seen_has_the_fallback_and_its_neighbours_heed_it() -> None:
    logits = np.zeros((2, 4 + 5, 3), dtype=np.float32)
    logits[:, :4, 1] = 1.0
    logits[:, 4 + 2, 1] = -9.0  # 1 hardly follows 2
    seen = [np.array([0, 2]), np.array([0])]
    allowed = torch.ones(5, 3, dtype=torch.bool)
    (first, one), (second, other) = best_tags(logits, seen, 2, allowed)
    assert first[:2].tolist() == [1, 2]
    assert first[2] != 1
    assert one[1] == 1.0
    assert (second.tolist(), other.shape) == ([1], (1,))


def test_rows_without_a_word_seen_have_no_tags() -> None:
    none = np.array([], dtype=int)
    ((tags, scores),) = best_tags(
        np.zeros((1, 9, 3), dtype=np.float32), [none], 0, torch.ones(5, 3, dtype=torch.bool)
    )
    assert (len(tags), len(scores)) == (0, 0)
