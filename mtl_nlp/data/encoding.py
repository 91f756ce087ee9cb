"""Texts become rows of sub-words; every sub-word knows its word."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError
from mtl_nlp.ragged import Ragged
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.words import WORD_PATTERN, Row, join_words, split_words, token_words


@dataclass(frozen=True)
class EncodedRows:
    """Rows as the encoder reads them.

    Attributes:
        rows: The strings.
        columns: ``input_ids``, ``words`` and, where the encoder has them, ``token_type_ids``.
        truncated: Whether a row was too long and lost its end, (n,).
    """

    rows: Sequence[Row]
    columns: Mapping[str, Ragged]
    truncated: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Sub-words of each row, (n,)."""
        return self.columns["input_ids"].lengths

    def encodings(self) -> list[Encoding]:
        """Each row with the words of its sub-words."""
        lists = self.columns["words"].lists()
        return [Encoding(row, words) for row, words in zip(self.rows, lists, strict=True)]


@dataclass(frozen=True)
class RowEncoder:
    """Makes rows of records, and sub-words of rows.

    Attributes:
        tokenizer: The encoder's, of the fast kind.
        max_length: Sub-words of one encoder row; what lies beyond is cut.
        word_pattern: Words of raw text.
        join: What stands between words that come as a list.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int = 128
    word_pattern: str = WORD_PATTERN
    join: str = " "

    def __post_init__(self) -> None:
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer {type(self.tokenizer).__name__} gives no character offsets;"
                " use an encoder with a tokenizer.json"
            )

    def row(self, record: Mapping[str, Any]) -> Row:
        """The row of a record with ``text``, perhaps ``text_pair``, or ``tokens``.

        Raises:
            ValueError: If a value is missing, empty or of another kind.
        """
        if record.get("tokens") is not None:
            return Row(join_words(_checked_tokens(record["tokens"]), self.join))
        if "tokens" in record:
            raise ValueError("column tokens: expected a list of words, found null")
        words = split_words(_checked_text(record, "text"), self.word_pattern)
        if "text_pair" not in record:
            return Row(words)
        return Row(words, split_words(_checked_text(record, "text_pair"), self.word_pattern))

    def encode(self, rows: Sequence[Row]) -> EncodedRows:
        """Sub-words of rows, cut at `max_length`."""
        texts = [row.words.text for row in rows]
        pairs = [row.pair.text for row in rows if row.pair is not None]
        if pairs and len(pairs) < len(rows):
            raise ValueError("either all rows are pairs of texts or none is")
        if not rows:
            return EncodedRows(
                rows, self._columns({}, Ragged.from_lists([])), np.zeros(0, dtype=bool)
            )
        encoded = self.tokenizer(
            texts,
            pairs or None,
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        lengths = np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
        flat = chain.from_iterable(chain.from_iterable(encoded["offset_mapping"]))
        offsets = np.fromiter(flat, dtype=np.int64, count=2 * lengths.sum()).reshape(-1, 2)
        if pairs:
            parts = chain.from_iterable(encoded.sequence_ids(i) for i in range(len(rows)))
            segments = np.array([-1 if part is None else part for part in parts])
        else:  # special tokens need no telling apart: they have no characters
            segments = np.zeros(lengths.sum(), dtype=np.int64)
        words = Ragged(token_words(offsets, segments, lengths, rows), lengths)
        truncated = np.array([bool(one.overflowing) for one in encoded.encodings or ()])
        return EncodedRows(rows, self._columns(encoded, words), truncated)

    def full_lengths(self, rows: Sequence[Row]) -> np.ndarray:
        """Sub-words that rows have when nothing is cut, (n,)."""
        encoded = self.tokenizer(
            [row.words.text for row in rows],
            [row.pair.text for row in rows if row.pair is not None] or None,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )
        return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """The same for encoders that make the same of every row, also in other processes."""
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        backend["truncation"] = backend["padding"] = None  # left there by the last call
        settings = [self.tokenizer.truncation_side, *self.tokenizer.model_input_names]
        content = [backend, settings, self.max_length, self.word_pattern, self.join]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _columns(self, encoded: Mapping[str, Any], words: Ragged) -> dict[str, Ragged]:
        columns = {"words": words}
        for name in ("input_ids", "token_type_ids"):
            if name in self.tokenizer.model_input_names:
                columns[name] = Ragged.from_lists(encoded.get(name, []))
        return columns


def input_record(record: Mapping[str, Any], spec: DatasetSpec) -> dict[str, Any]:
    """A dataset's record with its input columns under our names."""
    names = {"text": spec.text, "text_pair": spec.text_pair, "tokens": spec.tokens}
    return {ours: record[theirs] for ours, theirs in names.items() if theirs is not None}


def _checked_text(record: Mapping[str, Any], column: str) -> str:
    value = record.get(column)
    if not isinstance(value, str):
        raise ValueError(f"column {column}: expected text, found {value!r}")
    if not value.strip():
        raise ValueError(f"column {column}: expected text, found an empty one")
    return value


def _checked_tokens(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise ValueError(f"column tokens: expected a list of words, found {value!r:.80}")
    if not any(token.strip() for token in value):
        raise ValueError("column tokens: expected words, found none")
    return value
