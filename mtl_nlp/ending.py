"""Several processes end together: none waits for one that has failed.

A collective operation waits for all processes. Over gloo a process that dies wakes the others with
a broken connection, on GPUs nothing does before a timeout of minutes; and neither tells why. So
the first process that fails leaves word where they all met, and the others end by it.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from mtl_nlp.errors import ElsewhereError
from mtl_nlp.program import is_main_process, told_of
from mtl_nlp.training.interruption import Stopped

_WORD, _AWARE = "mtl_nlp/word", "mtl_nlp/aware"
_LOOK_EVERY = 0.5
"""Seconds between two looks for a word."""
_OWN_END = 1.0
"""Seconds in which a process may meet the same mistake, and tell of it, by itself."""
_PATIENCE = 3.0
"""Seconds in which a process that has failed lets the others take notice, before it leaves."""
_GRACE = 5.0
"""Seconds after which a process that still waits for one that has failed is ended."""


@dataclass(frozen=True)
class _Word:
    """What the first process that fails leaves.

    Attributes:
        rank: Which process it is.
        status: The exit status of all.
        message: What it has to tell.
    """

    rank: int
    status: int
    message: str

    @property
    def told(self) -> str:
        """What is told of it elsewhere."""
        return f"process {self.rank}: {self.message or 'ended'}"


@contextmanager
def ending_together() -> Iterator[None]:
    """Let all processes of a training end within seconds where one of them fails, by its status.

    Nothing where this process is alone. All of them enter it, after they have met.

    Raises:
        ElsewhereError: Where this process failed because another one had; with its word.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        yield
        return
    store: Any = distributed.distributed_c10d._get_default_store()
    board = _Board(store.clone())  # a connection of its own
    watcher = threading.Thread(target=board.watch, name="ending", daemon=True)
    watcher.start()
    try:
        yield
    except Stopped:  # all of them stop at the same step
        raise
    except BaseException as error:
        word = board.leave(error)
        if word is not None and isinstance(error, RuntimeError):  # a connection that broke
            raise ElsewhereError("" if board.told else word.told, word.status) from error
        raise
    finally:
        board.over.set()
        watcher.join()
        board.take_notice()


class _Board:
    """The place for the word of the process that fails first.

    Args:
        store: Of torch.distributed; no other thread uses it while the watcher does.

    Attributes:
        over: Set when this process has ended, well or not.
        told: Whether this process has told of another one's end.
        word: Of another process, as far as the watcher has seen it.
    """

    def __init__(self, store: Any) -> None:
        from torch import distributed

        self.store, self.lock, self.over = store, threading.Lock(), threading.Event()
        self.rank, self.world_size = distributed.get_rank(), distributed.get_world_size()
        self.told = self.aware = False
        self.word: _Word | None = None

    def leave(self, error: BaseException) -> _Word | None:
        """Leave word, and let the others take notice; the word of another that was there before."""
        self.over.set()
        if self.word is not None:
            return self.word
        status, message = told_of(error)
        mine = json.dumps(asdict(_Word(self.rank, status, message)))
        try:
            with self.lock:
                first = self.store.compare_set(_WORD, "", mine).decode()
        except RuntimeError:  # the store ends with the process that keeps it
            return None
        if first != mine:
            return _Word(**json.loads(first))
        self.take_notice()
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._known() < self.world_size:
            time.sleep(_LOOK_EVERY / 10)
        return None

    def watch(self) -> None:
        """Look for a word until this process ends; end it where it does not do so by itself."""
        while not self.over.wait(_LOOK_EVERY):
            self.word = word = self._read()
            if word is None:
                continue
            if self.over.wait(_OWN_END):
                return
            if is_main_process():
                self.told = True
                print(word.told, file=sys.stderr, flush=True)
            self.take_notice()
            if not self.over.wait(_GRACE):
                os._exit(word.status)  # nothing else wakes a thread in a collective operation

    def take_notice(self) -> None:
        """Count this process among those that know, or are through."""
        with suppress(RuntimeError), self.lock:
            if not self.aware:
                self.aware = True
                self.store.add(_AWARE, 1)

    def _known(self) -> int:
        try:
            with self.lock:
                return int(self.store.add(_AWARE, 0))
        except RuntimeError:
            return self.world_size

    def _read(self) -> _Word | None:
        try:
            with self.lock:
                there = self.store.check([_WORD])
                return _Word(**json.loads(self.store.get(_WORD))) if there else None
        except RuntimeError:
            return None
