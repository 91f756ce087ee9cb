"""The part of a model that gives its tasks their heads, and takes them away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.layer_mix import LayerMix, MixingHead
from mtl_nlp.heads.masked_language import MaskedLanguageHead
from mtl_nlp.heads.reading import ReadingHead
from mtl_nlp.heads.stock import StockHead, lifting_problem
from mtl_nlp.model.layers import mixing_problem, states_to_mix
from mtl_nlp.model.one_decoder import WithDecoder
from mtl_nlp.model.pretraining import adopt_pretrained
from mtl_nlp.model.sharing import WithAdapters
from mtl_nlp.model.sources import Source
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.after import check_after
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.text_generation import TextGeneration


class WithHeads(WithDecoder, WithAdapters):
    """A model of an encoder and heads whose tasks come and go.

    A head is the architecture's own where that computes the same off its stock model.
    """

    _pretrained: Source | None

    def add_task(self, name: str, task: Mapping[str, Any]) -> None:
        """Give the model a fresh head.

        The architecture's own head is taken where it computes the same on the shared encoder's
        states as in its stock model; else a plain linear one.

        Args:
            name: The task's name.
            task: ``type``, ``labels``, the type's options, and perhaps the name of an adapter as
                ``sharing``, of a model that has adapters.

        Raises:
            RecipeError: If the task is not well described.
            ValueError: If the model has a task of that name.
        """
        if name in self.tasks:
            raise ValueError(f"the model has a task {name!r} already; remove it first")
        settings = {key: value for key, value in task.items() if key not in ("type", "sharing")}
        built = build_task(name, task.get("type", ""), settings, where=f"tasks.{name}")
        if not built.labels and built.fewest_labels:
            raise RecipeError(
                f"tasks.{name}.labels: missing; without rows to learn them from, name all labels of"
                f" a {built.type} task"
            )
        try:
            self.set_head(built, adapter=task.get("sharing"))
        except ValueError as error:
            raise RecipeError(f"tasks.{name}: {error}") from error

    def set_head(self, task: Task, *, adapter: str | None = None) -> None:
        """Give the model a fresh head for a task that is already built.

        Args:
            task: The task.
            adapter: The name of its adapter, of a model that has some; by default as its others.
        """
        head: nn.Module
        check_after(task, self.tasks)
        if task.layers == "mix" and (problem := mixing_problem(self.encoder)):
            raise ModelError(f"tasks.{task.name}.layers: mix is not possible: {problem}")
        if isinstance(task, TextGeneration):
            head = self._build_head(task)
            head.apply(self._init_weights)
            self._put_head(self.with_decoder(task), head, adapter)
            return
        try:
            head = self.lifted_head(task)
        except ModelError:
            task = replace(task, stock=False)
            head = self._build_head(task)
            head.apply(self._init_weights)
        self._put_head(task, head, adapter)

    def lifted_head(self, task: Task) -> StockHead:
        """A fresh head for a task that is the architecture's own, lifted off its stock model.

        Raises:
            ModelError: If the task has no such head, or it does not compute the same off its model.
        """
        reason = task.own_head or ("its head reads those of other tasks" if task.after else "")
        if task.layers == "mix":
            reason = "its head reads a mix of the encoder's layers"
        if reason:
            raise ModelError(f"task {task.name!r}: {reason}")
        if not task.stock or task.auto_class is None:
            raise ModelError(f"task {task.name!r}: transformers has no {task.type} heads")
        try:
            head = task.build_head(self.config.encoder_config)
        except ValueError as error:
            raise ModelError(f"task {task.name!r}: {error}") from None
        assert isinstance(head, StockHead)
        encoder = self.stock_encoder()
        head.to(encoder.device, encoder.dtype)
        head.adopt_pooler(encoder)
        if isinstance(head, MaskedLanguageHead) and self._pretrained is not None:
            adopt_pretrained(head, self._pretrained, self.config.encoder_config)
        if problem := lifting_problem(head, encoder):
            raise ModelError(f"task {task.name!r}: {problem}")
        return head

    def remove_task(self, name: str) -> None:
        """Drop a task and its head, with the last one that generates the decoder too.

        Raises:
            ValueError: If the model has no such task, or another one reads it.
        """
        if name not in self.tasks:
            raise ValueError(f"no task {name!r}; the model has {', '.join(self.tasks)}")
        if readers := [other for other, task in self.tasks.items() if name in task.after]:
            raise ValueError(f"task {readers[0]!r} reads task {name!r}; remove that one first")
        del self.tasks[name], self.heads[name]
        self.config.remove_task(name)
        self.forget_adapter(name)
        self.share_decoder()

    def _build_head(self, task: Task) -> nn.Module:
        """A head for a task that is already built, its weights not yet initialised."""
        config = self.config.encoder_config
        head = task.build_head(config)
        if task.after:
            sizes = {name: len(self.tasks[name].logit_names) for name in task.after}
            head = ReadingHead(head, config.hidden_size, sizes)
        return MixingHead(head, states_to_mix(config)) if task.layers == "mix" else head

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, LayerMix):
            module.reset()

    def _put_head(self, task: Task, head: nn.Module, adapter: str | None = None) -> None:
        """Take in a task with its head, in the place of one of that name."""
        parameter = next(self.encoder.parameters())
        self.heads[task.name] = head.to(parameter.device, parameter.dtype).train(self.training)
        self.tasks[task.name] = task
        self.config.set_task(task)
        self.give_adapter(task.name, adapter)
        self.share_decoder()
