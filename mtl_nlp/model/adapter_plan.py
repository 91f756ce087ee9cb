"""What of an encoder learns, where that is not all of it: which modules, and for which tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_sharing import ALL_LINEAR, SharingSpec
from mtl_nlp.suggest import did_you_mean

_ATTENTION = ("attention", "attn")


@dataclass(frozen=True)
class Base:
    """The encoder on the Hub that adapters stand beside.

    Attributes:
        name: ``org/name``.
        revision: Its commit, 40 hexadecimal digits.
    """

    name: str
    revision: str


@dataclass(frozen=True)
class Sharing:
    """What of an encoder learns, and for whom, as a model's configuration keeps it.

    Attributes:
        spec: As a recipe says it, with the names of the modules that are adapted.
        adapters: By task the name of its adapter.
        base: Whose weights are not saved; None: all are saved.
    """

    spec: SharingSpec
    adapters: Mapping[str, str]
    base: Base | None = None

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Sharing":
        """What `saved_form` gave.

        Raises:
            ValueError: If it is none.
        """
        rest = dict(saved)
        adapters, base = rest.pop("adapters"), rest.pop("base")
        return cls(SharingSpec(**rest), dict(adapters), Base(**base) if base else None)

    def saved_form(self) -> dict[str, Any]:
        """All of it as JSON values."""
        base = None if self.base is None else asdict(self.base)
        return {**self.spec.model_dump(), "adapters": dict(self.adapters), "base": base}

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters, in an order that does not depend on that of the tasks."""
        return tuple(sorted(set(self.adapters.values())))


def find_targets(encoder: nn.Module, targets: Sequence[str] | str | None) -> list[str]:
    """The shortest names by which PEFT finds the linear layers that are to be adapted.

    Args:
        encoder: Without adapters.
        targets: As in `SharingSpec`; a name means every module whose dotted name ends with it.

    Raises:
        RecipeError: If a name means no linear layer, or none is left.
    """
    linear = [name for name, one in encoder.named_modules() if _adaptable(name, one)]
    if targets == ALL_LINEAR:
        chosen = linear
    elif targets is None:
        chosen = [name for name in linear if in_attention(name)]
    else:
        for target in targets:
            if not any(_ends(name, target) for name in linear):
                known = sorted({name.rpartition(".")[2] for name in linear})
                raise RecipeError(
                    f"sharing.targets: no linear layer of the encoder is called {target!r};"
                    f" {did_you_mean(target, known)}"
                )
        chosen = [name for name in linear if any(_ends(name, target) for target in targets)]
    if not chosen:
        raise RecipeError(
            f"sharing.targets: {type(encoder).__name__} has no linear layers in its attention; use"
            f" {ALL_LINEAR}, or name the modules"
        )
    others = [name for name, _ in encoder.named_modules() if name not in set(chosen)]
    return sorted({_shortest(name, others) for name in chosen})


def is_target(module: str, sharing: Sharing) -> bool:
    """Whether a module of that dotted name is adapted."""
    return any(_ends(module, target) for target in sharing.spec.targets or ())


def _adaptable(name: str, module: nn.Module) -> bool:
    # Heads pool by themselves: what the encoder's own pooler makes is read by nobody.
    return isinstance(module, nn.Linear) and "pooler" not in name.split(".")


def in_attention(name: str) -> bool:
    """Whether a module of that dotted name is part of an encoder's attention."""
    return any(word in name.lower() for word in _ATTENTION)


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _shortest(name: str, others: Sequence[str]) -> str:
    """The shortest end of a module's name that is not the end of one of the others'."""
    parts = name.split(".")
    ends = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((end for end in ends if not any(_ends(other, end) for other in others)), name)
