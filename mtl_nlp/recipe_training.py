"""The part of a recipe that says how long, how fast and in what pieces is trained."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from mtl_nlp import recipe_values as values
from mtl_nlp.recipe_regularization import RegularizationSpec
from mtl_nlp.recipe_spec import Count, Fraction, Positive, Spec, Text, without_nulls


class TrainingSpec(Spec):
    """Length, size and rates of the training."""

    epochs: Count | None = 3  # passes; null where max_steps is given
    max_steps: Count | None = None  # optimizer steps, instead of epochs
    batch_size: Count = 32  # dataset rows per optimizer step, over all devices and accumulation
    micro_batch_size: Count = 32  # the most encoder rows in one forward
    micro_batch_tokens: Count | None = None  # the most tokens in it, padding too; null: any number
    gradient_checkpointing: Annotated[bool, Field(strict=True)] = False  # less memory, slower
    learning_rate: Positive = 1e-4  # at its peak
    learning_rates: dict[Text, Positive] = {}  # of parts, by patterns of their parameters' names
    layer_decay: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0  # of it, a layer down
    frozen: list[Text] = []  # parts that do not learn, by patterns of their parameters' names
    unfreeze: Annotated[str | int | None, PlainValidator(values.unfreezing_interval)] = (
        None  # epoch or steps from one encoder layer to the next, heads first; null: all at once
    )
    ema: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None  # decay of an average
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup: Fraction = 0.1  # share of the steps
    weight_decay: Annotated[float, Field(strict=True, ge=0)] = 0.01  # per step, times learning rate
    regularization: RegularizationSpec | None = None  # added to the losses; null: nothing
    max_grad_norm: Positive = 1.0  # Euclidean, over all parameters
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: what the device does well
    checkpoint_every: Count | None = None  # optimizer steps; null: whenever it evaluates
    keep_checkpoints: Count = 2  # the newest so many
    early_stopping: Count | None = None  # evaluations without a better score; null: never
    max_skipped: Annotated[int, Field(strict=True, ge=0)] = 3  # steps in a row, loss not finite
    trackers: list[Text] = []  # Accelerate's: tensorboard, wandb, trackio …

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, content: Any) -> Any:
        content = without_nulls(content, cls.model_fields)
        if not isinstance(content, dict) or "max_steps" not in content:
            return content
        if "epochs" in content:
            epochs, max_steps = content["epochs"], content["max_steps"]
            raise ValueError(f"has both `epochs: {epochs}` and `max_steps: {max_steps}`; keep one")
        return {**content, "epochs": None}

    def steps(self, rows: int) -> int:
        """Optimizer steps of the training, where all train splits together hold `rows` rows.

        >>> TrainingSpec(epochs=2, batch_size=32).steps(rows=33)
        4
        """
        if self.max_steps is not None:
            return self.max_steps
        return (self.epochs or 0) * math.ceil(rows / self.batch_size)
