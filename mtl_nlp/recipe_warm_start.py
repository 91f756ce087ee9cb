"""Whose weights a training starts from, where they are not the encoder's own."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mtl_nlp.recipe_spec import Spec, Text


class WarmStartSpec(Spec):
    """A model of this package that a training starts from."""

    model: Text | None = None  # folder or Hub id; null: the encoder as it was pretrained
    heads: Annotated[bool, Field(strict=True)] = False  # also of tasks alike in name, type, labels

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.heads and self.model is None:
            raise ValueError("`heads: true` goes with `model`; name whose heads they are")
        return self
