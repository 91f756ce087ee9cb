"""What every part of a recipe is: frozen, and checked at the door."""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Spec(BaseModel):
    """A part of a recipe: frozen, no unknown keys, null where a key's default shall hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, content: Any) -> Any:
        return without_nulls(content, cls.model_fields)


def without_nulls(content: Any, known: Collection[str]) -> Any:
    """A mapping without those of the known keys that are null; anything else as it is."""
    if not isinstance(content, dict):
        return content
    return {key: item for key, item in content.items() if item is not None or key not in known}
