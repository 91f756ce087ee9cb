"""Rows with labelled spans, and what a head that finds spans reads of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from mtl_nlp import MultiTaskModel
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import probe
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.loading import load_model
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.words import Row, join_words
from tests.tiny import tiny_config

WORDS_OF_ROWS = st.lists(
    st.lists(st.integers(-1, 4), min_size=1, max_size=6), min_size=1, max_size=3
)
"""The word of each sub-word of a few rows."""


def mark(start: Any, end: Any, label: Any = "org") -> dict[str, Any]:
    """A span as a row gives it."""
    return {"start": start, "end": end, "label": label}


def letters(tokens: str) -> Row:
    """A row with a word for each letter."""
    return Row(join_words(list(tokens)))


def in_characters(row: dict[str, Any]) -> dict[str, Any]:
    """A row of words as a text, its spans counted in characters."""
    words, spans = join_words(row["tokens"]), row["spans"]
    counted = spans and [
        {
            **one,
            "start": int(words.starts[one["start"]]),
            "end": int(words.ends[one["end"] - 1]),
        }
        for one in spans
    ]
    rest = {column: value for column, value in row.items() if column != "tokens"}
    return {"text": words.text, **rest, "spans": counted}


@st.composite
def encodings(draw: st.DrawFn, most_words: int, most_pieces: int) -> Encoding:
    """Rows of words of some sub-words each, some cut off or lost, some with a pair."""
    pieces = draw(st.lists(st.integers(0, most_pieces), min_size=1, max_size=most_words))
    words = [-1, *np.repeat(np.arange(len(pieces)), pieces), -1]
    cut = draw(st.integers(2, len(words)))
    row = letters("abcdefg"[: len(pieces)])
    token_words = np.array([*words[: cut - 1], -1], dtype=np.int32)
    if draw(st.booleans()):
        behind = np.array([len(pieces), -1], dtype=np.int32)
        return Encoding(Row(row.words, join_words(["z"])), np.append(token_words, behind))
    return Encoding(row, token_words)


def states_of(rows: list[list[int]], spare: int = 0) -> EncoderStates:
    """States of rows, given by the word of each sub-word, padded with junk."""
    width = max(map(len, rows)) + spare
    words = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    hidden = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(1))
    for row, here in enumerate(rows):
        hidden[row, len(here) :] = 1e3
    return EncoderStates(hidden[: len(rows), :width], torch.ones_like(words), words)


@torch.no_grad()
def saved_and_loaded(folder: Path, task: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a head's logits, which must be the same bits after saving and loading."""
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config()))
    model.add_task("t", task)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    loaded = load_model(folder)
    batch = {**probe(model.encoder), "words": torch.arange(-1, 7).expand(2, -1)}
    logits = model(**batch).logits["t"]
    assert torch.equal(loaded(**batch).logits["t"], logits)
    assert loaded.tasks == model.tasks
    return tuple(logits.shape)
