"""Words hidden at random, by a hash that counts instead of a generator that remembers.

What is drawn for a row is a function of a key (of seed and step), of the row's own sub-words and of
its place in its dataset, so it does not depend on the rows beside it, on how a step is cut, on
processes or on a resume.
"""

import numpy as np
from numpy.typing import NDArray

from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.views import NOT_ASKED, Read

_AS_MASK, _AS_RANDOM = 0.8, 0.1  # shares of the hidden sub-words; the rest stays as it is
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_UNIT = 2.0**-53

Hashes = NDArray[np.uint64]


def hide_words(
    input_ids: Ragged,
    words: Ragged,
    *,
    key: int,
    places: np.ndarray,
    probability: float,
    mask_id: int,
    ordinary: np.ndarray,
) -> Read:
    """Hide whole words of each row at random (Devlin et al., 2019, arXiv:1810.04805).

    Each word is hidden with the probability, at least one in a row that has any. Of the hidden
    sub-words four fifths are replaced by the mask, a tenth by any ordinary sub-word, and a tenth
    stays; that is drawn for each sub-word by itself.

    Args:
        input_ids: Sub-words, row after row.
        words: Word of each, negative for none.
        key: What the draw is a function of, beside each row's sub-words; see `draw_key`.
        places: And beside this number of each row, not negative, (rows,).
        probability: Of each word.
        mask_id: What stands in the place of a hidden sub-word.
        ordinary: The sub-words that are not special, rising; only these are hidden or drawn.
    """
    ids, row = input_ids.values, np.repeat(np.arange(len(input_ids)), input_ids.lengths)
    place = np.arange(len(ids)) - input_ids.starts[row]
    keys = (_row_keys(input_ids, place, key) ^ _mix(places.astype(np.uint64)))[row]
    able = (words.values >= 0) & np.isin(ids, ordinary)
    luck = np.where(able, _uniform(_hash(keys, 0, words.values)), np.inf)
    least = np.full(len(input_ids), np.inf)
    np.minimum.at(least, row, luck)
    hidden = able & ((luck < probability) | (luck == least[row]))
    fate = _uniform(_hash(keys, 1, place))
    drawn = ordinary[_hash(keys, 2, place) % np.uint64(len(ordinary))]
    read = np.where(fate < _AS_MASK, mask_id, np.where(fate < _AS_MASK + _AS_RANDOM, drawn, ids))
    return Read(Ragged(np.where(hidden, read, ids), input_ids.lengths), only(words, hidden))


def only(words: Ragged, asked: np.ndarray) -> Ragged:
    """The words where they are asked for, (sub-words,), as `Read` has them."""
    others = (words.values >= 0) & ~asked
    return Ragged(np.where(others, NOT_ASKED, words.values), words.lengths)


def draw_key(*numbers: int) -> int:
    """One number of several, such as seed and step, each below 2 ** 64 and not negative."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = _mix(key + _GOLDEN ^ np.array([number], dtype=np.uint64))
    return int(key[0])


def _row_keys(input_ids: Ragged, place: np.ndarray, key: int) -> Hashes:
    """A key of each row, from its sub-words and their places, (rows,)."""
    of_each = _mix(_mix(input_ids.values.astype(np.uint64)) + _GOLDEN * place.astype(np.uint64))
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(of_each)])
    ends = input_ids.starts + input_ids.lengths
    return _mix(total[ends] - total[input_ids.starts] ^ np.array([key], dtype=np.uint64))


def _hash(keys: Hashes, stream: int, counters: np.ndarray) -> Hashes:
    """Output ``counters`` of one of four streams of SplitMix64 with each key as its state."""
    number = 4 * counters.astype(np.uint64) + np.uint64(stream + 1)
    return _mix(keys + _GOLDEN * number)


def _mix(numbers: Hashes) -> Hashes:
    """SplitMix64's mixing of 64 bits (Steele, Lea & Flood, 2014, doi:10.1145/2660193.2660195)."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * _FACTORS[0]
    numbers = (numbers ^ numbers >> np.uint64(27)) * _FACTORS[1]
    return numbers ^ numbers >> np.uint64(31)


def _uniform(hashes: Hashes) -> NDArray[np.float64]:
    """Numbers in [0, 1) from 64 bits."""
    return (hashes >> np.uint64(11)).astype(np.float64) * _UNIT
