"""What a task's head makes of the encoder's output for the rows that it speaks of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.tasks.base import Task

Head = Callable[[EncoderStates], Tensor]
"""From the states of some rows to their logits."""


@dataclass(frozen=True)
class Texts:
    """The texts of a batch, as heads read them.

    Attributes:
        states: Of the encoder rows.
        sources: The text that each encoder row is a window of, rising, (encoder rows,).
        joined: As in `Batch`; None where every text is one encoder row.
    """

    states: EncoderStates
    sources: Tensor | None
    joined: Tensor | None

    def logits(self, task: Task, head: Head, rows: Tensor | None) -> Tensor:
        """Logits of the rows that a task speaks of, (n, …), or of all texts.

        Args:
            task: Whose head it is.
            head: The head.
            rows: As in `Targets`: (n,), or (n, texts) with -1 = no such text; there are no logits
                but zeros.
        """
        if rows is None:
            return self._of(task, head, None)
        if rows.ndim == 1:
            return self._of(task, head, rows)
        there = rows >= 0  # (n, texts)
        found = self._of(task, head, rows[there])
        logits = found.new_zeros(*rows.shape, *found.shape[1:])
        logits[there] = found
        return logits

    def _of(self, task: Task, head: Head, texts: Tensor | None) -> Tensor:
        if self.joined is None:
            return head(self.states if texts is None else self.states.select(texts))
        if task.per_token:
            return head(self._whole if texts is None else self._whole.select(texts))
        return self._mean(head, self.joined, texts)

    def _mean(self, head: Head, joined: Tensor, texts: Tensor | None) -> Tensor:
        """The mean of the logits of each text's windows."""
        assert self.sources is not None
        wanted = torch.arange(len(joined), device=joined.device) if texts is None else texts
        number = joined.new_full((len(joined),), -1)  # of each text among those wanted
        number[wanted] = torch.arange(len(wanted), device=joined.device)
        windows = (number[self.sources] >= 0).nonzero().squeeze(1)
        of_windows = head(self.states.select(windows)).float()
        place = number[self.sources[windows]]
        total = of_windows.new_zeros(len(wanted), *of_windows.shape[1:])
        total = total.index_add(0, place, of_windows)
        count = torch.bincount(place, minlength=len(wanted))
        return total / count.view(-1, *[1] * (total.ndim - 1))

    @cached_property
    def _whole(self) -> EncoderStates:
        """Each text as one row."""
        assert self.joined is not None
        real = self.joined >= 0
        places = self.joined.clamp(min=0)
        states = self.states
        hidden, *mixed = (
            one.flatten(0, 1)[places] * real.unsqueeze(-1)
            for one in (states.hidden_states, *states.mixed.values())
        )
        words = None
        if states.words is not None:
            words = torch.where(real, states.words.flatten()[places], -1)
        mask = real.to(states.attention_mask.dtype)
        by_task = dict(zip(states.mixed, mixed, strict=True))
        return EncoderStates(hidden, mask, words, states.embeddings, by_task)
