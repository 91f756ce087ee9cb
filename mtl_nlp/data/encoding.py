"""Texts become rows of sub-words; every sub-word knows its word."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from mtl_nlp.data.encoder_rows import ORIGINALS, EncoderRows
from mtl_nlp.data.inputs import input_row
from mtl_nlp.data.windows import own_words
from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.ragged import Ragged
from mtl_nlp.recipe import LongText
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.views import PLAIN, View
from mtl_nlp.vocabulary import Vocabulary
from mtl_nlp.words import WORD_PATTERN, Row, Words, split_words, token_words

_TRUNCATION: dict[str, bool | str] = {
    "cut": True,
    "cut pair": True,
    "windows": True,
    "windows of first": "only_first",
    "windows of pair": "only_second",
}
"""What the tokenizer shortens, by the way that a text is read."""
_WAY = "<U16"  # NumPy type of such a way
_NO_LIMIT = 10**9
_BARE: dict[str, Any] = {
    "add_special_tokens": False,
    "return_attention_mask": False,
    "verbose": False,  # of texts that are longer than the encoder takes: windows are made of them
}


@dataclass(frozen=True)
class EncodedRows:
    """Dataset rows as the encoder reads them in one view.

    Attributes:
        rows: The strings.
        encoder_rows: Their sub-words.
        truncated: Whether a row was too long and lost a part, (n,).
        vocabulary: What the sub-words are.
    """

    rows: Sequence[Row]
    encoder_rows: EncoderRows
    truncated: np.ndarray
    vocabulary: Vocabulary

    @property
    def columns(self) -> Mapping[str, Ragged]:
        """What the encoder rows hold, by name."""
        return self.encoder_rows.columns

    @property
    def lengths(self) -> np.ndarray:
        """Sub-words of the longest encoder row of each row, (n,)."""
        return self.encoder_rows.longest

    def encodings(self) -> list[Encoding]:
        """Each row with the words of its sub-words."""
        words = self.encoder_rows.token_words().lists()
        if ORIGINALS not in self.encoder_rows.columns:
            return [Encoding(*one, self.vocabulary) for one in zip(self.rows, words, strict=True)]
        originals = self.encoder_rows.lined_up(ORIGINALS).lists()
        return [
            Encoding(row, numbers, self.vocabulary, ids)
            for row, numbers, ids in zip(self.rows, words, originals, strict=True)
        ]

    def take(self, rows: np.ndarray) -> "EncodedRows":
        """These rows."""
        return replace(
            self,
            rows=[self.rows[i] for i in rows],
            encoder_rows=self.encoder_rows.take(rows),
            truncated=self.truncated[rows],
        )


@dataclass(frozen=True)
class RowEncoder:
    """Makes rows of records, and sub-words of rows.

    Attributes:
        tokenizer: The encoder's, of the fast kind.
        max_length: Sub-words of one encoder row.
        word_pattern: Words of raw text.
        join: What stands between words that come as a list.
        long_text: What becomes of a text that is longer: ``cut`` loses its end, ``windows`` makes
            several encoder rows of it.
        stride: Sub-words that a window shares with the one before it.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int = 128
    word_pattern: str = WORD_PATTERN
    join: str = " "
    long_text: LongText = "cut"
    stride: int = 32

    def __post_init__(self) -> None:
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer {type(self.tokenizer).__name__} gives no character offsets;"
                " use an encoder with a tokenizer.json"
            )
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        if self.long_text == "windows" and self.stride >= room:
            if room < 1:
                raise RecipeError(
                    f"max_length: a window of {self.max_length} sub-words has no room for text"
                    f" beside the {self.max_length - room} special ones of a pair; use more"
                )
            raise RecipeError(
                f"stride: {self.stride} sub-words of overlap leave no room for new ones in a window"
                f" of max_length {self.max_length}; use at most {room - 1}"
            )

    def row(self, record: Mapping[str, Any]) -> Row:
        """The row of a record with ``text``, perhaps ``text_pair`` or ``choices``, or ``tokens``.

        Where it has ``spans``, which count words of ``tokens`` or characters of ``text``, the row
        has them too.

        Raises:
            ValueError: If a value is missing, empty or of another kind.
        """
        return input_row(record, self._words, self.join)

    def encode(self, rows: Sequence[Row], view: View = PLAIN) -> EncodedRows:
        """Sub-words of rows, seen in one way."""
        by_row = [view.texts(row) for row in rows]
        texts = list(chain.from_iterable(by_row))
        numbers = np.array([len(one) for one in by_row], dtype=np.int64)
        parts, found = [], []
        for way, ours in self._ways(texts):
            part, cut = self._encode([texts[i] for i in ours], way)
            parts.append(part)
            found.append((ours, cut))
        vocabulary = Vocabulary(self.tokenizer)
        if not parts:
            empty = Ragged.from_lists([])
            return EncodedRows(
                rows, EncoderRows(self._columns({}, empty), empty), np.zeros(0, bool), vocabulary
            )
        back = np.argsort(np.concatenate([ours for ours, _ in found]))
        together = EncoderRows.concatenate(parts).take(back)  # one text is one dataset row here
        truncated = np.concatenate([cut for _, cut in found])[back]
        of_rows = np.repeat(np.arange(len(rows)), numbers)
        return EncodedRows(
            rows,
            EncoderRows(together.columns, Ragged(together.windows.values, numbers)),
            np.bincount(of_rows[truncated], minlength=len(rows)) > 0,
            vocabulary,
        )

    def full_lengths(self, rows: Sequence[Row], view: View = PLAIN) -> np.ndarray:
        """Sub-words that the longest text of each row has when nothing is cut, (n,)."""
        whole = replace(self, max_length=_NO_LIMIT, long_text="cut")
        return whole.encode(rows, view).lengths

    def _words(self, text: str) -> Words:
        return split_words(text, self.word_pattern)

    def _ways(self, texts: Sequence[Row]) -> Iterator[tuple[str, np.ndarray]]:
        """Texts that the tokenizer takes in one call, (n,) numbers, and how."""
        pairs = np.array([text.pair is not None for text in texts], dtype=bool)
        if self.long_text == "cut":
            ways = np.where(pairs, "cut pair", "cut")
        else:
            ways = np.full(len(texts), "windows", dtype=_WAY)
            ways[pairs] = self._ways_of_pairs([text for text in texts if text.pair is not None])
        for way in dict.fromkeys(ways.tolist()):
            yield way, np.flatnonzero(ways == way)

    def _ways_of_pairs(self, pairs: Sequence[Row]) -> np.ndarray:
        """The longer text of a pair slides past the other, unless that leaves it no room."""
        if not pairs:
            return np.zeros(0, dtype=_WAY)
        first, second = (
            np.array([len(ids) for ids in self.tokenizer(one, **_BARE)["input_ids"]])
            for one in (
                [pair.words.text for pair in pairs],
                [pair.pair.text for pair in pairs if pair.pair is not None],
            )
        )
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        fits = np.minimum(first, second) + self.stride < room
        longer = np.where(first > second, "windows of first", "windows of pair")
        return np.where(fits, longer, "cut pair")

    def _encode(self, texts: Sequence[Row], way: str) -> tuple[EncoderRows, np.ndarray]:
        """Encoder rows of texts of one kind, and which of these were cut."""
        slides = way.startswith("windows")
        paired = way not in ("cut", "windows")
        encoded = self.tokenizer(
            [text.words.text for text in texts],
            [text.pair.text for text in texts if text.pair is not None] if paired else None,
            truncation=_TRUNCATION[way],
            max_length=self.max_length,
            stride=self.stride if slides else 0,
            return_overflowing_tokens=slides,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        lengths = np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
        flat = chain.from_iterable(chain.from_iterable(encoded["offset_mapping"]))
        offsets = np.fromiter(flat, dtype=np.int64, count=2 * lengths.sum()).reshape(-1, 2)
        if paired or slides:
            parts = chain.from_iterable(map(encoded.sequence_ids, range(len(lengths))))
            segments = np.array([-1 if part is None else part for part in parts])
        else:  # special tokens need no telling apart: they have no characters
            segments = np.zeros(lengths.sum(), dtype=np.int64)
        sources = np.array(encoded["overflow_to_sample_mapping"]) if slides else None
        windows = (
            np.ones(len(texts), dtype=np.int64)
            if sources is None
            else np.bincount(sources, minlength=len(texts))
        )
        strings = texts if sources is None else [texts[i] for i in sources]
        words = token_words(offsets, segments, lengths, strings)
        if slides:
            words = own_words(words, segments, lengths, windows)
            truncated = np.zeros(len(texts), dtype=bool)
        else:
            truncated = np.array([bool(one.overflowing) for one in encoded.encodings or ()])
        columns = self._columns(encoded, Ragged(words, lengths))
        return EncoderRows(columns, Ragged(windows, np.ones(len(texts), np.int64))), truncated

    @cached_property
    def fingerprint(self) -> str:
        """The same for encoders that make the same of every row, also in other processes."""
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        backend["truncation"] = backend["padding"] = None  # left there by the last call
        settings = [self.tokenizer.truncation_side, *self.tokenizer.model_input_names]
        content = [backend, settings, self.max_length, self.word_pattern, self.join]
        content += [self.long_text, self.stride]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _columns(self, encoded: Mapping[str, Any], words: Ragged) -> dict[str, Ragged]:
        columns = {"words": words}
        for name in ("input_ids", "token_type_ids"):
            if name in self.tokenizer.model_input_names:
                columns[name] = Ragged.from_lists(encoded.get(name, []))
        return columns
