"""What tasks learn from validation about decoding, such as thresholds; kept in the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list

from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.base import Encoding, Task
from mtl_nlp.training.evaluation import LabelledRows, labelled_tasks


def tune_tasks(predictor: Predictor, validation: Sequence[LabelledRows]) -> None:
    """Let every task that ``tunes`` learn from validation.

    With several processes each goes through all rows, and all take what the first one found, since
    other devices may compute other last bits.

    Args:
        predictor: Of the model; its tasks and configuration change.
        validation: Labelled rows, one entry per dataset.
    """
    tasks = predictor.model.tasks
    labelled = labelled_tasks(validation)
    names = [name for name in tasks if name in labelled and tasks[name].tunes]
    if not names:
        return
    logits, encodings, references = _predicted(predictor, validation, names)
    tuned = {
        name: tasks[name].tune(_filled(logits[name]), encodings[name], references[name])
        for name in names
    }
    set_tasks(predictor.model, broadcast_object_list([tuned])[0])


def set_tasks(model: MultiTaskModel, tasks: Mapping[str, Task]) -> None:
    """Put tuned tasks in the place of the model's own; heads and the tasks' order stay."""
    model.tasks.update(tasks)
    for task in model.tasks.values():  # all of them, since the last set stands last
        model.config.set_task(task)


def _predicted(
    predictor: Predictor, validation: Sequence[LabelledRows], names: Sequence[str]
) -> tuple[dict[str, list[np.ndarray]], dict[str, list[Encoding]], dict[str, list[Any]]]:
    """Logits, encodings and right values of each task's labelled rows, in the rows' order."""
    logits: dict[str, list[np.ndarray]] = {name: [] for name in names}
    encodings: dict[str, list[Encoding]] = {name: [] for name in names}
    references: dict[str, list[Any]] = {name: [] for name in names}
    tasks = predictor.model.tasks
    for rows in validation:
        here = {name: rows.labelled(name) for name in names if name in rows.references}
        found: dict[str, dict[int, np.ndarray]] = {name: {} for name in here}
        for batch in predictor.logits(rows.encoded, here):
            for name, (numbers, of_batch) in batch.items():
                found[name].update(zip(numbers.tolist(), of_batch, strict=True))
        by_view = {view: one.encodings() for view, one in rows.encoded.items()}
        for name, numbers in here.items():
            for number in numbers.tolist():
                logits[name].append(found[name][number])
                encodings[name].append(by_view[tasks[name].view][number])
                references[name].append(rows.references[name][number])
    return logits, encodings, references


def _filled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one rank as one, (rows, …), filled up with 0 on the right where sizes differ."""
    sizes = np.array([row.shape for row in rows]).max(axis=0)
    filled = np.zeros((len(rows), *sizes), dtype=np.float32)
    for place, row in zip(filled, rows, strict=True):
        place[tuple(map(slice, row.shape))] = row
    return filled
