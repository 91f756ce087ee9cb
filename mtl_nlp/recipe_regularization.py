"""The part of a recipe that says how predictions are kept from changing with what means nothing."""

from typing import Any, Literal, Self

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from mtl_nlp.recipe_spec import Positive, Spec
from mtl_nlp.recipe_values import found

_OF_SMART = ("norm", "radius", "step_size", "noise")
_RADII = {"inf": 0.003, "l2": 0.1}


class RegularizationSpec(Spec):
    """What is added to the tasks' losses; `docs/regularization.md` has the formulas."""

    method: Literal["r_drop", "smart"]  # compare two dropouts, or a perturbed input
    weight: Positive | dict[str, Positive] = 1.0  # factor of it, of all tasks or {task: factor}
    norm: Literal["inf", "l2"] | None = None  # of smart: greatest entry, or Euclidean; null: inf
    radius: Positive | None = None  # of smart: most that a row is moved; null: inf 0.003, l2 0.1
    step_size: Positive | None = None  # of smart: of the ascent, in the norm; null: 100 radii
    noise: Positive | None = None  # of smart: deviation of its start; null: a tenth of the radius

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [key for key in _OF_SMART if getattr(self, key) is not None]
        if self.method != "smart" and given:
            raise ValueError(
                f"`{given[0]}: {found(getattr(self, given[0]))}` goes with `method: smart`, not"
                f" with `{self.method}`"
            )
        if self.weight == {}:
            raise ValueError("`weight` names no task; give a number, or {task: number}")
        return self

    @model_serializer(mode="wrap")
    def _without_foreign_options(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in whole(self).items() if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The options of `smart`, defaults filled in."""
        norm = self.norm or "inf"
        radius = self.radius or _RADII[norm]
        step_size, noise = self.step_size or 100 * radius, self.noise or radius / 10
        return {"norm": norm, "radius": radius, "step_size": step_size, "noise": noise}
