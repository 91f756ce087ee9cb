"""The one shape of input: encoder rows and, per task, which rows it speaks of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What is right for the rows that one task speaks of.

    Attributes:
        rows: Texts, in rising order: encoder rows where none is a window, (n,); where a row may be
            many texts, (n, texts), -1 = no such text.
        labels: The task's encoded labels for them, (n, …); None in prediction.
    """

    rows: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Batch(Mapping[str, Any]):
    """Encoder rows with targets; ``model(**batch)`` takes it whole.

    Attributes:
        input_ids: Sub-words, (rows, seq_len).
        attention_mask: 1 = sub-word, 0 = padding, (rows, seq_len).
        words: Word each sub-word belongs to, -1 for none, (rows, seq_len).
        sources: The text that each encoder row is a window of, rising from 0, (rows,).
        token_type_ids: Segments, where the encoder has them, (rows, seq_len).
        joined: Where a text has several windows: the place of each of its sub-words among all
            rows * seq_len, each sub-word once, -1 = padding, (texts, …).
        targets: By task; empty where all tasks speak of all rows.
    """

    input_ids: Tensor
    attention_mask: Tensor
    words: Tensor
    sources: Tensor
    token_type_ids: Tensor | None = None
    joined: Tensor | None = None
    targets: Mapping[str, Targets] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in fields(self))

    def __len__(self) -> int:
        return len(fields(self))

    def __contains__(self, key: object) -> bool:
        return any(f.name == key for f in fields(self))

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        if self.input_ids.device == device:
            return self
        moved = {
            name: _sent(value, device) for name, value in self.items() if isinstance(value, Tensor)
        }
        targets = {
            task: Targets(
                _sent(t.rows, device), None if t.labels is None else _sent(t.labels, device)
            )
            for task, t in self.targets.items()
        }
        return replace(self, **moved, targets=targets)

    @property
    def num_tokens(self) -> int:
        """Sub-words without padding."""
        return int(self.attention_mask.sum())


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device; the host does not wait until it is there.

    CUDA copies in the background only from memory that stays in its place.
    """
    held = tensor.pin_memory() if device.type == "cuda" else tensor
    return held.to(device, non_blocking=True)
