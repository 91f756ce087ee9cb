"""Ctrl-C and SIGTERM let the current step end and a checkpoint be written."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_PRESS = 2.0
"""Seconds in which signals count as one: a terminal sends Ctrl-C to launcher and processes, and the
launcher hands it on to the processes once more."""


class Stopped(Exception):  # noqa: N818
    """A training that a signal has ended after its checkpoint was written.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Interruption:
    """Notes the first signal; another one, two seconds later or more, ends the program at once.

    Outside the main thread, where Python lets nobody handle signals, it notes none.

    Attributes:
        signum: The signal that came, 0 before.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._first = 0.0

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if not self.signum:
            self.signum, self._first = signum, now
        elif now - self._first >= _ONE_PRESS:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        heard = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._previous = {signum: signal.signal(signum, self._note) for signum in heard}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
