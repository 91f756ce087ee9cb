"""One encoder with a head per task."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel

from mtl_nlp.errors import ModelError
from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.heads.layer_mix import LayerMix, MixingHead, as_read_by
from mtl_nlp.heads.reading import ReadingHead
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.model.batch import Batch, Targets
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.encoders import load_encoder, shared_part
from mtl_nlp.model.hub_model import HubModel
from mtl_nlp.model.layers import NO_MIXES, mixes_of, states_of
from mtl_nlp.model.limits import check_length, padding_problem
from mtl_nlp.model.output import MultiTaskOutput
from mtl_nlp.model.packing import PackedEncoder, packed_encoder
from mtl_nlp.model.reading import Texts
from mtl_nlp.model.sources import Source
from mtl_nlp.model.takeover import take_apart
from mtl_nlp.model.with_heads import WithHeads
from mtl_nlp.recipe_sharing import sharing_spec
from mtl_nlp.tasks.after import check_all_after
from mtl_nlp.tasks.base import Task


class MultiTaskModel(HubModel, WithHeads):
    """A pretrained encoder shared by the heads of several tasks.

    Args:
        config: Encoder and tasks.
        encoder: An encoder that is already loaded; else one is built from the configuration.
        task_types: Task types of your own, by their name in the configuration; a task whose type
            is neither this package's nor given here is left out with a warning.

    Attributes:
        tasks: The tasks, by name.
        decoder: Of the encoder's checkpoint, shared by all tasks that generate; None without one.
    """

    config_class = MultiTaskConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    def __init__(
        self,
        config: MultiTaskConfig,
        encoder: PreTrainedModel | None = None,
        *,
        task_types: Mapping[str, type[Task]] | None = None,
    ) -> None:
        super().__init__(config)
        self.encoder = encoder or shared_part(AutoModel.from_config(config.encoder_config))
        self.tasks: dict[str, Task] = config.build_tasks(task_types)
        for left_out in [t["name"] for t in config.tasks if t["name"] not in self.tasks]:
            config.remove_task(left_out)
        check_all_after(self.tasks)
        self.heads = HeadsByTask(
            {name: self._build_head(task) for name, task in self.tasks.items()}
        )
        self.build_decoder()
        self.build_adapters()
        self._packed: PackedEncoder | None = None
        self._pretrained: Source | None = None  # the checkpoint of a bare encoder
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_encoder(
        cls,
        encoder: str | os.PathLike[str],
        tasks: Mapping[str, Mapping[str, Any]],
        *,
        dropout: float | None = None,
        max_length: int = 128,
        sharing: Mapping[str, Any] | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> Self:
        """A pretrained encoder with fresh heads.

        Args:
            encoder: Folder or Hub id (``org/name``, ``org/name@revision``) of any text encoder
                that ``AutoModel`` loads.
            tasks: By name: ``type``, ``labels``, the type's options, and perhaps the name of an
                adapter as ``sharing``.
            dropout: Probability for every dropout of encoder and heads; None: the encoder's own.
            max_length: Sub-words of one encoder row.
            sharing: As in a recipe: adapters beside a frozen encoder; None: all of it learns.
            revision: Branch, tag or commit of the Hub repository.
            token: Hub token for a private one.

        Raises:
            RecipeError: If a task or what is shared is not well described, or the encoder has not
                so many positions.
            ModelError: If there is no such encoder, it does not load, or padding changes what it
                computes.
            HubError: If the Hub refuses or cannot be reached.
        """
        source = Source.parse(encoder, revision, token)
        base = load_encoder(source, dropout)
        config = MultiTaskConfig(encoder_config=base.config, max_seq_length=max_length)
        shared = shared_part(base)
        check_length(shared, max_length)
        if problem := padding_problem(shared):
            raise ModelError(f"encoder {source}: {problem}")
        model = cls(config, encoder=shared)
        model.source = model._pretrained = source  # whose decoder or head a task may need
        for name, settings in tasks.items():
            model.add_task(name, settings)
        if sharing is not None:
            named = {name: settings.get("sharing") for name, settings in tasks.items()}
            model.share(sharing_spec(sharing), named)
        model.source = model._pretrained = replace(source, token=None)
        return model

    @classmethod
    def from_transformers(
        cls,
        checkpoint: str | os.PathLike[str],
        *,
        name: str,
        max_length: int = 128,
        revision: str | None = None,
        token: str | None = None,
    ) -> Self:
        """A stock fine-tuned model of one task, taken in as encoder and head.

        Its logits are those of the stock model in float32, bit for bit; more tasks can be added.

        Args:
            checkpoint: Folder or Hub id (``org/name``, ``org/name@revision``) of a model that, say,
                ``AutoModelForTokenClassification`` loads.
            name: What the task is to be called; its type and labels are read from the checkpoint.
            max_length: Sub-words of one encoder row.
            revision: Branch, tag or commit of the Hub repository.
            token: Hub token for a private one.

        Raises:
            RecipeError: If the encoder has positions for fewer sub-words.
            ModelError: If there is no such checkpoint, or it cannot be taken in exactly; says why.
            HubError: If the Hub refuses or cannot be reached.
        """
        source = Source.parse(checkpoint, revision, token)
        taken = take_apart(source, name)
        check_length(taken.encoder, max_length)
        if problem := padding_problem(taken.encoder):
            raise ModelError(f"model {source}: {problem}")
        config = MultiTaskConfig(encoder_config=taken.encoder.config, max_seq_length=max_length)
        model = cls(config, encoder=taken.encoder)
        model.source = replace(source, token=None)
        model._put_head(taken.task, taken.head)
        model.train(False)
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        words: Tensor | None = None,
        sources: Tensor | None = None,
        joined: Tensor | None = None,
        targets: Mapping[str, Targets] | None = None,
        *,
        tasks: Sequence[str] | None = None,
    ) -> MultiTaskOutput:
        """Run the encoder once and the heads that are asked for.

        Args:
            input_ids: Sub-words, (rows, seq_len).
            attention_mask: 1 = sub-word, 0 = padding, (rows, seq_len).
            token_type_ids: Segments, where the encoder has them, (rows, seq_len).
            words: Word of each sub-word, -1 for none, (rows, seq_len).
            sources: Text that each encoder row is a window of, (rows,).
            joined: Where texts have several windows, how these become one sequence; see `Batch`.
            targets: By task, which rows it speaks of and their labels.
            tasks: Heads to run; by default those with targets, or all where there are no targets.

        Raises:
            ValueError: If a named task is not one of the model's.
        """
        targets = targets or {}
        names = list(tasks) if tasks is not None else list(targets or self.tasks)
        if unknown := [name for name in names if name not in self.tasks]:
            raise ValueError(f"no task {unknown[0]!r}; the model has {', '.join(self.tasks)}")
        wanted = {name: targets.get(name) for name in names}
        read = partial(self._encode, mixes_of(names, self.tasks, self.heads))
        inputs = _inputs(input_ids, attention_mask, token_type_ids)
        embeddings = self.encoder.get_input_embeddings().weight
        assert isinstance(embeddings, Tensor)
        texts = {
            adapter: Texts(
                EncoderStates(hidden, attention_mask, words, embeddings, mixed), sources, joined
            )
            for adapter, (hidden, mixed) in self.read_by_adapter(
                read, inputs, wanted, sources
            ).items()
        }
        logits, sums = {}, {}
        for name in names:
            task, target = self.tasks[name], targets.get(name)
            rows, labels = (None, None) if target is None else (target.rows, target.labels)
            run = partial(self._run, name, labels=labels)
            logits[name] = texts[self.adapter_of(name)].logits(task, run, rows)
            if labels is not None:
                sums[name] = task.loss(logits[name], labels)
        return MultiTaskOutput(logits, sums, {name: self.tasks[name].weight for name in sums})

    def encode(self, batch: Batch) -> Tensor:
        """The encoder's hidden states of a batch, (rows, seq_len, hidden), and nothing more."""
        inputs = _inputs(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        return self._encode(NO_MIXES, **inputs)[0]

    def _encode(
        self, mixes: Mapping[str, LayerMix], **inputs: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the encoder makes of rows, as `states_of` does, without padding where asked for."""
        if self.training and self._packed is not None:
            return self._packed(**inputs, mixes=mixes)
        return states_of(self.encoder, inputs, mixes)

    def _run(self, name: str, states: EncoderStates, labels: Tensor | None) -> Tensor:
        """The logits of a task's head, which may read what other heads make of the same states."""
        task, head = self.tasks[name], self.heads[name]
        own = as_read_by(name, states)
        if isinstance(head, MixingHead):
            head = head.head
        if not isinstance(head, ReadingHead):
            return task.run(head, own, labels)
        with torch.set_grad_enabled(task.after_gradient and torch.is_grad_enabled()):
            read = {
                other: self.tasks[other].distribution(self._run(other, states, None))
                for other in task.after
            }
        return task.run(head.head, head.tell(own, read), labels)

    @property
    def packs(self) -> bool:
        """Whether the encoder reads rows laid end to end now."""
        return self.training and self._packed is not None

    def skip_padding(self) -> bool:
        """From now on compute no padding in training mode; False where that does not work or pay.

        What comes out is the same to rounding. In evaluation mode nothing changes: that is bit for
        bit what stock transformers computes.
        """
        self._packed = packed_encoder(self.encoder)
        return self._packed is not None


def _inputs(
    input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None
) -> dict[str, Tensor]:
    """What an encoder is called with, each (rows, seq_len)."""
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    return inputs if token_type_ids is None else {**inputs, "token_type_ids": token_type_ids}


AutoConfig.register(MultiTaskConfig.model_type, MultiTaskConfig)
AutoModel.register(MultiTaskConfig, MultiTaskModel)
