"""Labels of an evaluation that the evaluated model cannot predict, as warnings."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mtl_nlp.data.label_counts import listed
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.evaluation import LabelledRows


def unknown_labels(tasks: Mapping[str, Task], datasets: Sequence[LabelledRows]) -> list[str]:
    """A warning for each task some of whose rows have labels that it lacks.

    Args:
        tasks: Of the model, by name.
        datasets: The rows of one split, by dataset.
    """
    warnings = []
    for name, task in tasks.items():
        rows: Counter[str] = Counter()  # by label
        for dataset in datasets:
            for value in dataset.references.get(name, ()):
                if value is not None:
                    rows.update(set(task.occurrences(value)).difference(task.labels))
        if rows and task.labels:
            found = [f"{label} ({rows[label]:,})" for label in sorted(rows)]
            warnings.append(
                f"task {name!r}: labels that the model lacks, with the number of their rows:"
                f" {listed(found)}; they count as errors in scoring"
            )
    return warnings
