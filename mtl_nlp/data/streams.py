"""The train split of a dataset read as a stream, pass after pass, its files in random order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, IterableDataset

from mtl_nlp.errors import DataError
from mtl_nlp.recipe import DatasetSpec, Split

SAMPLE_ROWS = 10_000
"""The first rows of train, which tasks learn their labels from and which are examined."""
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Stream:
    """The rows of a train split, read from files (shards) in their order.

    Attributes:
        name: Of the dataset.
        rows: As ``datasets`` streams them.
        sizes: Rows of each shard.
        sample: The first rows, as a table.
        seed: Of the order of the shards.
    """

    name: str
    rows: IterableDataset
    sizes: tuple[int, ...]
    sample: Dataset
    seed: int

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def features(self) -> Features:
        """The types of the columns."""
        return self.sample.features

    @property
    def place(self) -> str:
        """How errors name it."""
        return f"dataset {self.name!r}, split train"

    def narrowed(self, columns: list[str]) -> "Stream":
        """The same with these columns only."""
        return replace(self, rows=self.rows.select_columns(columns))

    def read(self, start: int) -> Iterator[tuple[int, pa.Table]]:
        """The rows from a place on, without end: tables, and the row that each begins with.

        Args:
            start: Rows read before, over all passes.

        Raises:
            DataError: If they cannot be read, or are not as many as they were.
        """
        number, place = divmod(start, len(self))
        while True:
            for shard in self._order(number):
                if place < self.sizes[shard]:
                    yield from self._read_shard(shard, place)
                place = max(place - self.sizes[shard], 0)
            number += 1

    def _order(self, number: int) -> list[int]:
        """The shards in the order of a pass."""
        # A blank keeps this apart from every dataset's name.
        seed = [self.seed, crc32(f"shards of {self.name}".encode()), number]
        order: list[int] = np.random.default_rng(seed).permutation(len(self.sizes)).tolist()
        return order

    def _read_shard(self, shard: int, place: int) -> Iterator[tuple[int, pa.Table]]:
        before, size, seen = sum(self.sizes[:shard]), self.sizes[shard], 0
        try:
            for table in _tables(_shard(self.rows, shard)):
                begin, end = max(place - seen, 0), min(len(table), size - seen)
                if begin < end:
                    yield before + seen + begin, table.slice(begin, end - begin)
                seen += len(table)
                if seen >= size:
                    return
        except DataError:
            raise
        except Exception as error:  # there are many loaders, and each fails in its own way
            reason = error.__cause__ or error
            raise DataError(
                f"{self.place}: cannot be read after row {before + seen - 1}: {reason}"
            ) from error
        raise DataError(
            f"{self.place}: expected {size} rows in file {shard}, as when training began, found"
            f" {seen}; it must not change while it is read"
        )


def open_stream(
    name: str, spec: DatasetSpec, theirs: Mapping[str, IterableDataset], *, seed: int
) -> tuple[Stream, dict[str, Dataset]]:
    """The stream of train, and the other splits read whole.

    The rows are counted, up to ``max_rows``, which reads them once.

    Args:
        name: The dataset's name in the recipe.
        spec: Its splits and row limits; of a stream the first so many rows are taken.
        theirs: Its splits as ``datasets`` streams them.
        seed: Of the order of the shards.

    Raises:
        DataError: If a split is missing, empty or cannot be read.
    """
    names: tuple[Split, ...] = ("train", "validation", "test")
    found = {split: str(spec.splits.get(split, split)) for split in names}
    for split, source in found.items():
        if source not in theirs and (split != "test" or split in spec.splits):
            raise DataError(
                f"dataset {name!r}: no split {source!r}; it has {', '.join(theirs)}; name the one"
                f" to use, splits: {{{split}: …}} (of a stream no rows are held out for validation)"
            )
    place = f"dataset {name!r}, split train"
    try:
        sizes = _sizes(theirs[found["train"]], spec.max_rows.get("train"))
        whole = {
            str(split): _whole(theirs[source], spec.max_rows.get(split))
            for split, source in found.items()
            if source in theirs and split != "train"
        }
        if not sum(sizes):
            raise DataError(f"{place}: expected rows, found none")
        sample = _whole(theirs[found["train"]], min(SAMPLE_ROWS, sum(sizes)))
    except DataError:
        raise
    except Exception as error:
        reason = error.__cause__ or error
        raise DataError(f"dataset {name!r} cannot be read as a stream: {reason}") from error
    return Stream(name, theirs[found["train"]], sizes, sample, seed), whole


def _sizes(rows: IterableDataset, most: int | None) -> tuple[int, ...]:
    """Rows of each shard, up to so many in all."""
    sizes: list[int] = []
    for shard in range(rows.num_shards):
        room = None if most is None else most - sum(sizes)
        if room == 0:
            break
        size = 0
        for table in _tables(_shard(rows, shard)):
            size += len(table)
            if room is not None and size >= room:
                size = room
                break
        sizes.append(size)
    return tuple(sizes)


def _whole(rows: IterableDataset, most: int | None) -> Dataset:
    """The first so many rows, or all, as a table in memory."""
    tables, seen = [], 0
    for table in _tables(rows):
        tables.append(table if most is None else table.slice(0, most - seen))
        seen += len(tables[-1])
        if seen == most:
            break
    if not tables:
        return Dataset.from_dict({})
    together = pa.concat_tables(tables, promote_options="permissive")
    return Dataset(together)


def _shard(rows: IterableDataset, number: int) -> IterableDataset:
    return rows.shard(num_shards=rows.num_shards, index=number)


def _tables(rows: IterableDataset) -> Iterator[pa.Table]:
    return iter(rows.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE))
