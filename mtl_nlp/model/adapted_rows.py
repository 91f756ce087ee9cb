"""Rows read by tasks with several adapters, in one forward."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mtl_nlp.model.batch import Targets

Encoded = tuple[Tensor, dict[str, Tensor]]
"""An encoder's last layer, and mixes of all layers by task, each (rows, seq_len, hidden)."""


def read_adapted(
    encode: Callable[..., Encoded],
    inputs: Mapping[str, Tensor],
    wanted: Mapping[str, Iterable[Targets | None]],
    names: Sequence[str],
    sources: Tensor | None,
) -> dict[str, Encoded]:
    """What an encoder makes of rows with each adapter; zeros where a row is none of its own.

    A row that is read with several adapters is several rows of the forward.

    Args:
        encode: The encoder, which takes beside its input the ``adapters`` of all sub-words.
        inputs: Its input, each (rows, seq_len).
        wanted: By adapter the texts that its tasks speak of; None: all.
        names: All adapters; a sub-word's is a place in these.
        sources: The text that each row is a window of, (rows,); None: each is one.
    """
    first = next(iter(inputs.values()))
    of = torch.arange(len(first), device=first.device) if sources is None else sources
    rows = {adapter: _rows(targets, of) for adapter, targets in wanted.items()}
    rows = {adapter: own for adapter, own in rows.items() if len(own)}
    if not rows:
        return dict.fromkeys(wanted, encode(**inputs))
    numbers = torch.cat([torch.full_like(own, names.index(name)) for name, own in rows.items()])
    chosen = torch.cat(list(rows.values()))
    repeated = {name: one[chosen] for name, one in inputs.items()}
    last, mixed = encode(**repeated, adapters=numbers[:, None].repeat(1, first.shape[1]))
    nothing = partial(_put_rows, numbers[:0], slice(0), len(first))
    absent = (nothing(last), {name: nothing(one) for name, one in mixed.items()})
    found: dict[str, Encoded] = dict.fromkeys(wanted, absent)
    ends = np.cumsum([len(own) for own in rows.values()]).tolist()
    for (adapter, own), end in zip(rows.items(), ends, strict=True):
        put = partial(_put_rows, own, slice(end - len(own), end), len(first))
        found[adapter] = (put(last), {name: put(one) for name, one in mixed.items()})
    return found


def _put_rows(rows: Tensor, part: slice, number: int, states: Tensor) -> Tensor:
    """A part of some states, (k, …), where its rows are among all, (number, …); else zeros."""
    own = states[part]
    if len(own) == number:
        return own
    return states.new_zeros(number, *states.shape[1:]).index_copy(0, rows, own)


def _rows(targets: Iterable[Targets | None], sources: Tensor) -> Tensor:
    """The encoder rows of the texts that any of these speaks of, rising, (k,)."""
    texts = sources.new_zeros(int(sources.max()) + 1, dtype=torch.bool)
    for target in targets:
        if target is None:
            return torch.arange(len(sources), device=sources.device)
        texts[target.rows[target.rows >= 0]] = True
    return texts[sources].nonzero().squeeze(1)
