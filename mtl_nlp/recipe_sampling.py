"""The part of a recipe that says how the datasets share the training steps."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mtl_nlp.recipe_spec import Count, Positive, Spec, Text
from mtl_nlp.recipe_values import found
from mtl_nlp.suggest import did_you_mean

# Strategy -> its options, each of which it needs.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "proportional": (),
    "round_robin": (),
    "uniform": (),
    "weights": ("weights",),
    "temperature": ("temperature",),
    "capped": ("cap",),
    "annealed": (),
    "main": ("main", "ratio"),
    "dynamic": ("targets",),
}

Score = Annotated[float, Field(strict=True, gt=0, le=1)]


class SamplingSpec(Spec):
    """How the datasets share the training steps; `mtl_nlp.data.strategies` has the formulas."""

    strategy: Literal[
        "proportional", "round_robin", "uniform", "weights", "temperature", "capped", "annealed",
        "main", "dynamic",
    ] = "proportional"  # fmt: skip
    mix: Literal["batch", "step"] = "batch"  # a step holds rows of every dataset, or of one
    weights: dict[str, Positive] | None = None  # of weights: {dataset: part of the draws}
    temperature: Positive | None = None  # of temperature: 1 = by size, the higher the more alike
    cap: Count | None = None  # of capped: the most rows that a dataset counts for
    main: Text | None = None  # of main: the main dataset
    ratio: Positive | None = None  # of main: rows of the others for each of its rows
    targets: dict[str, Score] | None = None  # of dynamic: {task: its score when trained alone}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        own = _OPTIONS[self.strategy]
        for strategy, keys in _OPTIONS.items():
            for key in keys:
                value = getattr(self, key)
                if key in own and value in (None, {}):
                    needs = " and ".join(f"`{one}`" for one in own)
                    raise ValueError(f"`strategy: {self.strategy}` needs {needs}")
                if key not in own and value is not None:
                    raise ValueError(
                        f"`{key}: {found(value)}` goes with `strategy: {strategy}`, not with"
                        f" `{self.strategy}`"
                    )
        return self

    @model_serializer(mode="wrap")
    def _without_foreign_options(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in whole(self).items() if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the strategy, by name."""
        return {key: getattr(self, key) for key in _OPTIONS[self.strategy]}

    def misnamed(
        self, datasets: Collection[str], tasks: Mapping[str, Collection[str]]
    ) -> Iterator[str]:
        """What it names and what is not there, or what it leaves without a share.

        Args:
            datasets: Their names.
            tasks: The datasets of each task.
        """
        yield from self._aimless(datasets, tasks)
        if self.main is not None and self.main not in datasets:
            hint = did_you_mean(self.main, datasets)
            yield f"sampling.main: there is no dataset `{self.main}`; {hint}"
        unknown = [name for name in self.weights or () if name not in datasets]
        for name in unknown:
            hint = did_you_mean(name, datasets)
            yield f"sampling.weights: there is no dataset `{name}`; {hint}"
        if self.weights is None or unknown:  # it may be the one that was meant
            return
        for name in datasets:
            if name not in self.weights:
                yield (
                    f"sampling.weights: dataset `{name}` has no weight, so nothing would be drawn"
                    " from it; give it one above 0, or take it out of the recipe"
                )

    def _aimless(
        self, datasets: Collection[str], tasks: Mapping[str, Collection[str]]
    ) -> Iterator[str]:
        unknown = [name for name in self.targets or () if name not in tasks]
        for name in unknown:
            hint = did_you_mean(name, tasks)
            yield f"sampling.targets: there is no task `{name}`; {hint}"
        if self.targets is None or unknown:
            return
        followed = {dataset for name in self.targets for dataset in tasks[name]}
        for name in datasets:
            own = [task for task, where in tasks.items() if name in where]
            if own and name not in followed:
                yield (
                    f"sampling.targets: no task of dataset `{name}` has a target that could be"
                    f" lagged behind; give one to {' or '.join(f'`{task}`' for task in own)}"
                )
