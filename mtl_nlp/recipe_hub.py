"""Where a recipe's model is published."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from mtl_nlp import recipe_values as values
from mtl_nlp.recipe_spec import Spec, Text


class HubSpec(Spec):
    """Where the model is published."""

    repo_id: Annotated[Text | None, AfterValidator(values.repo_id)] = (
        None  # name or org/name; null: nowhere
    )
    private: bool = True  # seen by its owners only
    push: Literal["never", "end", "checkpoint"] = "end"  # when it is sent
