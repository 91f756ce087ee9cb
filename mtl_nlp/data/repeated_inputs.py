"""Inputs that stand in the data again: with another label, or in train and in what scores it."""

from collections.abc import Iterator, Mapping, Sequence

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.split_reading import Reading


def conflicts(binding: Binding, train: Reading) -> list[str]:
    """One warning about equal inputs with different labels, if there are such."""
    first: dict[int, int] = {}
    clashes: dict[int, tuple[int, int]] = {}
    values = train.values[binding.task]
    for row, (key, value) in enumerate(zip(train.inputs, values, strict=True)):
        if value is not None and values[earlier := first.setdefault(key, row)] != value:
            clashes.setdefault(key, (earlier, row))
    if not clashes:
        return []
    a, b = next(iter(clashes.values()))
    return [
        f"task {binding.task!r}, dataset {binding.dataset!r}, split train: inputs that stand"
        f" there again with another label: {len(clashes)}, such as rows {a} and {b}"
    ]


def leaks(
    readings: Mapping[str, Mapping[str, Reading]], bindings: Sequence[Binding]
) -> Iterator[str]:
    """Warnings about rows of validation and test that stand in train, of one task's datasets."""
    first = {
        dataset: {key: row for row, key in reversed(list(enumerate(by_split["train"].inputs)))}
        for dataset, by_split in readings.items()
    }
    for dataset, by_split in readings.items():
        tasks = {b.task for b in bindings if b.dataset == dataset}
        near = dict.fromkeys([dataset, *(b.dataset for b in bindings if b.task in tasks)])
        for split, reading in by_split.items():
            if split == "train":
                continue
            keys = reading.inputs
            for other in near:
                both = [row for row, key in enumerate(keys) if key in first[other]]
                if both:
                    place = f"row {both[0]} is row {first[other][keys[both[0]]]} there"
                    yield (
                        f"dataset {dataset!r}, split {split}: {len(both)} of {len(keys)} rows"
                        f" ({len(both) / len(keys):.1%}) stand in train"
                        + (f" of dataset {other!r}" if other != dataset else "")
                        + f" too, so scores on them say little; {place}"
                    )
