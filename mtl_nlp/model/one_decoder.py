"""The part of a model that its generation tasks share: one decoder, tied to the encoder."""

from typing import Any

from transformers import PreTrainedModel

from mtl_nlp.heads.by_task import HeadsByTask
from mtl_nlp.heads.decoder import Decoder, GenerationHead
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.generation import check_told_apart, fitted, load_decoder
from mtl_nlp.model.sources import Source
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.text_generation import TextGeneration


class WithDecoder(PreTrainedModel):
    """A model of an encoder and heads that has a decoder as long as one of its tasks generates.

    It comes with the first such task, from where the encoder came, and goes with the last one.

    Attributes:
        config: With the tasks and how the decoder generates.
        encoder: The shared encoder.
        tasks: The tasks, by name.
        heads: Their heads.
        source: Where the encoder came from.
        decoder: The decoder; None where no task generates.
    """

    config: MultiTaskConfig
    encoder: PreTrainedModel
    tasks: dict[str, Task]
    heads: HeadsByTask
    source: Source | None
    decoder: Decoder | None

    def build_decoder(self) -> None:
        """Make the decoder that the heads need, with initial weights."""
        self.decoder = None
        if self._writers():
            self.decoder = Decoder.fresh(self.config.encoder_config, self.config.generation)
            self.share_decoder()

    def with_decoder(self, task: TextGeneration) -> TextGeneration:
        """The task as the decoder can serve it, which is loaded if it is not there yet.

        Raises:
            RecipeError: If the task does not fit the decoder or the other tasks.
            ModelError: If there is no decoder, or it computes otherwise without its encoder.
            HubError: If the Hub refuses or cannot be reached.
        """
        check_told_apart(task, self.tasks.values())
        decoder = self.decoder
        if decoder is None and self.source is not None:
            decoder = load_decoder(self.source, self.config.encoder_config)
        elif decoder is None:  # the encoder has initial weights too
            decoder = Decoder.fresh(self.config.encoder_config)
        task = fitted(task, decoder, self.source)
        if self.decoder is None:
            parameter = next(self.encoder.parameters())
            self.decoder = decoder.to(parameter.device, parameter.dtype).train(self.training)
            self.config.generation = decoder.settings
            self.tie_weights()
        return task

    def share_decoder(self) -> None:
        """Give the decoder to every head that generates; drop it where there is none."""
        writers = self._writers()
        if self.decoder is not None and not writers:
            self.decoder = self.config.generation = None
        for head in writers:
            assert self.decoder is not None
            head.share(self.decoder)

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Weights that are one with others; transformers asks for them where it ties and loads."""
        tied: dict[str, str] = super().get_expanded_tied_weights_keys(all_submodels)
        if self.decoder is not None:
            for name, one in self.decoder.ties.items():
                here = one if one.startswith("encoder.") else f"decoder.stock.{one}"
                tied[f"decoder.stock.{name}"] = here
        return tied

    def tie_weights(
        self, missing_keys: set[str] | None = None, recompute_mapping: bool = True
    ) -> None:
        """Make tied weights one; while loading, but those that the file has apart."""
        super().tie_weights(missing_keys, recompute_mapping)
        if missing_keys is not None and self.decoder is not None:
            tied: dict[str, Any] = self.all_tied_weights_keys
            self.decoder.ties = {
                name: one
                for name, one in self.decoder.ties.items()
                if f"decoder.stock.{name}" in tied
            }

    def _writers(self) -> list[GenerationHead]:
        return [head for head in self.heads.modules() if isinstance(head, GenerationHead)]
