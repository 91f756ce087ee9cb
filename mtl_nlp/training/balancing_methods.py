"""TorchJD's scalarizers and aggregators by their names in a recipe, with their options.

A scalarizer makes one loss of the tasks' losses, an aggregator one gradient of the tasks'
gradients (TorchJD: Quinton & Rey, 2024, arXiv:2406.16232).
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor
from torchjd import aggregation, scalarization
from torchjd.aggregation import Aggregator
from torchjd.scalarization import Scalarizer

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.recipe_values import found
from mtl_nlp.suggest import did_you_mean

_ABSTRACT = ("Scalarizer", "Aggregator", "WeightedAggregator", "GramianWeightedAggregator")
_NUMBER_OF_TASKS = ("shape", "n_tasks")
"""Arguments that are filled here."""

_NEED_ALL = ("nash_mtl", "grad_vac", "excess_mtl", "pcd", "krum", "trimmed_mean")
"""They keep something by the row of a task, or compare a least number of rows."""

LEARNED = ("uw", "imtll")
"""Their parameters are learned with the model's; each task's part stands by itself."""
KNOWN_BEFORE = ("mean", "sum", "constant", "random", "dwa", *LEARNED)
"""Linear in the losses, by weights that do not depend on the losses of the step."""


@dataclass(frozen=True)
class Method:
    """A method with its options, ready to be made.

    Attributes:
        name: In a recipe.
        make: Makes it anew, for so many tasks as it was found for, or for one by itself.
        tasks: Their names, in the order of its values or rows.
        by_task: Those of its options that have a number for each task, (tasks,).
    """

    name: str
    make: Callable[[int], Any]
    tasks: tuple[str, ...]
    by_task: Mapping[str, Tensor]

    @property
    def aggregates(self) -> bool:
        """Whether it takes gradients instead of losses."""
        return issubclass(_methods()[self.name], Aggregator)

    @property
    def learns(self) -> bool:
        """Whether the optimizer learns parameters of it."""
        return self.name in LEARNED

    @property
    def needs_all(self) -> bool:
        """Whether a step that lacks a task is beyond it."""
        return self.name in _NEED_ALL

    def narrow(self, made: Any, present: Sequence[str], like: Tensor) -> None:
        """Give a made one its options for the tasks that a step has.

        Args:
            made: By `make`.
            present: Names of tasks.
            like: Where these are to be and in what precision.
        """
        kept = [self.tasks.index(name) for name in present]
        for option, values in self.by_task.items():
            setattr(made, option, values[kept].to(like))


def method_names() -> list[str]:
    """All that a recipe may name beside ``equal``."""
    return sorted(_methods())


def find_method(spec: BalancingSpec, tasks: Sequence[str]) -> Method:
    """What a recipe names.

    Args:
        spec: Method and options.
        tasks: Names of the tasks, in the recipe's order.

    Raises:
        RecipeError: If there is no such method, an option is unknown, missing or wrong, or the
            method needs packages that are not installed or more tasks than there are.
    """
    known = _methods()
    if spec.method not in known:
        raise RecipeError(
            f"balancing.method: no method `{spec.method}`;"
            f" {did_you_mean(spec.method, ['equal', *known])}"
        )
    method = known[spec.method]
    # Of the first task PCD follows the gradient, and it has options for the others.
    valued = tasks[1:] if spec.method == "pcd" else tasks
    arguments = _arguments(spec, method, valued)
    filled = set(inspect.signature(method).parameters).intersection(_NUMBER_OF_TASKS)

    def make(number: int) -> Any:
        return method(**arguments, **dict.fromkeys(filled, number))

    by_task = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, Tensor) and spec.method not in _NEED_ALL and spec.method != "famo"
    }
    result = Method(spec.method, make, tuple(tasks), by_task)
    _try(result)
    return result


def _methods() -> dict[str, type[Scalarizer] | type[Aggregator]]:
    """By name; a name that is both a scalarizer's and an aggregator's means the scalarizer."""
    found: dict[str, type[Scalarizer] | type[Aggregator]] = {}
    for module, base in ((aggregation, Aggregator), (scalarization, Scalarizer)):
        for name in module.__all__:
            kind = getattr(module, name)
            if issubclass(kind, base) and name not in _ABSTRACT:
                found[_split(name)] = kind
    return found


def _split(name: str) -> str:
    """A class name split at capitals.

    >>> [_split(name) for name in ("UW", "UPGrad", "NashMTL", "GeometricMean")]
    ['uw', 'up_grad', 'nash_mtl', 'geometric_mean']
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _arguments(
    spec: BalancingSpec, method: type[Scalarizer] | type[Aggregator], tasks: Sequence[str]
) -> dict[str, Any]:
    """The constructor's arguments, as it wants them."""
    hints = get_type_hints(method.__init__)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(method).parameters.items()
        if name not in _NUMBER_OF_TASKS and not _is_object(hints[name])
    }
    for name in spec.options:
        if name not in parameters:
            tail = did_you_mean(name, parameters) if parameters else "it has none"
            raise RecipeError(f"balancing.options: {spec.method} has no option `{name}`; {tail}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in spec.options:
            raise RecipeError(
                f"balancing.options: {spec.method} needs {name}, {_wanted(hints[name], tasks)};"
                f" give `options: {{{name}: …}}`"
            )
    return {
        name: _converted(f"balancing.options.{name}", value, hints[name], tasks)
        for name, value in spec.options.items()
    }


def _kinds(hint: Any) -> tuple[Any, ...]:
    """What an argument may be: the members of a union, or the one kind."""
    if get_origin(hint) is Literal or not get_args(hint):
        return (hint,)
    return get_args(hint)


def _is_object(hint: Any) -> bool:
    """Whether an argument is something that a recipe cannot say, such as a function."""
    sayable = (Tensor, float, int, type(None))
    return not any(kind in sayable or get_origin(kind) is Literal for kind in _kinds(hint)) or (
        # An object or None: the default.
        set(_kinds(hint)).isdisjoint((Tensor, float, int)) and get_origin(hint) is not Literal
    )


def _converted(place: str, value: Any, hint: Any, tasks: Sequence[str]) -> Any:
    """A value of YAML as an argument of that kind."""
    kinds = _kinds(hint)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if Tensor in kinds and isinstance(value, Mapping | list | tuple):
        return _by_task(place, value, tasks)
    if float in kinds and is_number:
        return float(value)
    if int in kinds and is_number and isinstance(value, int):
        return value
    if type(None) in kinds and value is None:
        return None
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    raise RecipeError(f"{place}: should be {_wanted(hint, tasks)}, found {found(value)}")


def _by_task(place: str, value: Any, tasks: Sequence[str]) -> Tensor:
    """A number for each task, (tasks,), in double precision."""
    if isinstance(value, Mapping):
        if unknown := [name for name in value if name not in tasks]:
            raise RecipeError(f"{place}: no task `{unknown[0]}`; {did_you_mean(unknown[0], tasks)}")
        if lacking := [name for name in tasks if name not in value]:
            raise RecipeError(f"{place}: no number for task `{lacking[0]}`; give each task one")
        value = [value[name] for name in tasks]
    wrong = [item for item in value if not isinstance(item, int | float) or isinstance(item, bool)]
    if wrong or len(value) != len(tasks):
        raise RecipeError(
            f"{place}: should be {_wanted(Tensor, tasks)}, found {found(list(value))}"
        )
    return torch.tensor(value, dtype=torch.float64)


def _wanted(hint: Any, tasks: Sequence[str]) -> str:
    """What an argument may be, in words."""
    words = {
        float: "a number",
        int: "a whole number",
        type(None): "null",
        Tensor: f"a number for each task ({', '.join(tasks)}), as {{task: number}} or a list",
    }
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    return " or ".join(words[kind] for kind in _kinds(hint) if kind in words)


def _try(method: Method) -> None:
    """Let it work once, so that whatever it cannot do is said before the training."""
    number = len(method.tasks)
    values = torch.linspace(0.5, 1.0, number, dtype=torch.float64)
    rows = torch.eye(number, number + 1) + 0.1
    try:
        made = method.make(number)
        method.narrow(made, method.tasks, rows if method.aggregates else values)
        if method.aggregates:
            made(rows)
        else:
            made.double()(values)
    except ImportError as error:
        raise RecipeError(f"balancing.method: {method.name}: {error}") from None
    except ValueError as error:
        raise RecipeError(
            f"balancing: {method.name} does not work for {number} tasks with these options: {error}"
        ) from None
