"""Ctrl-C and SIGTERM let the current step end and a checkpoint be written."""

import signal
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818
    """A training that a signal has ended after its checkpoint was written.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Interruption:
    """Notes the first signal; a second one ends the program at once.

    Attributes:
        signum: The signal that came, 0 before.
    """

    def __init__(self) -> None:
        self.signum = 0

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum

    def __enter__(self) -> Self:
        self._previous = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
