"""The decoder of an encoder-decoder checkpoint, shared by all heads that generate.

It *is* the stock ``AutoModelForSeq2SeqLM`` of the architecture with nothing in its encoder's place,
so training it is the computation that transformers itself would do, and exporting it is putting the
encoder back.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import probe, stock_class

AUTO_CLASS = "AutoModelForSeq2SeqLM"

_OURS = (
    *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "num_beams", "max_time"),
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "num_return_sequences"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("return_dict_in_generate", "transformers_version", "_from_model_config"),
)
"""Settings of a checkpoint's generation that are the task's to say, or change what comes out."""

_OF_BEAMS = ("early_stopping", "length_penalty", "num_beam_groups", "diversity_penalty")


@dataclass(frozen=True)
class Writing:
    """How a text is generated.

    Attributes:
        max_new_tokens: Sub-words of the longest text, with those that the model adds.
        num_beams: Of beam search; 1 is greedy search.
        first_token: The sub-word that every text begins with, such as a language's; None: the one
            that the checkpoint says, if any.
    """

    max_new_tokens: int
    num_beams: int = 1
    first_token: int | None = None


class Decoder(nn.Module):
    """A stock encoder-decoder model whose encoder is kept elsewhere.

    Args:
        stock: The whole model; its encoder is taken out.
        settings: How it generates; None: as the model says.

    Attributes:
        stock: Without its encoder.
        place: Where that stood.
        settings: How it generates, but for lengths, beams and sampling, as JSON values.
        ties: Weights of ``stock`` that are one with another: its name, or ``encoder.`` and its name
            in the encoder.

    Raises:
        ValueError: If the model keeps its encoder in no single place.
    """

    def __init__(self, stock: PreTrainedModel, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        encoder = stock.get_encoder()
        places = [name for name, module in stock.named_modules() if module is encoder and name]
        if not places:
            raise ValueError(f"{type(stock).__name__} keeps its encoder in no single place")
        self.place = places[0]
        self.ties = _ties(stock, f"{self.place}.")
        for module in stock.modules():
            if isinstance(module, PreTrainedModel):  # what is tied is said here instead
                module._tied_weights_keys, module.all_tied_weights_keys = {}, {}
        parent, _, name = self.place.rpartition(".")
        delattr(stock.get_submodule(parent), name)
        given = stock.generation_config.to_diff_dict() if settings is None else settings
        self.settings = {key: value for key, value in given.items() if key not in _OURS}
        stock.generation_config = GenerationConfig()  # else it fills up what a task leaves out
        self.stock: PreTrainedModel = stock

    @classmethod
    def fresh(
        cls, encoder_config: PreTrainedConfig, settings: Mapping[str, Any] | None = None
    ) -> "Decoder":
        """One with initial weights, for an encoder with this configuration."""
        device = torch.empty(0).device
        with torch.device("meta"):  # the encoder's weights are not wanted
            decoder = cls(
                AutoModelForSeq2SeqLM.from_config(copy.deepcopy(encoder_config)), settings
            )
        if device.type != "meta":
            decoder.to_empty(device=device)
            decoder.stock.initialize_weights()
        return decoder

    @property
    def ties(self) -> dict[str, str]:
        """By name of a weight in ``stock``, the one that it is."""
        return {name.removeprefix("stock."): one for name, one in self._tied_weights_keys.items()}

    @ties.setter
    def ties(self, ties: Mapping[str, str]) -> None:
        # Under this name transformers looks for what is saved but once.
        self._tied_weights_keys = {f"stock.{name}": one for name, one in ties.items()}

    def forward(self, states: EncoderStates, labels: Tensor) -> Tensor:
        """Logits of every sub-word from those before it, (rows, target_len, vocabulary).

        Args:
            states: What the encoder made of the rows.
            labels: The sub-words that are right, -100 behind them, (rows, target_len).
        """
        logits: Tensor = self.stock(
            encoder_outputs=BaseModelOutput(last_hidden_state=states.hidden_states),
            attention_mask=states.attention_mask,
            decoder_input_ids=self.shifted(labels),
            use_cache=False,
        ).logits
        return logits

    def shifted(self, labels: Tensor) -> Tensor:
        """What the decoder reads where it shall write the labels, (rows, target_len)."""
        if hasattr(self.stock, "prepare_decoder_input_ids_from_labels"):
            shift: Any = self.stock.prepare_decoder_input_ids_from_labels
            own: Tensor = shift(labels)
            return own
        config = self.stock.config  # of M2M100 and NLLB, which do it only beside their loss
        read = labels.roll(1, dims=1).masked_fill(
            labels.roll(1, dims=1) == -100, config.pad_token_id
        )
        read[:, 0] = config.decoder_start_token_id
        return read

    @torch.no_grad()
    def generate(self, states: EncoderStates, writing: Writing) -> Tensor:
        """Sub-words of a text for each row with its end, -100 behind them, (rows, target_len)."""
        config = self.generation_config(writing)
        generate: Any = self.stock.generate
        written: Tensor = generate(
            generation_config=config,
            encoder_outputs=BaseModelOutput(last_hidden_state=states.hidden_states),
            attention_mask=states.attention_mask,
        )[:, 1:]  # behind the token that the decoder starts from
        if config.eos_token_id is None:
            return written
        ends = torch.isin(written, torch.as_tensor(config.eos_token_id, device=written.device))
        return written.masked_fill(ends.cumsum(dim=1) > ends.long(), -100)

    def generation_config(self, writing: Writing) -> GenerationConfig:
        """What ``generate`` of transformers is told."""
        settings = self.settings
        if writing.num_beams == 1:
            settings = {k: v for k, v in settings.items() if k not in _OF_BEAMS}
        if writing.first_token is not None:
            settings = {**settings, "forced_bos_token_id": writing.first_token}
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=writing.max_new_tokens,
            num_beams=writing.num_beams,
            **settings,
        )

    def with_encoder(self, encoder: PreTrainedModel) -> PreTrainedModel:
        """A whole stock model of this decoder and that encoder, on the encoder's device."""
        model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(
            copy.deepcopy(self.stock.config),
            dtype=encoder.dtype,
            attn_implementation=encoder.config._attn_implementation,
        )
        state = {f"{self.place}.{key}": value for key, value in encoder.state_dict().items()}
        state.update(self.stock.state_dict())
        for name, source in list(model.all_tied_weights_keys.items()):
            if state[name].data_ptr() != state[source].data_ptr():  # not tied in the checkpoint
                parent, _, last = name.rpartition(".")
                weight = nn.Parameter(torch.empty_like(state[name]))
                setattr(model.get_submodule(parent), last, weight)
        model.load_state_dict(state)
        nn.Module.to(model, encoder.device)
        model.eval()
        return model


class GenerationHead(nn.Module):
    """Stands for the decoder that a model's generation tasks share; has no weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: tuple[Decoder, ...] = ()  # no sub-module: its weights are the model's

    @property
    def decoder(self) -> Decoder:
        """The decoder."""
        return self._shared[0]

    def share(self, decoder: Decoder) -> None:
        """Use this decoder."""
        self._shared = (decoder,)


def has_decoder(config: PreTrainedConfig) -> bool:
    """Whether an encoder with this configuration comes from a checkpoint with a decoder."""
    return bool(config.is_encoder_decoder) and stock_class(AUTO_CLASS, config) is not None


@torch.no_grad()
def take_decoder(stock: PreTrainedModel) -> Decoder:
    """The decoder of a whole model, which is found to compute the same without its encoder.

    They are compared bit for bit on one small batch.

    Raises:
        ValueError: If it does not.
    """
    name, encoder = type(stock).__name__, stock.get_encoder()
    stock.eval()
    batch = probe(encoder)
    labels = batch["input_ids"]
    try:
        whole = stock(**batch, labels=labels).logits
        decoder = Decoder(stock)
        states = EncoderStates(encoder(**batch).last_hidden_state, batch["attention_mask"])
        same = torch.equal(decoder(states, labels), whole)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f"{name} does not run on hidden states ({error})") from None
    if not same:
        raise ValueError(f"{name} computes other logits on hidden states")
    return decoder


def _ties(stock: PreTrainedModel, prefix: str) -> dict[str, str]:
    """By weight of a whole model outside its encoder, the one that it is tied to, see `Decoder`."""
    tied = stock.all_tied_weights_keys
    in_encoder = {source: name for name, source in tied.items() if name.startswith(prefix)}
    ties = {}
    for name, source in [*tied.items(), *((source, source) for source in in_encoder)]:
        one = in_encoder.get(source, source)
        if one.startswith(prefix):
            one = f"encoder.{one.removeprefix(prefix)}"
        if not name.startswith(prefix) and name != one:
            ties[name] = one
    return ties
