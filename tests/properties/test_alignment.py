"""Invariant 8: characters, words and sub-words agree, for any text and family of tokenizer."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.words import Row, Words, first_subwords, join_words, split_words
from tests.tiny import tiny_tokenizer

SENTENCES = [
    "The film was a delight from its first frame to its last, wasn't it?",
    "Größe, naïve, coöperate: l'été à Zürich coûte 12,50 €.",
    "東京で会いましょう。我喜欢这本书！",
    "مرحبا بالعالم، שלום עולם",
    "I ❤️ this 😀👍🏽 #NLP @anna_lee ... state-of-the-art  e\u0301",
]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def _special_ends(tokenizer: Tokenizer) -> processors.PostProcessor:
    ids = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    return processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=ids
    )


def _byte_level(*, trim_offsets: bool, add_prefix_space: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=trim_offsets, add_prefix_space=add_prefix_space),
            _special_ends(tokenizer),
        ]
    )
    return _wrapped(tokenizer)


def _unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = _special_ends(tokenizer)
    return _wrapped(tokenizer)


def _byte_fallback() -> PreTrainedTokenizerFast:
    """BPE over a string whose blanks became ``▁``, unseen characters as bytes (Llama's kind)."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*SPECIAL, *byte_names], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = _special_ends(tokenizer)
    return _wrapped(tokenizer)


TOKENIZERS = {
    "wordpiece": tiny_tokenizer(),
    **{
        f"byte-level trim={trim} prefix={prefix}": _byte_level(
            trim_offsets=trim, add_prefix_space=prefix
        )
        for trim, prefix in product([True, False], repeat=2)
    },
    "unigram": _unigram(),
    "byte-fallback": _byte_fallback(),
}
families = pytest.mark.parametrize("family", TOKENIZERS)

# Hypothesis seldom finds what matters here among all of Unicode: it gets a handful to mix in.
TRICKY = [
    "\u00a0",
    "\u200d",
    "\u0301",
    "👩‍👧",
    "👍🏽",
    "ﬁ",
    "㎏",
    "ẞ",
    "İ",
    "…",
    "\t",
    "\r\n",
    "\x00",
]
TRICKY += [
    "\x1c",
    "\u2028",
    "ا",
    "\u064b",
    "ש",
    "\u202e",
    "한",
    "\u1112",
    "中",
    "ท",
    "\u0e33",
    " ",
    "  ",
]
CHARACTER = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(TRICKY),
    st.sampled_from("aeInst.,'-@#_12 "),
)
TEXT = st.lists(CHARACTER, max_size=30).map("".join)
TOKENS = st.lists(TEXT, min_size=1, max_size=8)
brief = settings(max_examples=60, deadline=None)


def _encode(family: str, rows: Sequence[Row], max_length: int = 512) -> list[np.ndarray]:
    encoded = RowEncoder(TOKENIZERS[family], max_length).encode(rows)
    return [row.token_words for row in encoded.encodings()]


def _seen_starts(family: str, words: Words) -> list[int | None]:
    """The first visible character of each sub-word, told without any of the code under test."""
    encoding = TOKENIZERS[family](words.text, return_offsets_mapping=True, truncation=True)
    starts: list[int | None] = []
    for (start, end), segment in zip(
        encoding["offset_mapping"], encoding.sequence_ids(0), strict=True
    ):
        visible = [i for i in range(start, end) if not words.text[i].isspace()]
        starts.append(visible[0] if visible and segment is not None else None)
    return starts


def _check(family: str, words: Words) -> None:
    found = _encode(family, [Row(words)])[0]
    starts = _seen_starts(family, words)
    assert len(found) == len(starts)
    for word, start in zip(found, starts, strict=True):
        holding = [
            i for i, (a, b) in enumerate(zip(words.starts, words.ends, strict=True))
            if start is not None and a <= start < b
        ]  # fmt: skip
        assert [word] == (holding or [-1])
    real = found[found >= 0]
    assert (np.diff(real) >= 0).all(), "sub-words follow the order of the words"
    assert first_subwords(found).sum() == len(set(real.tolist())), (
        "each word has one first sub-word"
    )


@families
@brief
@given(text=TEXT)
def test_raw_text(family: str, text: str) -> None:
    _check(family, split_words(text))


@families
@brief
@given(tokens=TOKENS, join=st.sampled_from([" ", " ", ""]))
def test_joined_tokens(family: str, tokens: list[str], join: str) -> None:
    _check(family, join_words(tokens, join))


@families
@brief
@given(tokens=TOKENS)
def test_a_given_word_with_a_letter_or_digit_is_always_seen(family: str, tokens: list[str]) -> None:
    seen = set(_encode(family, [Row(join_words(tokens))])[0].tolist())
    for number, token in enumerate(tokens):
        if token.isascii() and token.isalnum():
            assert number in seen


@families
@brief
@given(text=TEXT, pair=TEXT)
def test_a_pair_is_its_two_texts_numbered_on(family: str, text: str, pair: str) -> None:
    first, second = split_words(text), split_words(pair)
    both = _encode(family, [Row(first, second)])[0]
    alone, other = _encode(family, [Row(first), Row(second)])
    assert both[both >= 0].tolist() == [
        *alone[alone >= 0],
        *(other[other >= 0] + len(first)),
    ]


@families
@brief
@given(text=TEXT, max_length=st.integers(3, 12))
def test_truncation_keeps_the_beginning(family: str, text: str, max_length: int) -> None:
    row = Row(split_words(text))
    whole, cut = _encode(family, [row])[0], _encode(family, [row], max_length)[0]
    assert len(cut) == min(len(whole), max_length)
    assert cut[:-1].tolist() == whole[: len(cut) - 1].tolist()


@families
@brief
@given(rows=st.lists(TEXT, min_size=1, max_size=4))
def test_a_row_is_aligned_alike_in_any_company(family: str, rows: list[str]) -> None:
    together = _encode(family, [Row(split_words(text)) for text in rows])
    for text, words in zip(rows, together, strict=True):
        assert words.tolist() == _encode(family, [Row(split_words(text))])[0].tolist()
