"""The heads of a model by task name, whatever the tasks are called."""

from collections.abc import Iterator
from typing import Any

from torch import nn

_TAKEN = frozenset(dir(nn.ModuleDict()))
"""What a module has itself, such as ``type``, ``train`` and ``keys``; no sub-module may be so."""


class HeadsByTask(nn.ModuleDict):
    """A ``ModuleDict`` that takes any task name.

    A head is the sub-module of its task's name, so its weights are ``<name>.…``; where torch needs
    that name for itself, it is ``<name>-``, which is no task's name.
    """

    def __getitem__(self, name: str) -> nn.Module:
        return super().__getitem__(_module_name(name))

    def __setitem__(self, name: str, head: nn.Module) -> None:
        super().__setitem__(_module_name(name), head)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(_module_name(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(_module_name(name))

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix("-") for name in self._modules)

    def keys(self) -> Any:
        """The tasks' names."""
        return dict.fromkeys(self).keys()

    def items(self) -> Any:
        """The tasks' names with their heads."""
        return dict(zip(self, self.values(), strict=True)).items()


def _module_name(task: str) -> str:
    return f"{task}-" if task in _TAKEN else task
