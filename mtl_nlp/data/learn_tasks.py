"""What tasks learn from the label columns of their training rows, such as their labels."""

from collections.abc import Iterator, Mapping, Sequence

from datasets import Dataset

from mtl_nlp.data.binding import Binding
from mtl_nlp.errors import DataError
from mtl_nlp.tasks.base import Fields, Task


def learn_tasks(
    tasks: Mapping[str, Task],
    bindings: Sequence[Binding],
    splits: Mapping[str, Mapping[str, Dataset]],
) -> dict[str, Task]:
    """The tasks with what their training rows teach them.

    Args:
        tasks: As `bind_tasks` gives them.
        bindings: Likewise.
        splits: By dataset and split.

    Raises:
        DataError: If a column is missing or the rows teach nothing usable.
    """
    learned = {}
    for name, task in tasks.items():
        own = [binding for binding in bindings if binding.task == name]
        for binding in own:
            for split, dataset in splits[binding.dataset].items():
                binding.check(split, dataset)
        given = [b.class_names(splits[b.dataset]["train"].features) for b in own]
        names = [n for names in given if names for n in names] if all(given) else None
        rows = _TrainingRows(own, splits)
        try:
            learned[name] = task.learn(rows, list(dict.fromkeys(names)) if names else None)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{rows.place}: task {name!r}: {error}") from error
    return learned


class _TrainingRows:
    """The label columns of a task's training rows; knows which row it has come to."""

    def __init__(
        self, bindings: Sequence[Binding], splits: Mapping[str, Mapping[str, Dataset]]
    ) -> None:
        self._bindings, self._splits = bindings, splits
        self._here: tuple[Binding, int] | None = None

    def __iter__(self) -> Iterator[Fields]:
        for binding in self._bindings:
            for row, fields in enumerate(binding.column(self._splits[binding.dataset]["train"])):
                self._here = binding, row
                yield fields
        self._here = None

    @property
    def place(self) -> str:
        """The row, or all the datasets where the rows are not being gone through."""
        if self._here is None:
            return f"dataset {', '.join(repr(b.dataset) for b in self._bindings)}, split train"
        binding, row = self._here
        columns = ", ".join(binding.columns.values())
        return f"dataset {binding.dataset!r}, split train, row {row}, column {columns}"
