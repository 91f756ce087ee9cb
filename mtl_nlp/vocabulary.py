"""The sub-words of an encoder, for task types that speak of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Vocabulary:
    """What a task may ask of a tokenizer.

    Attributes:
        tokenizer: The encoder's.
    """

    tokenizer: PreTrainedTokenizerBase

    def ids(self, text: str) -> list[int]:
        """The sub-words of a text, without special tokens."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def text(self, ids: Sequence[int]) -> str:
        """The text of sub-words, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
