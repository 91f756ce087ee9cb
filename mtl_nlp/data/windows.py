"""Which window of a long text has a word: the one where most context surrounds it."""

import numpy as np

from mtl_nlp.data.encoder_rows import ELSEWHERE


def own_words(
    words: np.ndarray, segments: np.ndarray, lengths: np.ndarray, windows: np.ndarray
) -> np.ndarray:
    """The words of sub-words, each in one window of its text alone.

    A word belongs to the window that holds most of its sub-words; among those to the one where the
    nearer of its two neighbours beyond the window's text is farthest (as the scorer of BERT does,
    Devlin et al., 2019, arXiv:1810.04805); among those to the first.

    Args:
        words: Word of each sub-word within its text, negative for none, (sub-words,).
        segments: 0 where the sub-word comes from the text, 1 from the pair, -1 for special tokens,
            (sub-words,).
        lengths: Sub-words of each encoder row, (rows,).
        windows: Encoder rows of each text, (texts,).

    Returns:
        The same words, `ELSEWHERE` in the other windows, (sub-words,).
    """
    row = np.repeat(np.arange(len(lengths)), lengths)
    text = np.repeat(np.arange(len(windows)), windows)[row]
    several = np.repeat(windows > 1, windows)[row]
    ours = np.flatnonzero(several & (words >= 0))
    if not len(ours):
        return words
    before, after = _context(row, segments)
    # Sub-words of one word in one window stand together, but for white space within it.
    new = np.ones(len(ours), dtype=bool)
    new[1:] = (row[ours[1:]] != row[ours[:-1]]) | (words[ours[1:]] != words[ours[:-1]])
    starts = np.flatnonzero(new)
    pieces = np.diff(np.append(starts, len(ours)))
    context = np.minimum(before[ours[starts]], after[ours[starts + pieces - 1]])
    here, word = row[ours[starts]], words[ours[starts]]
    order = np.lexsort((here, -context, -pieces, word, text[ours[starts]]))
    best = np.ones(len(order), dtype=bool)
    key = np.stack([text[ours[starts]], word])[:, order]
    best[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    owned = np.zeros(len(order), dtype=bool)
    owned[order[best]] = True
    result = words.copy()
    result[ours[~np.repeat(owned, pieces)]] = ELSEWHERE
    return result


def _context(row: np.ndarray, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many sub-words of its segment stand before and after each one in its row."""
    place = np.arange(len(row))
    change = np.ones(len(row), dtype=bool)
    change[1:] = (row[1:] != row[:-1]) | (segments[1:] != segments[:-1])
    starts = np.flatnonzero(change)
    ends = np.append(starts[1:], len(row)) - 1
    stretch = np.cumsum(change) - 1
    return place - starts[stretch], ends[stretch] - place
