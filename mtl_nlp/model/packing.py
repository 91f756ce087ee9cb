"""An encoder run without padding: rows laid end to end, each attending to itself alone.

Most of an encoder's work is done token by token, so what a padded row costs most is not attention
but the projections of its padding. Laid end to end, rows of any lengths waste none; only attention
sees them padded, and there rows of like length go together. On CPUs only: elsewhere the gathering
was not measured.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from mtl_nlp.cuts import cheapest_cuts
from mtl_nlp.heads.layer_mix import LayerMix
from mtl_nlp.heads.stock import probe
from mtl_nlp.model.layers import NO_MIXES, states_of

_NAME = "mtl_nlp_packed"
_NOT_OF_ATTENTION = ("position_ids", "output_hidden_states")  # encoders hand them on nevertheless
_TOKENS_TOGETHER = 32
_CALL_COST = 6000  # of one more call of attention, in pairs of tokens


@dataclass(frozen=True)
class _Group:
    """Rows of like length that attend together, padded to the longest.

    Attributes:
        mask: True = token, False = padding, (rows, seq_len).
        places: Each token's place in the flattened rows, (tokens,).
        tokens: The token at each place of the flattened rows, at padding any, (rows * seq_len,).
    """

    mask: Tensor
    places: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, lengths: Tensor) -> "_Group":
        """The group of rows of these lengths, (rows,), in rising order."""
        mask = torch.arange(int(lengths[-1])) < lengths[:, None]
        before = lengths.cumsum(0) - lengths
        tokens = (before[:, None] + torch.arange(mask.shape[1])).clamp(max=int(lengths.sum()) - 1)
        return cls(mask, mask.flatten().nonzero().squeeze(1), tokens.flatten())

    def pad(self, tokens: Tensor) -> Tensor:
        """Queries, keys or values (tokens, heads, dim) as (rows, heads, seq_len, dim)."""
        rows: Tensor = _Pad.apply(tokens, self.tokens, self.places)  # type: ignore[no-untyped-call]
        padded: Tensor = rows.unflatten(0, self.mask.shape).transpose(1, 2)
        return padded

    def unpad(self, attended: Tensor) -> Tensor:
        """The way back: (rows, heads, seq_len, dim) to (tokens, heads, dim)."""
        tokens: Tensor = attended.transpose(1, 2).flatten(0, 1).index_select(0, self.places)
        return tokens


class _Pad(torch.autograd.Function):
    """Gathers tokens into padded rows.

    What stands at padding is masked in attention, so no gradient comes back from there, and the
    gradient is a gathering too, where autograd would add into zeros.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(packed: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        del places
        return packed.index_select(0, tokens)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


@dataclass(frozen=True)
class Packing:
    """The tokens of padded rows, laid end to end, the shortest row first.

    Attributes:
        mask: True = token, False = padding, (rows, seq_len).
        places: Each token's place in the flattened rows, (tokens,).
        spare: Tokens behind them that belong to no row, so that few numbers of tokens occur:
            oneDNN prepares each product anew for every shape that it has not met.
        groups: Rows that attend together, in the order of the tokens.
    """

    mask: Tensor
    places: Tensor
    spare: int
    groups: tuple[_Group, ...]

    @classmethod
    def of(cls, attention_mask: Tensor) -> "Packing":
        """The packing of rows with this mask, (rows, seq_len), whose tokens come first."""
        mask = attention_mask.bool()
        lengths, order = mask.sum(dim=1).sort(stable=True)
        places = torch.arange(mask.numel()).view_as(mask)[order][mask[order]]  # (tokens,)
        cuts = cheapest_cuts(lengths.square().numpy(), len(lengths), _CALL_COST)
        groups = tuple(map(_Group.of, lengths.tensor_split(cuts)))
        return cls(mask, places, -len(places) % _TOKENS_TOGETHER, groups)

    def pack(self, padded: Tensor) -> Tensor:
        """Tokens alone: (rows, seq_len) to (1, tokens + spare)."""
        return F.pad(padded.flatten().index_select(0, self.places), (0, self.spare))[None]

    def pack_features(self, padded: Tensor) -> Tensor:
        """The same of features: (rows, seq_len, features) to (1, tokens + spare, features)."""
        tokens = padded.flatten(0, 1).index_select(0, self.places)
        return F.pad(tokens, (0, 0, 0, self.spare))[None]

    def unpack(self, tokens: Tensor) -> Tensor:
        """Padded with zeros: (1, tokens + spare, hidden) to (rows, seq_len, hidden)."""
        rows = tokens.new_zeros(self.mask.numel(), tokens.shape[2])
        rows = rows.index_copy(0, self.places, tokens[0, : len(self.places)])
        padded: Tensor = rows.unflatten(0, self.mask.shape)
        return padded


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    packing: Packing,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention of packed rows; query, key, value are (1, heads, tokens + spare, dim)."""
    del module, attention_mask
    if strange := [k for k, v in rest.items() if k not in _NOT_OF_ATTENTION and v]:
        raise ValueError(f"packed attention knows no {strange[0]}")
    sizes = [*(len(group.places) for group in packing.groups), packing.spare]
    parts = (one.squeeze(0).transpose(0, 1).split(sizes) for one in (query, key, value))
    attended = [
        group.unpad(
            F.scaled_dot_product_attention(
                group.pad(q),
                group.pad(k),
                group.pad(v),
                attn_mask=group.mask[:, None, None],
                dropout_p=dropout,
                scale=scaling,
            )
        )
        for group, q, k, v in zip(packing.groups, *parts, strict=False)  # all but the spare
    ]
    spare = attended[0].new_zeros(packing.spare, *attended[0].shape[1:])
    return torch.cat([*attended, spare]).unsqueeze(0), None  # (1, tokens + spare, heads, dim)


AttentionInterface.register(_NAME, _attention)


@dataclass(frozen=True)
class PackedEncoder:
    """Gives an encoder's hidden states of padded rows without computing the padding.

    Attributes:
        encoder: Whose weights are used.
        first_position: The position that it gives a row's first token.
    """

    encoder: PreTrainedModel
    first_position: int

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        mixes: Mapping[str, LayerMix] = NO_MIXES,
        **more: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Hidden states and mixes of layers (rows, seq_len, hidden), 0 at padding.

        Args:
            input_ids: Sub-words, (rows, seq_len).
            attention_mask: 1 = sub-word, 0 = padding, (rows, seq_len).
            mixes: As of `states_of`.
            more: What else the encoder is called with, such as segments, (rows, seq_len).
        """
        packing = Packing.of(attention_mask)
        positions = torch.arange(input_ids.shape[1]) + self.first_position
        inputs: dict[str, Any] = {
            "input_ids": packing.pack(input_ids),
            "position_ids": packing.pack(positions.expand_as(input_ids)),
            "packing": packing,
            **{name: packing.pack(one) for name, one in more.items()},
        }
        with attending(self.encoder, _NAME):
            last, mixed = states_of(self.encoder, inputs, mixes)  # (1, tokens + spare, hidden)
        return packing.unpack(last), {name: packing.unpack(one) for name, one in mixed.items()}


@torch.no_grad()
def packed_encoder(encoder: PreTrainedModel) -> PackedEncoder | None:
    """The encoder without padding, if it then computes the same, which is tried on a small batch.

    Not so where tokens see more of their row than attention shows them (convolutions, relative
    positions, local windows), or where attention is not scaled dot product.
    """
    config = encoder.config
    recomputes = any(
        getattr(module, "gradient_checkpointing", False) for module in encoder.modules()
    )
    if config._attn_implementation != "sdpa" or recomputes or encoder.device.type != "cpu":
        return None
    batch, training = probe(encoder), encoder.training
    real = batch["attention_mask"].bool()
    encoder.eval()
    try:
        padded = encoder(**batch).last_hidden_state
        for first in {0, (config.pad_token_id or 0) + 1}:  # RoBERTa counts from behind padding
            packed = PackedEncoder(encoder, first)
            if torch.allclose(
                packed(batch["input_ids"], batch["attention_mask"])[0][real],
                padded[real],
                atol=1e-5,
            ):
                return packed
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return None
    finally:
        encoder.train(training)
    return None


@contextmanager
def attending(encoder: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Let an encoder attend in a way that transformers knows by this name."""
    before = encoder.config._attn_implementation
    encoder.config._attn_implementation = implementation
    try:
        yield
    finally:
        encoder.config._attn_implementation = before
