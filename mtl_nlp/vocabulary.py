"""The sub-words of an encoder, for task types that speak of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from transformers import PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError


@dataclass(frozen=True)
class Vocabulary:
    """What a task may ask of a tokenizer.

    Attributes:
        tokenizer: The encoder's.
    """

    tokenizer: PreTrainedTokenizerBase

    def ids(self, text: str) -> list[int]:
        """The sub-words of a text, without special tokens."""
        found = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return list(found)  # not verbose: it warns of texts that no encoder reads whole

    def text(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of sub-words, special tokens left out unless they are wanted."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=not special))

    @property
    def mask(self) -> str:
        """How a hidden sub-word is written.

        Raises:
            ModelError: If the tokenizer has none.
        """
        if self.tokenizer.mask_token is None:
            raise ModelError(
                "the encoder's tokenizer has no mask token, so words cannot be hidden from it; use"
                " an encoder that was pretrained by masked language modelling"
            )
        return str(self.tokenizer.mask_token)

    @cached_property
    def mask_id(self) -> int:
        """The sub-word that stands for a hidden one.

        Raises:
            ModelError: If the tokenizer has none.
        """
        number = self.tokenizer.convert_tokens_to_ids(self.mask)
        assert isinstance(number, int)
        return number

    @cached_property
    def ordinary(self) -> np.ndarray:
        """The sub-words that are not special, rising, (n,)."""
        known = np.array(sorted(set(self.tokenizer.get_vocab().values())), dtype=np.int64)
        return known[~np.isin(known, self.tokenizer.all_special_ids)]
