"""How often a task's labels occur in each split, and what is doubtful about that."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mtl_nlp.data.split_reading import Reading
from mtl_nlp.errors import DataError
from mtl_nlp.tasks.base import Task

_LISTED = 8  # names in one warning


@dataclass(frozen=True)
class LabelCounts:
    """A task's labels over all its datasets.

    Attributes:
        task: Which.
        counts: By split, how often each label occurs.
        missing: By split, rows without a label.
        labelled: By split, rows with one.
    """

    task: Task
    counts: dict[str, dict[str, int]]
    missing: dict[str, int]
    labelled: dict[str, int]

    @classmethod
    def of_task(cls, task: Task, datasets: Iterable[Mapping[str, Reading]]) -> "LabelCounts":
        """The labels of a task in its datasets' splits.

        Raises:
            DataError: If no row of train has one.
        """
        counts: dict[str, Counter[str]] = {}
        missing: Counter[str] = Counter()
        labelled: Counter[str] = Counter()
        for by_split in datasets:
            for split, reading in by_split.items():
                counts.setdefault(split, Counter(dict.fromkeys(task.labels, 0)))
                counts[split].update(reading.counts[task.name])
                absent = reading.values[task.name].count(None)
                missing[split] += absent
                labelled[split] += len(reading.inputs) - absent
        if not labelled["train"]:
            raise DataError(
                f"task {task.name!r}: none of the {missing['train']} rows of train has its label;"
                " check the label column"
            )
        plain = {split: dict(of_split) for split, of_split in counts.items()}
        return cls(task, plain, dict(missing), dict(labelled))

    def warnings(self, *, test: bool) -> list[str]:
        """Doubts about the labels; ``test``: whether any dataset has a test split."""
        where, train = f"task {self.task.name!r}", self.counts["train"]
        told = []
        if unseen := self._unseen():
            told.append(
                f"{where}: labels that train lacks: {listed(unseen)}; they count as errors in"
                " scoring"
            )
        known = [label for counts in self.counts.values() for label, n in counts.items() if n]
        if never := [label for label in self.task.labels if label not in known]:
            told.append(f"{where}: labels that no row has: {listed(never)}; nothing teaches them")
        if rare := [label for label, n in train.items() if n == 1]:
            told.append(f"{where}: labels that occur only once in train: {listed(rare)}")
        if not self.labelled.get("validation"):
            told.append(
                f"{where}: no row of validation has its label, so it has no part in choosing the"
                " best model"
            )
        if test and not self.labelled.get("test"):
            told.append(f"{where}: no row of test has its label, so it gets no test score")
        return told

    def _unseen(self) -> list[str]:
        """Labels of validation and test that train lacks, each with where it is."""
        later = {split: counts for split, counts in self.counts.items() if split != "train"}
        names = dict.fromkeys(
            label
            for counts in later.values()
            for label, n in counts.items()
            if n and not self.counts["train"].get(label)
        )
        return [
            f"{label} ("
            + ", ".join(
                f"{counts[label]} in {s}" for s, counts in later.items() if counts.get(label)
            )
            + ")"
            for label in names
        ]


def listed(names: Sequence[str]) -> str:
    """Names in a row, cut where there are many."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
