"""Scores of every sub-word of the vocabulary, at the places of hidden sub-words only."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import StockHead

_CLOSE = 1e-4  # between logits that were computed at other places together, of about 1


def at_words(states: EncoderStates, most: int | None = None) -> Tensor:
    """The hidden states of the sub-words that belong to a word, in their order.

    Args:
        states: With ``words``, -1 wherever nothing is asked; or without: then of all sub-words.
        most: The most such sub-words in a row, where it is known.

    Returns:
        (rows, most, hidden); where a row has fewer, others follow.
    """
    if states.words is None:
        return states.hidden_states
    asked = states.words >= 0  # (rows, seq_len)
    if most is None:
        most = int(asked.sum(dim=1).max())
    places = (~asked).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
    index = places.unsqueeze(-1).expand(-1, -1, states.hidden_states.shape[2])
    return states.hidden_states.gather(1, index)  # (rows, most, hidden)


class MaskedLanguageHead(StockHead):
    """The ``AutoModelForMaskedLM`` head of an encoder's architecture, without the encoder.

    The product with the encoder's input embeddings, its last step, uses those of the encoder
    itself: they come with the states and are no weights of the head, so they are one parameter,
    saved once.

    Args:
        encoder_config: Configuration of the shared encoder.
    Shape: returns logits (rows, most, vocabulary) of the sub-words that `at_words` takes.

    Raises:
        ValueError: If transformers has no such head for the architecture, or it keeps its encoder
            where it cannot be taken out.
    """

    def __init__(self, encoder_config: PreTrainedConfig) -> None:
        super().__init__("AutoModelForMaskedLM", encoder_config, ())

    def untie(self, stock: PreTrainedModel) -> dict[str, str]:
        """Leave the product with the embeddings to the head, where the two are one weight."""
        self.product: str | None = None
        # The declaration counts: while a saved model is being loaded nothing is tied yet.
        ties: dict[str, str] = stock.get_expanded_tied_weights_keys()
        output, embeddings = stock.get_output_embeddings(), stock.get_input_embeddings()
        names = {module: name for name, module in stock.named_modules()}
        if output is None or ties.get(f"{names[output]}.weight") != f"{names[embeddings]}.weight":
            return {}
        self.product = names[output]
        bias = f"{self.product}.bias"
        self.bias_name: str | None = None if output.bias is None else ties.get(bias, bias)
        stock.set_submodule(self.product, _Omitted(None if bias in ties else output.bias))
        stock._tied_weights_keys = {}  # else transformers would look for the encoder in the head
        return ties

    def forward(self, states: EncoderStates, most: int | None = None) -> Tensor:
        """Logits (rows, most, vocabulary)."""
        hidden = at_words(states, most)
        found: Tensor = self.stock(
            inputs_embeds=hidden, attention_mask=hidden.new_ones(hidden.shape[:2])
        ).logits
        if self.product is None:
            return found
        if states.embeddings is None:
            raise ValueError("a head that is tied to the encoder's embeddings needs them")
        return F.linear(found, states.embeddings, self._bias)

    @property
    def _bias(self) -> Tensor | None:
        return None if self.bias_name is None else self.stock.get_parameter(self.bias_name)

    def logits_of_stock(self, encoder: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """What the stock model with that encoder gives."""
        if self.product is None:
            return super().logits_of_stock(encoder, batch)
        omitted = self.stock.get_submodule(self.product)
        embeddings = encoder.get_input_embeddings().weight
        product = nn.Linear(1, 1, device="meta")
        product.weight = embeddings  # type: ignore[assignment]
        product.register_parameter("bias", self._bias)  # type: ignore[arg-type]
        self.stock.set_submodule(self.product, product)
        try:
            return super().logits_of_stock(encoder, batch)
        finally:
            self.stock.set_submodule(self.product, omitted)

    def fits(self, states: EncoderStates, lifted: Tensor, whole: Tensor) -> bool:
        """Whether it computes the stock model's logits, also where only some are asked for."""
        if not super().fits(states, lifted, whole):
            return False
        words = torch.full(states.attention_mask.shape, -1, device=whole.device)
        words[:, 1::2] = 0
        some = self(replace(states, words=words))
        return some.shape == whole[:, 1::2].shape and torch.allclose(
            some.float(), whole[:, 1::2].float(), atol=_CLOSE, rtol=_CLOSE
        )


class VocabularyHead(nn.Module):
    """A sub-word's vector, transformed as in BERT and scored by weights of its own.

    For encoders whose stock head cannot be lifted.

    Args:
        hidden: Width of the encoder's last layer, in features.
        size: Sub-words in the vocabulary.
    Shape: returns logits (rows, most, size) of the sub-words that `at_words` takes.
    """

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.score = nn.Linear(hidden, size)

    def forward(self, states: EncoderStates, most: int | None = None) -> Tensor:
        """Logits (rows, most, size)."""
        logits: Tensor = self.score(self.transform(at_words(states, most)))
        return logits


class _Omitted(nn.Linear):
    """Stands where a stock head multiplies by the embeddings, and gives what is to be multiplied.

    It is of that kind, so that every architecture knows how to start its bias.

    Args:
        bias: The product's bias, where it is no other weight of the head.
    """

    def __init__(self, bias: nn.Parameter | None) -> None:
        super().__init__(1, 1, bias=False, device="meta")
        self.register_parameter("bias", bias)
        del self.weight  # no weight of the head, but something that can be started
        self.weight = torch.empty(0)

    def forward(self, input: Tensor) -> Tensor:
        """The features themselves."""
        return input
