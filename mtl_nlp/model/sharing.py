"""The part of a model that says what of its encoder each task has alone: adapters.

What needs PEFT is imported where it is used: without adapters nothing waits for it.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.model.adapted_rows import Encoded, read_adapted
from mtl_nlp.model.adapter_plan import Base, Sharing, find_targets
from mtl_nlp.model.batch import Targets
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.sources import Source
from mtl_nlp.recipe_sharing import SHARED, SharingSpec
from mtl_nlp.tasks.base import Task


class WithAdapters(PreTrainedModel):
    """A model of an encoder and heads whose tasks may have adapters beside a frozen encoder.

    Attributes:
        config: With what is shared, and the adapter of each task.
        encoder: The shared encoder, adapters included.
        tasks: The tasks, by name.
        heads: Their heads.
        source: Where the encoder came from.
    """

    config: MultiTaskConfig
    encoder: PreTrainedModel
    tasks: dict[str, Task]
    heads: HeadsByTask
    source: Source | None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load a saved model; its encoder from where it came, if that was not saved with it."""
        name = os.fspath(pretrained_model_name_or_path)
        place = {key: kwargs[key] for key in ("revision", "token", "cache_dir") if key in kwargs}
        config = kwargs.get("config") or MultiTaskConfig.from_pretrained(name, **place)
        sharing = None if config.sharing is None else Sharing.of(config.sharing)
        if sharing is not None and sharing.base is not None:
            from mtl_nlp.model import trained_part

            source = Source(name, kwargs.get("revision"), kwargs.get("token"))
            source = replace(source, revision=trained_part.commit_of(source))
            state = trained_part.whole_state(source, sharing, sharing.base)
            kwargs |= {"config": config, "state_dict": state}
            loaded: Any = super().from_pretrained(None, *args, **kwargs)
        else:
            loaded = super().from_pretrained(name, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.sharing is not None:
            from mtl_nlp.model import adapters

            adapters.freeze(model.encoder, model.sharing)
        return loaded

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """Save the model; of its encoder only what was trained, if that is how it shares."""
        sharing = self.sharing
        if sharing is not None and sharing.base is not None:
            from mtl_nlp.model import trained_part

            kwargs["state_dict"] = trained_part.trained_state(self, self.encoder, sharing)
            trained_part.save_adapters(self.encoder, sharing, Path(save_directory))
        super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def sharing(self) -> Sharing | None:
        """What of the encoder learns, and for whom; None: all of it, for all."""
        saved = self.config.sharing
        return None if saved is None else Sharing.of(saved)

    def share(self, spec: SharingSpec, named: Mapping[str, str | None] | None = None) -> None:
        """Freeze the encoder, and give its tasks adapters that as yet change nothing.

        Args:
            spec: What kind of adapters, and where.
            named: By task the adapter that it is to have, where that is not what ``spec`` says.

        Raises:
            RecipeError: If the encoder has no such modules, its rows cannot have different
                adapters, or only what is trained is to be saved and the encoder is not the Hub's.
            ModelError: If the encoder has adapters already.
        """
        if spec.method == "full":
            return
        if self.sharing is not None:
            raise ModelError("the encoder has adapters already; merge_and_unload() them first")
        own = {name: name if spec.per_task else SHARED for name in self.tasks}
        given = {name: (named or {}).get(name) or one for name, one in own.items()}
        targets = find_targets(self.encoder, spec.targets)
        base = self._base() if spec.save == "trained" else None
        spec = spec.model_copy(update={"targets": targets})
        self._give(Sharing(spec, given, base))

    def build_adapters(self) -> None:
        """Make the adapters that the configuration has, with initial weights."""
        if (sharing := self.sharing) is not None:
            from mtl_nlp.model import adapters

            adapters.put_in(self.encoder, sharing, sharing.names)
            self._routed()
            adapters.freeze(self.encoder, sharing)

    def give_adapter(self, task: str, name: str | None = None) -> None:
        """Let a task that is new have its adapter: the one named, or as the model's others have."""
        sharing = self.sharing
        if sharing is None or task in sharing.adapters:
            return
        adapter = name or (task if sharing.spec.per_task else SHARED)
        self._give(replace(sharing, adapters={**sharing.adapters, task: adapter}))

    def forget_adapter(self, task: str) -> None:
        """Drop a task's adapter, unless another task has it too."""
        if (sharing := self.sharing) is None:
            return
        from mtl_nlp.model import adapters

        rest = {name: one for name, one in sharing.adapters.items() if name != task}
        left = replace(sharing, adapters=rest)
        for gone in set(sharing.names) - set(left.names) if rest else ():
            adapters.drop(self.encoder, gone)
        self.config.sharing = left.saved_form()
        if rest:
            self._routed()
            adapters.freeze(self.encoder, left)

    def adapter_of(self, task: str) -> str:
        """The adapter that a task has; none has a name where the whole encoder is shared."""
        saved = self.config.sharing
        return "" if saved is None else str(saved["adapters"][task])

    def copies(self, tasks: Collection[str]) -> int:
        """How many times a row that all these tasks read goes through the encoder, at most."""
        return len({self.adapter_of(name) for name in tasks}) or 1

    def merge_and_unload(self) -> None:
        """Make the encoder a plain one again, with the change of its one adapter in its weights.

        It computes the same to rounding, and all of it learns from now on.

        Raises:
            ModelError: If there is no adapter, or there are several, which no one encoder can hold.
        """
        sharing = self.sharing
        if sharing is None:
            raise ModelError("the encoder has no adapters to merge")
        if len(sharing.names) > 1:
            raise ModelError(
                f"adapters {', '.join(sharing.names)} cannot all be merged into one encoder; export"
                " a task, which merges its own, or keep the model as it is"
            )
        from mtl_nlp.model import adapters, routing

        routing.stop_routing(self.encoder)
        adapters.take_out(self.encoder, *sharing.names)
        self.config.sharing = None

    def stock_encoder(self, task: str | None = None) -> PreTrainedModel:
        """The encoder without adapters, and with a task's merged into its weights, to rounding.

        The model's own where it has none, else a copy.
        """
        if self.sharing is None:
            return self.encoder
        from mtl_nlp.model import adapters, routing

        copied = adapters.plain_copy(self.encoder, None if task is None else self.adapter_of(task))
        routing.stop_routing(copied)
        return copied

    def count_adapters(self) -> dict[str, Any]:
        """Parameters of each adapter; nothing where there is none."""
        if (sharing := self.sharing) is None:
            return {}
        from mtl_nlp.model import adapters

        weights = {name: adapters.adapter_parameters(self.encoder, name) for name in sharing.names}
        return {
            "adapters": {name: sum(p.numel() for p in own) for name, own in weights.items()},
        }

    def own_parameters(self, taught: Collection[str]) -> Iterator[nn.Parameter]:
        """What tasks other than these have alone: their heads, and adapters of none of these."""
        for name in self.tasks.keys() - set(taught):
            yield from self.heads[name].parameters()
        if (sharing := self.sharing) is not None:
            from mtl_nlp.model import adapters

            for adapter in set(sharing.names) - {self.adapter_of(name) for name in taught}:
                yield from adapters.adapter_parameters(self.encoder, adapter)

    def read_by_adapter(
        self,
        encode: Callable[..., Encoded],
        inputs: Mapping[str, Tensor],
        wanted: Mapping[str, Targets | None],
        sources: Tensor | None,
    ) -> dict[str, Encoded]:
        """The states that each adapter's tasks read, (rows, seq_len, hidden), by one forward.

        A row that tasks with several adapters read is several rows of that forward. Where a row is
        none of an adapter's, its states are zeros.

        Args:
            encode: The encoder: from its input, each (rows, seq_len), to its last layer and the
                tasks' mixes of all layers.
            inputs: Its input.
            wanted: By task the texts that it speaks of; None: all.
            sources: The text that each row is a window of, (rows,); None: each is one.
        """
        sharing = self.sharing
        if sharing is None:
            return {"": encode(**inputs)}
        if len(sharing.names) == 1:
            return {sharing.names[0]: encode(**inputs)}
        names = dict.fromkeys(map(self.adapter_of, wanted))
        texts = {
            adapter: [target for name, target in wanted.items() if self.adapter_of(name) == adapter]
            for adapter in names
        }
        return read_adapted(encode, inputs, texts, sharing.names, sources)

    def _give(self, sharing: Sharing) -> None:
        """Put in the adapters that are not there yet, and have each row find its own."""
        from mtl_nlp.model import adapters, routing

        before = () if self.sharing is None else self.sharing.names
        adapters.put_in(
            self.encoder, sharing, [name for name in sharing.names if name not in before]
        )
        self.config.sharing = sharing.saved_form()
        self._routed()
        adapters.freeze(self.encoder, sharing)
        several = len(sharing.names) > 1
        if several and (problem := routing.routing_problem(self.encoder, sharing.names)):
            raise RecipeError(
                f"sharing: {type(self.encoder).__name__} cannot have several adapters in one"
                f" batch: {problem}; share one adapter, or name other sharing.targets"
            )

    def _routed(self) -> None:
        if (sharing := self.sharing) is not None:
            from mtl_nlp.model import routing

            routing.route_through(self.encoder, sharing.names)

    def _base(self) -> Base:
        """Where on the Hub the encoder came from.

        Raises:
            RecipeError: If it did not, or has other weights by now.
        """
        from mtl_nlp.model import trained_part

        commit = None if self.source is None else trained_part.commit_of(self.source)
        if self.source is None or commit is None:
            raise RecipeError(
                "sharing.save: `trained` leaves the encoder's weights to the Hub, but"
                f" {self.source or 'this encoder'} is no repository there, so nobody else could"
                " load the model; use `all`, or name the encoder by its Hub id"
            )
        if not trained_part.has_weights_of(self.encoder, replace(self.source, revision=commit)):
            raise RecipeError(
                "sharing.save: `trained` leaves the encoder's weights to the Hub, but those of this"
                f" encoder are no longer those of {self.source}, as after a warm start or a merge;"
                " use `all`"
            )
        return Base(self.source.name, commit)
