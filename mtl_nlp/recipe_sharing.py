"""The part of a recipe that says what of the encoder the tasks share, and what each has alone."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_mistakes import mistake, together
from mtl_nlp.recipe_spec import Count, Positive, Spec
from mtl_nlp.recipe_values import found

SHARED = "shared"
"""Name of the adapter of all tasks that have none of their own."""
ALL_LINEAR = "all-linear"
"""Stands for every linear layer of an encoder, as in PEFT."""

# Method -> its options.
_OF_ANY = ("targets", "per_task", "layer_norms", "save")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "full": (),
    "lora": ("rank", "alpha", "dropout", *_OF_ANY),
    "ia3": _OF_ANY,
}
_REFUSED = {
    **dict.fromkeys(
        ("adapter", "adapters", "bottleneck", "houlsby", "pfeiffer"),
        "PEFT has no bottleneck adapters, and other libraries of them take an encoder's layers"
        " apart, so that no head could be exported",
    ),
    **dict.fromkeys(
        ("prompt_tuning", "prefix_tuning", "p_tuning", "prompt"),
        "it puts learned sub-words before every row, so that a text's own are counted otherwise",
    ),
    **dict.fromkeys(
        ("dora", "adalora", "vera", "loha", "lokr"),
        "PEFT computes no batch whose rows have different adapters of it",
    ),
}


class _Task(Protocol):
    """What is asked of a task of a recipe."""

    sharing: str | None

    @property
    def model_extra(self) -> dict[str, Any] | None:
        """Keys of the task type's own."""


class _Regularization(Protocol):
    """What is asked of a recipe's ``training.regularization``."""

    @property
    def method(self) -> str:
        """Its name."""


class _Training(Protocol):
    """What is asked of a recipe's ``training``."""

    @property
    def regularization(self) -> _Regularization | None:
        """What is added to the losses."""


def _method(value: Any) -> Any:
    if isinstance(value, str) and (reason := _REFUSED.get(value)):
        raise ValueError(f"should be {_listed()}, found {value!r}: {reason}")
    return value


def _targets(value: Any) -> Any:
    names = [value] if isinstance(value, str) and value != ALL_LINEAR else value
    if names == ALL_LINEAR or (
        isinstance(names, list | tuple) and names and all(isinstance(n, str) and n for n in names)
    ):
        return names if names == ALL_LINEAR else list(names)
    raise ValueError(
        f"should be {ALL_LINEAR} or a list of names of modules, such as [query, value], found"
        f" {found(value)}"
    )


def _listed() -> str:
    *first, last = _OPTIONS
    return f"{', '.join(first)} or {last}"


class SharingSpec(Spec):
    """What of the encoder learns: all of it, or adapters beside its frozen weights (PEFT)."""

    method: Annotated[Literal["full", "lora", "ia3"], BeforeValidator(_method)] = "full"
    rank: Count = 8  # of lora: of a weight's change
    alpha: Positive | None = None  # of lora: the change is times alpha / rank; null: 2 x rank
    dropout: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0  # of lora: of what it reads
    # Names of the encoder's modules, or all-linear; null: the projections of its attention.
    targets: Annotated[list[str] | Literal["all-linear"] | None, PlainValidator(_targets)] = None
    per_task: bool = False  # an adapter for each task, but where tasks name one; else one for all
    layer_norms: bool = False  # the encoder's LayerNorms learn too, shared by all tasks
    save: Literal["all", "trained"] = "all"  # trained: the Hub's encoder is named, not saved

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        own = _OPTIONS[self.method]
        for key in self.model_fields_set - {"method", *own}:
            methods = [method for method, keys in _OPTIONS.items() if key in keys]
            raise ValueError(
                f"`{key}: {found(getattr(self, key))}` goes with `method: {' or '.join(methods)}`,"
                f" not with `{self.method}`"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_foreign_options(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own = ("method", *_OPTIONS[self.method])
        fields = type(self).model_fields
        return {k: v for k, v in whole(self).items() if k in own or v != fields[k].default}

    def adapters(self, tasks: Mapping[str, _Task]) -> dict[str, str]:
        """The adapter of each task; none where the whole encoder learns."""
        if self.method == "full":
            return {}
        own = {name: name if self.per_task else SHARED for name in tasks}
        return {name: task.sharing or own[name] for name, task in tasks.items()}

    def misnamed(self, tasks: Mapping[str, _Task]) -> Iterator[str]:
        """What is wrong between it and the tasks."""
        adapters = self.adapters(tasks)
        for name, task in tasks.items():
            if self.method == "full":
                if task.sharing is not None:
                    yield (
                        f"tasks.{name}.sharing: `{task.sharing}` names an adapter, but the whole"
                        " encoder learns; set sharing.method to lora or ia3, or take the key out"
                    )
                continue
            read = (task.model_extra or {}).get("after")
            for other in [read] if isinstance(read, str) else read or ():
                if adapters.get(other) not in (None, adapters[name]):
                    yield (
                        f"tasks.{name}.after: it reads `{other}` from its own hidden states, so"
                        f" both need the same adapter, found `{adapters[name]}` and"
                        f" `{adapters[other]}`; give task `{name}` the key `sharing:"
                        f" {adapters[other]}`"
                    )

    def clashes(self, training: _Training, tasks: Mapping[str, _Task]) -> Iterator[str]:
        """What is asked of the training that adapters leave nothing of."""
        if self.method == "full":
            return
        for key in ("unfreeze", "layer_decay"):
            if getattr(training, key) not in (None, 1.0):
                yield (
                    f"training.{key}: it is about the layers of an encoder that learns, but"
                    f" `sharing.method: {self.method}` freezes the encoder; leave one of the two"
                    " out (training.learning_rates can name the adapters)"
                )
        added = training.regularization
        several = len(set(self.adapters(tasks).values())) > 1
        if several and added is not None and added.method == "smart":
            yield (
                "training.regularization.method: smart moves the embeddings of each row, but with"
                " several adapters a row may go through the encoder several times; use r_drop, or"
                " let the tasks share one adapter"
            )


class _Place(Spec):
    """A recipe as far as its key goes."""

    sharing: SharingSpec = SharingSpec()


def sharing_spec(content: Mapping[str, Any]) -> SharingSpec:
    """What a mapping with the keys of a recipe's ``sharing`` says.

    Raises:
        RecipeError: Listing every mistake.
    """
    try:
        return _Place.model_validate({"sharing": dict(content)}).sharing
    except ValidationError as error:
        mistakes = [mistake(one, _Place) for one in error.errors(include_url=False)]
        raise RecipeError(together(mistakes)) from None
