"""An architecture's own head, lifted off its encoder.

The head *is* the stock ``AutoModelFor…`` class of the encoder's architecture with a pass-through in
its encoder's place, so training it is the computation that transformers itself would do, and
exporting it is putting the encoder back.
"""

import copy
import itertools
from typing import Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import ModelOutput

from mtl_nlp.heads.states import EncoderStates

ProblemType = Literal["regression", "multi_label_classification"]
"""What a stock model's configuration says of its logits, where they are not one choice."""


class PassThrough(nn.Module):
    """Stands where a stock model has its encoder and returns the hidden states it is given.

    Where the architecture pools, the pooler is the head's own copy.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        children = dict(base.named_children())
        self.pooler = children.get("pooler")
        # ALBERT and BigBird keep the activation of the pooler beside a bare Linear.
        self.activation = children.get("pooler_activation", children.get("activation"))

    def forward(
        self, *_: object, inputs_embeds: Tensor, **__: object
    ) -> BaseModelOutputWithPooling:
        """The given states as ``last_hidden_state`` (rows, seq_len, hidden), pooled if need be."""
        pooled = None
        if isinstance(self.pooler, nn.Linear):
            pooled = self.pooler(inputs_embeds[:, 0])  # (rows, hidden)
            pooled = pooled if self.activation is None else self.activation(pooled)
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)  # (rows, hidden)
        return BaseModelOutputWithPooling(last_hidden_state=inputs_embeds, pooler_output=pooled)


class StockHead(nn.Module):
    """The head of ``auto_class`` for an encoder's architecture, without the encoder.

    Args:
        auto_class: Name of a transformers auto class, ``AutoModelForSequenceClassification`` ….
        encoder_config: Configuration of the shared encoder; it is copied.
        label_names: Label of each logit; none where the logits stand for something else.
        problem_type: What its configuration says of the logits; None: they are one choice.
    Shape: returns the stock logits, (rows, num_labels) or (rows, seq_len, num_labels); the two
        outputs of a question answering class side by side, (rows, seq_len, 2).

    Raises:
        ValueError: If transformers has no such head for the architecture, or it keeps its encoder
            where it cannot be taken out.
    """

    def __init__(
        self,
        auto_class: str,
        encoder_config: PreTrainedConfig,
        label_names: tuple[str, ...],
        *,
        problem_type: ProblemType | None = None,
    ) -> None:
        super().__init__()
        self.auto_class = auto_class
        config = copy.deepcopy(encoder_config)
        if label_names:
            config.id2label = dict(enumerate(label_names))
            config.label2id = {label: i for i, label in enumerate(label_names)}
        config.problem_type = problem_type
        if stock_class(auto_class, config) is None:
            raise ValueError(f"transformers has no {auto_class} for {config.model_type} encoders")
        device = torch.empty(0).device
        with torch.device("meta"):  # the encoder's weights are not wanted
            stock = getattr(transformers, auto_class).from_config(config)
        if not isinstance(getattr(stock, stock.base_model_prefix, None), nn.Module):
            raise ValueError(f"{type(stock).__name__} keeps its encoder in no single place")
        self.prefix: str = stock.base_model_prefix
        self._base_keys = frozenset(getattr(stock, self.prefix).state_dict())
        self.ties: dict[str, str] = self.untie(stock)
        setattr(stock, self.prefix, PassThrough(getattr(stock, self.prefix)))
        if device.type != "meta":
            stock.to_empty(device=device)
            stock.initialize_weights()
        self.stock: PreTrainedModel = stock

    def forward(self, states: EncoderStates) -> Tensor:
        """The stock model's logits for these hidden states."""
        return stock_logits(
            self.stock(inputs_embeds=states.hidden_states, attention_mask=states.attention_mask)
        )

    def logits_of(self, stock: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """What a whole stock model of this class computes of a batch, in the head's own shape."""
        return stock_logits(stock(**batch))

    def untie(self, stock: PreTrainedModel) -> dict[str, str]:
        """Take out weights that the whole stock model, still on the meta device, has elsewhere too.

        Returns:
            Where it has them: the name of each that was taken out, and of the one that it is.
        """
        del stock
        return {}

    def logits_of_stock(self, encoder: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """What the stock model with that encoder gives."""
        through = self.stock.get_submodule(self.prefix)
        setattr(self.stock, self.prefix, encoder)
        try:
            return self.logits_of(self.stock, batch)
        finally:
            setattr(self.stock, self.prefix, through)

    def fits(self, states: EncoderStates, lifted: Tensor, whole: Tensor) -> bool:
        """Whether what it computes from states without words is what the stock model computes."""
        del states
        return lifted.shape == whole.shape and torch.equal(lifted, whole)

    def adopt_pooler(self, encoder: nn.Module) -> None:
        """Start the head's pooler, where there is one, from the encoder's."""
        own, given = self.stock.get_submodule(self.prefix).pooler, dict(encoder.named_children())
        if isinstance(own, nn.Module) and isinstance(given.get("pooler"), nn.Module):
            own.load_state_dict(given["pooler"].state_dict())

    def weights_beyond(self, encoder: nn.Module) -> list[str]:
        """Weights of the stock model that are neither the head's nor the encoder's."""
        own = self.stock.get_submodule(self.prefix).state_dict()
        return sorted(self._base_keys - own.keys() - encoder.state_dict().keys())

    def adopt(self, stock: PreTrainedModel) -> None:
        """Take the head's weights from a whole stock model of its class."""
        given = stock.state_dict()
        self.stock.load_state_dict({key: given[key] for key in self.stock.state_dict()})

    def with_encoder(self, encoder: PreTrainedModel) -> PreTrainedModel:
        """A stock transformers model of this head and that encoder, on the encoder's device."""
        model: PreTrainedModel = getattr(transformers, self.auto_class).from_config(
            copy.deepcopy(self.stock.config),
            dtype=encoder.dtype,
            attn_implementation=encoder.config._attn_implementation,
        )
        state = {f"{self.prefix}.{key}": value for key, value in encoder.state_dict().items()}
        state.update(self.stock.state_dict())  # its pooler is the head's own
        state.update({name: state[source] for name, source in self.ties.items()})
        model.load_state_dict({key: state[key] for key in model.state_dict()})
        nn.Module.to(model, encoder.device)
        model.eval()
        return model


def lay_anew(module: nn.Module) -> None:
    """Give every weight memory of its own.

    Read from a file they lie at any address, and the last bit of a product with one column, as a
    head with one logit computes, depends on it.
    """
    for weights in itertools.chain(module.parameters(), module.buffers()):
        weights.data = weights.data.clone()


def stock_logits(output: ModelOutput) -> Tensor:
    """The logits of a stock model; of one that marks both ends of a span: start, then end.

    Shape: as the model gives them, or (rows, seq_len, 2).

    Raises:
        KeyError: If it gives neither.
    """
    if "logits" in output:
        logits: Tensor = output["logits"]
        return logits
    return torch.stack([output["start_logits"], output["end_logits"]], dim=-1)


def stock_class(auto_class: str, config: PreTrainedConfig) -> str | None:
    """Name of the class that an auto class stands for with encoders of this kind, if any."""
    mapping = getattr(transformers, auto_class)._model_mapping
    if type(config) not in mapping:
        return None
    found = mapping[type(config)]
    return str((found[0] if isinstance(found, tuple) else found).__name__)


def probe(encoder: PreTrainedModel) -> dict[str, Tensor]:
    """One small random batch, the same each time: ``input_ids`` and ``attention_mask``, (2, 8)."""
    vocabulary = encoder.get_input_embeddings().weight
    assert isinstance(vocabulary, Tensor)
    size, generator = len(vocabulary), torch.Generator().manual_seed(0)
    input_ids = torch.randint(min(5, size - 1), size, (2, 8), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = 0
    batch = {"input_ids": input_ids, "attention_mask": attention_mask}
    return {name: value.to(encoder.device) for name, value in batch.items()}


def probed(encoder: PreTrainedModel, batch: dict[str, Tensor]) -> EncoderStates:
    """What heads are given of such a batch, without words."""
    embeddings = encoder.get_input_embeddings().weight
    assert isinstance(embeddings, Tensor)
    return EncoderStates(
        encoder(**batch).last_hidden_state, batch["attention_mask"], embeddings=embeddings
    )


@torch.no_grad()
def lifting_problem(head: StockHead, encoder: PreTrainedModel) -> str | None:
    """Why a lifted head does not compute what its stock model does, or None.

    They are compared bit for bit on one small batch; the head's pooler must still be the
    encoder's own.
    """
    stock = head.stock
    if strange := head.weights_beyond(encoder):
        shown = ", ".join(strange[:2]) + " …" * (len(strange) > 2)
        return f"{type(stock).__name__} keeps other weights beside its head: {shown}"
    modes = encoder.training, head.training
    batch = probe(encoder)
    try:
        encoder.eval(), head.eval()
        states = probed(encoder, batch)
        lifted = head(states)
        fits = head.fits(states, lifted, head.logits_of_stock(encoder, batch))
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        return f"{type(stock).__name__} does not run on hidden states ({error})"
    finally:
        encoder.train(modes[0]), head.train(modes[1])
    if not fits:
        return f"{type(stock).__name__} computes other logits than its head alone"
    return None
