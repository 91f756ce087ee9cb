"""A score for each of several choices, by the architecture's own multiple choice head."""

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import StockHead


class ChoiceHead(StockHead):
    """The ``AutoModelForMultipleChoice`` head of an encoder's architecture, without the encoder.

    The stock model lays the choices of all its rows one after the other before it reads them, and
    the logits of each come from that choice alone. So every choice is given to it as a row that has
    no other, and any number of them goes together.

    Args:
        encoder_config: Configuration of the shared encoder; it is copied.
    Shape: returns logits (choices, 1), where states have a row for each choice.

    Raises:
        ValueError: If transformers has no such head for the architecture, or it keeps its encoder
            where it cannot be taken out.
    """

    def __init__(self, encoder_config: PreTrainedConfig) -> None:
        super().__init__("AutoModelForMultipleChoice", encoder_config, ("score",))

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (choices, 1)."""
        logits: Tensor = self.stock(
            inputs_embeds=states.hidden_states.unsqueeze(1),  # (choices, 1, seq_len, hidden)
            attention_mask=states.attention_mask.unsqueeze(1),
        ).logits
        return logits

    def logits_of(self, stock: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """What a whole stock model computes of the rows of a batch as choices, (choices, 1)."""
        return super().logits_of(stock, {name: one.unsqueeze(1) for name, one in batch.items()})
