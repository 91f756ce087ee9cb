"""What a saved model says of itself: its encoder, its tasks, how texts become rows."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from mtl_nlp.recipe import LongText
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.own import is_own
from mtl_nlp.words import WORD_PATTERN


class MultiTaskConfig(PreTrainedConfig):
    """Configuration of a `MultiTaskModel`.

    Args:
        encoder_config: Configuration of the shared encoder, or its dictionary.
        tasks: Name, type, label names and options of each, as `saved_form` writes them; a list,
            since transformers sorts the keys of what it saves and tasks have an order.
        max_seq_length: Sub-words of one encoder row.
        word_pattern: Regular expression of the words in raw text.
        join: What stands between words that come as a list.
        long_text: What becomes of a text that is longer: ``cut`` or ``windows``.
        stride: Sub-words that a window shares with the one before it.
        generation: How the checkpoint's decoder generates, where a task needs it; None: as the
            encoder's configuration says.
        sharing: What of the encoder the tasks share, and the adapter of each, as
            `mtl_nlp.model.adapters.Sharing` writes it; None: all of it.
    """

    model_type = "mtl_nlp"
    sub_configs = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        tasks: Sequence[Mapping[str, Any]] = (),
        max_seq_length: int = 128,
        word_pattern: str = WORD_PATTERN,
        join: str = " ",
        long_text: LongText = "cut",
        stride: int = 32,
        generation: Mapping[str, Any] | None = None,
        sharing: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(encoder_config, dict):
            encoder_config = AutoConfig.for_model(**encoder_config)
        # transformers builds an empty configuration to find out what is not a default.
        self.encoder_config = encoder_config or AutoConfig.for_model("bert")
        self.tasks = [dict(task) for task in tasks]
        self.max_seq_length = max_seq_length
        self.word_pattern = word_pattern
        self.join = join
        self.long_text = long_text
        self.stride = stride
        self.generation = None if generation is None else dict(generation)
        self.sharing = None if sharing is None else dict(sharing)
        # Without it transformers would reset the attention of an encoder that is already built.
        kwargs.setdefault("attn_implementation", self.encoder_config._attn_implementation)
        super().__init__(**kwargs)

    def get_text_config(
        self, decoder: bool | None = None, encoder: bool | None = None
    ) -> PreTrainedConfig:
        """The encoder's configuration, which holds the vocabulary's size."""
        del decoder, encoder
        return self.encoder_config

    def build_tasks(self, own: Mapping[str, type[Task]] | None = None) -> dict[str, Task]:
        """The tasks by name; those of a type of somebody's own only where it is given.

        Args:
            own: Types that are not this package's, by their name in the configuration.

        Raises:
            RecipeError: If a task's type or options are not known to this version.
        """
        tasks: dict[str, Task] = {}
        for saved in self.tasks:
            settings = dict(saved)
            name, kind = settings.pop("name"), settings.pop("type")
            where = f"config.json: tasks.{name}"
            if is_own(kind) and kind not in (own or {}):
                warnings.warn(
                    f"{where} is left out: its type {kind!r} is not of this package; hand it over,"
                    f" task_types={{{kind!r}: …}}",
                    stacklevel=2,
                )
                continue
            if lost := [other for other in settings.get("after", ()) if other not in tasks]:
                warnings.warn(
                    f"{where} is left out: it reads task {lost[0]!r}, which is not there",
                    stacklevel=2,
                )
                continue
            tasks[name] = build_task(name, kind, settings, where=where, own=own)
        return tasks

    def set_task(self, task: Task) -> None:
        """Add a task; one of its name is forgotten."""
        self.remove_task(task.name)
        self.tasks.append(saved_form(task))

    def remove_task(self, name: str) -> None:
        """Forget a task."""
        self.tasks = [task for task in self.tasks if task["name"] != name]


def set_dropout(config: PreTrainedConfig, dropout: float) -> None:
    """Set every dropout probability that an encoder's configuration has."""
    for name, value in config.to_dict().items():
        named = "dropout" in name or "drop_rate" in name
        # DistilBERT and its kind write 0 as an int; a None falls back on another dropout.
        if named and isinstance(value, float | int) and not isinstance(value, bool):
            setattr(config, name, dropout)
