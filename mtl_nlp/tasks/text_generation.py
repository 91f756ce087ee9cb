"""A text for each text: translations, summaries, answers; by the checkpoint's own decoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.decoder import AUTO_CLASS, GenerationHead, Writing, has_decoder
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.views import PLAIN, View
from mtl_nlp.words import Row, Words


@dataclass(frozen=True)
class Prefixed(View):
    """A row with a prefix before its text.

    Attributes:
        prefix: With the space at its end, if there is to be one.
    """

    prefix: str

    def texts(self, row: Row) -> Sequence[Row]:
        """The row with the prefix, which is none of its words."""
        words, shift = row.words, len(self.prefix)
        text = Words(self.prefix + words.text, words.starts + shift, words.ends + shift)
        return (replace(row, words=text),)


@dataclass(frozen=True, kw_only=True)
class TextGeneration(Task):
    """A text per text, written by the decoder that all such tasks of a model share.

    Attributes:
        first_token: The sub-word of ``target_language``, once the task is a model's.
    """

    type: ClassVar[str] = "text_generation"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("target",),)
    column_meanings: ClassVar[Mapping[str, str]] = {"target": "the text to write"}
    auto_class: ClassVar[str | None] = AUTO_CLASS
    per_token: ClassVar[bool] = True  # the decoder reads all windows of a long text as one

    prefix: str = option(
        "", "put before every text, as T5 wants; tells the model's generation tasks apart"
    )
    target_language: str | None = option(
        None, "sub-word that every target begins with, as mBART-50's de_DE; null: none"
    )
    max_new_tokens: Annotated[int, Field(ge=2)] = option(
        128, "sub-words of the longest text; longer targets are cut"
    )
    num_beams: Annotated[int, Field(ge=1)] = option(1, "of beam search; 1 is greedy search")
    first_token: int | None = None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Likeness by characters first."""
        return ("chrf", "bleu")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """None: the logits stand for sub-words."""
        return ()

    @property
    def view(self) -> View:
        """With the prefix."""
        return Prefixed(self.prefix) if self.prefix else PLAIN

    @property
    def writing(self) -> Writing:
        """How it generates."""
        return Writing(self.max_new_tokens, self.num_beams, self.first_token)

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """None: such a checkpoint is an encoder with its decoder already."""
        del name
        raise ValueError(
            f"{', '.join(config.architectures or ())} is taken in with its decoder where it is"
            f" named as `encoder:` of a recipe with a {cls.type} task"
        )

    def language_token(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """The sub-word of the target language.

        Raises:
            RecipeError: If the tokenizer has none of that name, or no end of a text.
        """
        found = tokenizer.convert_tokens_to_ids(str(self.target_language))
        if found in (None, tokenizer.unk_token_id) or tokenizer.eos_token_id is None:
            raise RecipeError(
                f"tasks.{self.name}.target_language: expected a sub-word of the encoder's"
                f" tokenizer, such as de_DE of mBART-50, found {self.target_language!r}; for"
                " checkpoints without languages there is `prefix`"
            )
        assert isinstance(found, int)
        return found

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task as it is.

        Raises:
            ModelError: If sacrebleu is not installed.
        """
        del rows
        _sacrebleu(self.name)
        if self.labels:
            raise ValueError("labels: a text has no label names; leave them out")
        if class_names:
            raise ValueError(
                f"expected texts, found the classes {', '.join(class_names)}; for these there is"
                " text_classification"
            )
        return self

    def read(self, fields: Fields, row: Row) -> str | None:
        """The text."""
        del row
        target = fields["target"]
        if target is None:
            return None
        if not isinstance(target, str):
            raise ValueError(f"expected text, found {target!r:.80}; null marks a missing one")
        if not target.strip():
            raise ValueError("expected text, found an empty one; null marks a missing one")
        return target

    def encode(self, value: str, encoding: Encoding) -> list[int]:
        """Its sub-words with the end, cut at ``max_new_tokens`` before that."""
        assert encoding.vocabulary is not None
        tokenizer = encoding.vocabulary.tokenizer
        if self.target_language is not None:
            first, end = self.language_token(tokenizer), int(tokenizer.eos_token_id)
            return [first, *encoding.vocabulary.ids(value)[: self.max_new_tokens - 2], end]
        labels: list[int] = tokenizer(
            text_target=value, truncation=True, max_length=self.max_new_tokens
        )["input_ids"]
        return labels

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Sub-words (rows, target_len), -100 behind the end."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.pad(int(labels.lengths.max(initial=0)), -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """What stands for the shared decoder.

        Raises:
            ModelError: If the encoder's checkpoint has no decoder.
        """
        if not has_decoder(encoder_config):
            raise ModelError(
                f"task {self.name!r}: expected the checkpoint of an encoder with a decoder, found"
                f" {encoder_config.model_type}, which has none; name one as `encoder:`, such as"
                " google-t5/t5-small or facebook/bart-base"
            )
        return GenerationHead()

    def run(self, head: nn.Module, states: EncoderStates, labels: Tensor | None) -> Tensor:
        """Logits of the labels' sub-words, each from those before it; in prediction a text's.

        Shape: (rows, target_len, vocabulary); in prediction sub-words (rows, target_len), -100
            behind the end.
        """
        assert isinstance(head, GenerationHead)
        if labels is None:
            return head.decoder.generate(states, self.writing)
        logits: Tensor = head.decoder(states, labels)
        return logits

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over the vocabulary, summed over the targets' sub-words."""
        return softmax_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over the targets' sub-words with their ends.

        Shape: logits (rows, target_len, vocabulary), labels (rows, target_len), -100 = no sub-word.
        """
        total = F.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum"
        )
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The text of each row's sub-words, (rows, target_len), -100 behind the end."""
        texts = []
        for ids, encoding in zip(logits.astype(np.int64), encodings, strict=True):
            assert encoding.vocabulary is not None
            texts.append(encoding.vocabulary.text(ids[ids >= 0].tolist()))
        return [Decoded(text, None) for text in texts]

    def present(self, decoded: Decoded, row: Row) -> dict[str, str]:
        """``{"generated_text"}``."""
        del row
        return {"generated_text": decoded.value}

    def metrics(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        """chrF2 (Popović, 2015) and BLEU (Papineni et al., 2002) of all texts, by sacreBLEU.

        With its own settings: chrF of 6 characters and no words, BLEU on ``13a`` tokens.

        Raises:
            ModelError: If sacrebleu is not installed.
        """
        sacrebleu = _sacrebleu(self.name)
        right = [list(references)]
        return {
            "chrf": sacrebleu.corpus_chrf(predictions, right).score / 100,
            "bleu": sacrebleu.corpus_bleu(predictions, right).score / 100,
        }

    def occurrences(self, value: str) -> Iterable[str]:
        """None: a text is no label."""
        del value
        return ()


def _sacrebleu(name: str) -> Any:
    try:
        return import_module("sacrebleu")
    except ImportError:
        raise ModelError(
            f"task {name!r}: the scores of text_generation need sacrebleu; install it with `pip"
            " install sacrebleu`"
        ) from None
