"""A head that reads what other heads make of the same states, beside the states themselves."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.heads.states import EncoderStates


class ReadingHead(nn.Module):
    """A head whose states are told what other heads predict.

    Each label of a task that is read has a vector; their mean under the predicted distribution is
    added to the hidden states (the label embeddings of Hashimoto et al., 2017, arXiv:1611.01587,
    equation 2, added where theirs are concatenated, so that any head can read).

    Args:
        head: What then reads the states.
        hidden: Width of the encoder's last layer, in features.
        labels: Number of labels of each task that is read.
    """

    def __init__(self, head: nn.Module, hidden: int, labels: Mapping[str, int]) -> None:
        super().__init__()
        self.head = head
        self.vectors = HeadsByTask(
            {name: nn.Linear(number, hidden, bias=False) for name, number in labels.items()}
        )

    def tell(self, states: EncoderStates, read: Mapping[str, Tensor]) -> EncoderStates:
        """The states with what is predicted from them.

        Args:
            states: As the encoder gives them.
            read: By task, the probability of each label, (rows, labels) or (rows, seq_len, labels).
        """
        hidden = states.hidden_states
        for name, probabilities in read.items():
            vectors = self.vectors[name](probabilities.to(hidden.dtype))
            hidden = hidden + (vectors.unsqueeze(1) if vectors.ndim == 2 else vectors)
        return replace(states, hidden_states=hidden)
