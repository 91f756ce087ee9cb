"""Words that are hidden in a text, guessed from the rest of it: what encoders are pretrained on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.masked_language import MaskedLanguageHead, VocabularyHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.masking import hide_words, only
from mtl_nlp.tasks.views import DrawnView, Read
from mtl_nlp.vocabulary import Vocabulary
from mtl_nlp.words import Row

_BEST = 5  # guesses for each hidden sub-word


@dataclass(frozen=True)
class MaskedView(DrawnView):
    """The text with some of its words hidden.

    Attributes:
        probability: Of each word.
    """

    probability: float

    def draw(
        self,
        input_ids: Ragged,
        words: Ragged,
        key: int,
        places: np.ndarray,
        vocabulary: Vocabulary,
    ) -> Read:
        """Whole words at random, at least one in a row that has any."""
        return hide_words(
            input_ids,
            words,
            key=key,
            places=places,
            probability=self.probability,
            mask_id=vocabulary.mask_id,
            ordinary=vocabulary.ordinary,
        )

    def show(self, input_ids: Ragged, words: Ragged, vocabulary: Vocabulary) -> Read:
        """The sub-words that the text itself hides."""
        return Read(input_ids, only(words, input_ids.values == vocabulary.mask_id))

    def lacks(self, row: Row, vocabulary: Vocabulary) -> str:
        """A hidden word."""
        return "" if vocabulary.mask in row.words.text else f"a text with {vocabulary.mask} in it"


@dataclass(frozen=True, kw_only=True)
class MaskedLanguageModeling(Task):
    """The sub-words of hidden words, by softmax over the vocabulary.

    Every row is labelled: what is right is what was hidden. A predicted value is the negative
    log-likelihood of that, in nats, and the number of sub-words it is the sum over.
    """

    type: ClassVar[str] = "masked_language_modeling"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = ((),)
    takes: ClassVar[tuple[tuple[str, ...], ...]] = (("text",), ("tokens",))
    auto_class: ClassVar[str | None] = "AutoModelForMaskedLM"
    per_token: ClassVar[bool] = True
    judged: ClassVar[bool] = False

    probability: Annotated[float, Field(gt=0, lt=1)] = option(
        0.15, "of each word to be hidden; at least one in a row is"
    )

    @property
    def view(self) -> MaskedView:
        """The text with words hidden."""
        return MaskedView(self.probability)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Perplexity."""
        return ("perplexity",)

    @property
    def logit_names(self) -> tuple[str, ...]:
        """None: there is a logit for each sub-word of the encoder's vocabulary."""
        return ()

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task; there is only one."""
        del config
        return cls(name=name)

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task as it is."""
        del rows, class_names
        if self.labels:
            raise ValueError("labels: what is hidden is what is right; leave them out")
        return self

    def read(self, fields: Fields, row: Row) -> bool:
        """That there is something to hide."""
        del fields, row
        return True

    def encode(self, value: bool, encoding: Encoding) -> int:
        """A mark: the label ids are drawn anew for each batch.

        Raises:
            ModelError: If the encoder's tokenizer has no mask token.
        """
        assert encoding.vocabulary is not None
        return int(value and encoding.vocabulary.mask_id >= 0)

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Ids of the hidden sub-words, (rows, most), -100 where a row has fewer."""
        del seq_len
        assert isinstance(labels, Ragged)
        return labels.pad(int(labels.lengths.max(initial=0)), -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """The architecture's own head, or one with weights of its own."""
        if self.stock:
            return MaskedLanguageHead(encoder_config)
        return VocabularyHead(encoder_config.hidden_size, encoder_config.vocab_size)

    def run(self, head: nn.Module, states: EncoderStates, labels: Tensor | None) -> Tensor:
        """The head's logits at the hidden sub-words, (rows, most, vocabulary)."""
        logits: Tensor = head(states, None if labels is None else labels.shape[1])
        return logits

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over the vocabulary, summed over hidden sub-words."""
        return softmax_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over hidden sub-words, with their number.

        Shape: logits (rows, most, vocabulary), labels (rows, most), -100 = nothing hidden.
        """
        total = F.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum"
        )
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """How likely what was hidden is, or the best guesses where nobody knows what it was.

        The scores are the guesses for each hidden sub-word of a text that came with them.
        """
        return [_decoded(*one) for one in zip(logits, encodings, strict=True)]

    def present(self, decoded: Decoded, row: Row) -> list[Any]:
        """Guesses ``{"score", "token", "token_str", "sequence"}``, the best first.

        As from the fill-mask pipeline: a list of them for a text that hides one sub-word, a list
        of such lists for one that hides several.
        """
        del row
        guesses: list[Any] = decoded.scores
        return guesses[0] if len(guesses) == 1 else guesses

    def metrics(
        self, predictions: Sequence[tuple[float, int]], references: Sequence[bool]
    ) -> dict[str, Any]:
        """Perplexity of the hidden sub-words, 0.0 without any."""
        del references
        total, count = (math.fsum(column) for column in zip(*predictions, strict=True))
        return {"perplexity": math.exp(min(total / count, 700.0)) if count else 0.0}

    def occurrences(self, value: bool) -> Iterable[str]:
        """No labels."""
        del value
        return ()


def _decoded(logits: np.ndarray, encoding: Encoding) -> Decoded:
    """What is predicted for one row from its logits, (most, vocabulary)."""
    vocabulary, ids = encoding.vocabulary, encoding.input_ids
    assert vocabulary is not None
    assert ids is not None
    places = np.flatnonzero(encoding.token_words >= 0)
    right = ids[places]
    chances = torch.from_numpy(logits[: len(places)]).log_softmax(dim=-1)  # (hidden, vocabulary)
    if (right == vocabulary.mask_id).all():
        return Decoded((0.0, 0), _guesses(chances.exp(), ids, places, vocabulary))
    likely = chances.numpy()[np.arange(len(places)), right].astype(np.float64)
    return Decoded((-math.fsum(likely), len(places)), [])


def _guesses(
    chances: Tensor, ids: np.ndarray, places: np.ndarray, vocabulary: Vocabulary
) -> list[list[dict[str, Any]]]:
    """The likeliest sub-words at each place, with the whole text that each makes."""
    scores, tokens = chances.topk(min(_BEST, chances.shape[1]))
    several = len(places) > 1  # the other hidden ones are then to be seen in the text
    guesses = []
    for place, row in zip(places, zip(scores.tolist(), tokens.tolist(), strict=True), strict=True):
        of_place: list[dict[str, Any]] = []
        for score, token in zip(*row, strict=True):
            filled = ids.copy()
            filled[place] = token
            of_place.append(
                {
                    "score": score,
                    "token": token,
                    "token_str": vocabulary.text([token], special=True),
                    "sequence": vocabulary.text(filled.tolist(), special=several),
                }
            )
        guesses.append(of_place)
    return guesses
