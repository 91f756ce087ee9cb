"""Encoder rows in drawn views: some sub-words replaced, the others as they are kept."""

from dataclasses import replace
from zlib import crc32

import numpy as np

from mtl_nlp.data.encoder_rows import ORIGINALS, EncoderRows
from mtl_nlp.data.encoding import EncodedRows
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.masking import draw_key
from mtl_nlp.tasks.views import DrawnView, Read, View
from mtl_nlp.vocabulary import Vocabulary

_FIXED = draw_key(0xE7A1, 0)  # of evaluation, so that scores of all models are of the same words


def drawn(
    rows: EncoderRows, view: DrawnView, key: int, places: np.ndarray, vocabulary: Vocabulary
) -> EncoderRows:
    """Rows as they are read in training.

    The key is that of `DrawnView.draw`, and so are the places, but of dataset rows, (n,).
    """
    ids, words = rows.columns["input_ids"], rows.columns["words"]
    return _replaced(rows, view.draw(ids, words, key, np.repeat(places, rows.counts), vocabulary))


def row_places(dataset: str, rows: np.ndarray) -> np.ndarray:
    """A number for each of these rows of a dataset, which hardly any other row has, (n,)."""
    return rows.astype(np.uint64) + np.uint64(crc32(dataset.encode()) << 32)


def drawn_for_evaluation(encoded: EncodedRows, view: View) -> EncodedRows:
    """Rows as they are read in evaluation, of each text the same ones whenever it is evaluated."""
    if not isinstance(view, DrawnView):
        return encoded
    nowhere = np.zeros(len(encoded.rows), dtype=np.uint64)
    rows = drawn(encoded.encoder_rows, view, _FIXED, nowhere, encoded.vocabulary)
    return replace(encoded, encoder_rows=rows)


def shown(encoded: EncodedRows, view: View) -> EncodedRows:
    """Rows as they are read for a user."""
    if not isinstance(view, DrawnView):
        return encoded
    columns = encoded.encoder_rows.columns
    read = view.show(columns["input_ids"], columns["words"], encoded.vocabulary)
    return replace(encoded, encoder_rows=_replaced(encoded.encoder_rows, read))


def asked_for(rows: EncoderRows) -> Ragged:
    """What drawn rows are asked for: the sub-words as they stood there before, (n, …)."""
    words = rows.token_words()
    asked = words.values >= 0
    row = np.repeat(np.arange(len(words)), words.lengths)
    lengths = np.bincount(row[asked], minlength=len(words))
    return Ragged(rows.lined_up(ORIGINALS).values[asked], lengths)


def without_originals(rows: EncoderRows) -> EncoderRows:
    """The same rows as a model is given them."""
    columns = {name: column for name, column in rows.columns.items() if name != ORIGINALS}
    return replace(rows, columns=columns)


def _replaced(rows: EncoderRows, read: Read) -> EncoderRows:
    originals = rows.columns["input_ids"]
    columns = {**rows.columns, "input_ids": read.input_ids, "words": read.words}
    return EncoderRows({**columns, ORIGINALS: originals}, rows.windows)
