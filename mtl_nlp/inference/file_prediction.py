"""Rows of files with their predictions, a chunk at a time."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mtl_nlp.errors import DataError
from mtl_nlp.inference.input_files import PlacedRow, chunks

if TYPE_CHECKING:
    from mtl_nlp.inference.predictor import Predictor

PREDICTIONS = "predictions"


def predicted_rows(
    predictor: "Predictor", rows: Iterable[PlacedRow], tasks: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Each row as it came in plus ``predictions``, in order.

    Args:
        predictor: Of a model.
        rows: The rows; only a chunk of them is held.
        tasks: The tasks wanted; by default all whose input a row has.

    Raises:
        UserError: If a named task is not the model's.
        DataError: If a row is no input; names its place.
    """
    for chunk in chunks(rows):
        for row in chunk:
            if PREDICTIONS in row.record:
                raise DataError(
                    f"{row.place}: the column {PREDICTIONS!r} is already there; rename or drop it"
                )
        records = [row.record for row in chunk]
        results = predictor.predict(records, tasks, places=[row.place for row in chunk])
        for record, result in zip(records, results, strict=True):
            yield {**record, PREDICTIONS: result}
