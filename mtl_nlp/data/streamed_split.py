"""Training rows of a stream: encoded as they are read, a few buffers of them held."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pyarrow as pa
from datasets import Dataset

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.passes import Ints
from mtl_nlp.data.prepare import EncodedColumns, EncodedSplit, prepare_split, used_columns
from mtl_nlp.data.streams import Stream
from mtl_nlp.errors import DataError
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.tasks.base import Task

BUFFER_ROWS = 10_000
"""Rows of a stream that are shuffled together."""

Encode = Callable[[pa.Table, range], pa.Table]
"""Rows and their numbers in the split -> their encoded columns."""


@dataclass(frozen=True)
class _Buffer:
    """Encoded rows that are shuffled together, with what `EncodedSplit` tells of all rows."""

    table: pa.Table
    lengths: Ints
    encoder_rows: Ints


class StreamedSplit:
    """The rows of a stream, of which a few buffers are held; it is asked as an `EncodedSplit` is.

    Rows are numbered on and on over the passes, in the order that they are read. What is asked for
    must come close together, as a window of steps does: its buffers are held, and as many are read
    ahead by a thread, which alone reads and encodes. What a row is depends on its number alone.

    Args:
        stream: The rows.
        encode: Encodes them.
        sample: The encoded first rows.
        buffer: Rows of a buffer; the last one of a pass may have fewer.

    Attributes:
        lengths: Sub-words of the longest encoder row of each row, by the rows' numbers.
        encoder_rows: How many encoder rows each has, likewise.
    """

    def __init__(
        self, stream: Stream, encode: Encode, sample: EncodedSplit, *, buffer: int = BUFFER_ROWS
    ) -> None:
        self._stream, self._encode, self.sample = stream, encode, sample
        self.buffer = min(buffer, len(stream))
        self.lengths = _OfRows(self, lambda held: held.lengths)
        self.encoder_rows = _OfRows(self, lambda held: held.encoder_rows)
        self._held: dict[int, Future[_Buffer]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"stream of {stream.name}")
        self._read: Iterator[tuple[int, pa.Table]] = iter(())
        self._next = -1  # the buffer that is read next
        self._rest: list[tuple[int, pa.Table]] = []  # of the table last read

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def fingerprint(self) -> int:
        """A number that changes with the number of rows in its files and with the first rows."""
        sizes = np.array([*self._stream.sizes, self.buffer])
        return crc32(sizes.tobytes(), self.sample.fingerprint)

    @property
    def largest(self) -> tuple[int, int]:
        """The most encoder rows of a row in the sample, and sub-words that one may have."""
        return self.sample.largest

    def take(self, rows: Ints) -> pa.Table:
        """The columns of these rows."""
        parts = [(held.table, places, at) for held, places, at in self.buffers(rows)]
        table = pa.concat_tables(
            [table.take(places) for table, places, _ in parts], promote_options="permissive"
        )
        return table.take(np.argsort(np.concatenate([at for *_, at in parts]), kind="stable"))

    def buffers(self, rows: Ints) -> Iterator[tuple[_Buffer, Ints, Ints]]:
        """The buffers of these rows, with their places in each and where they were asked for."""
        numbers = self._buffer_of(rows)
        wanted = np.unique(numbers).tolist()
        if missing := [number for number in wanted if number not in self._held]:
            # Another window: what is before it has been used, and as much again comes after it.
            for number in [number for number in self._held if number < wanted[0]]:
                self._held.pop(number).cancel()
            for number in (*missing, *range(wanted[-1] + 1, wanted[-1] + 1 + len(wanted))):
                if number not in self._held:
                    self._held[number] = self._thread.submit(self._load, number)
        for number in wanted:
            at = np.flatnonzero(numbers == number)
            yield self._held[number].result(), rows[at] - self._start(number), at

    def _buffer_of(self, rows: Ints) -> Ints:
        per_pass = -(-len(self) // self.buffer)
        found: Ints = rows // len(self) * per_pass + rows % len(self) // self.buffer
        return found

    def _start(self, number: int) -> int:
        pass_number, buffer = divmod(number, -(-len(self) // self.buffer))
        return pass_number * len(self) + buffer * self.buffer

    def _load(self, number: int) -> _Buffer:
        """Read and encode a buffer; in the thread."""
        if number != self._next:
            self._read, self._rest = self._stream.read(self._start(number)), []
        self._next = -1  # until it is read without a fault
        wanted = self._start(number + 1) - self._start(number)
        tables = []
        while wanted:
            row, table = self._rest.pop() if self._rest else next(self._read)
            if len(table) > wanted:
                self._rest.append((row + wanted, table.slice(wanted)))
                table = table.slice(0, wanted)
            tables.append(self._encoded(table, row))
            wanted -= len(table)
        self._next = number + 1
        whole = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        split = EncodedSplit(Dataset(whole), self.sample.views)
        return _Buffer(whole, split.lengths.astype(np.int64), split.encoder_rows.astype(np.int64))

    def _encoded(self, table: pa.Table, row: int) -> pa.Table:
        try:
            return self._encode(table, range(row, row + len(table)))
        except DataError as error:
            raise DataError(
                f"{error}; once it is mended, --resume goes on from the last checkpoint"
            ) from error


class _OfRows:
    """A number for each row of a stream, by the rows' numbers."""

    def __init__(self, split: StreamedSplit, of_buffer: Callable[[_Buffer], Ints]) -> None:
        self._split, self._of_buffer = split, of_buffer

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, rows: Ints) -> Ints:
        found = np.empty(len(rows), np.int64)
        for held, places, at in self._split.buffers(rows):
            found[at] = self._of_buffer(held)[places]
        return found


def prepare_stream(
    stream: Stream,
    *,
    spec: DatasetSpec,
    encoder: RowEncoder,
    tasks: Sequence[Task],
    bindings: Sequence[Binding],
    buffer: int = BUFFER_ROWS,
) -> StreamedSplit:
    """Encode the first rows of a stream, and all others when they are drawn.

    Args:
        stream: The rows.
        spec: Its input columns.
        encoder: Makes sub-words.
        tasks: The learned tasks on this dataset.
        bindings: Where each of them finds its labels.
        buffer: Rows that are shuffled together.

    Raises:
        DataError: If one of the first rows is not what the recipe says; it is named.
    """
    sample = prepare_split(
        stream.sample,
        place=stream.place,
        spec=spec,
        encoder=encoder,
        tasks=tasks,
        bindings=bindings,
    )
    # The thread has a tokenizer of its own, since encoding leaves its settings in it.
    own = replace(encoder, tokenizer=deepcopy(encoder.tokenizer))
    columns = EncodedColumns(
        own, spec, tuple(tasks), tuple(bindings), stream.features, stream.place
    )
    used = used_columns(spec, bindings)

    def encode(table: pa.Table, numbers: range) -> pa.Table:
        return columns(table.select(used).to_pydict(), numbers)

    return StreamedSplit(stream.narrowed(used), encode, sample, buffer=buffer)


def buffers_of(train: Mapping[str, EncodedSplit | StreamedSplit]) -> dict[str, int]:
    """Rows that are shuffled together of each dataset that is streamed."""
    return {name: split.buffer for name, split in train.items() if split.buffer is not None}
