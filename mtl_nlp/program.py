"""The package as a program: how it ends, and what the libraries below may say meanwhile."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mtl_nlp.errors import ElsewhereError, UserError
from mtl_nlp.training.interruption import Stopped

MENDABLE, FAILED, INTERRUPTED = 2, 1, 130


@contextmanager
def program(*, debug: bool = False) -> Iterator[None]:
    """Run a block as a program: its errors become one paragraph on stderr and an exit status.

    2 is a mistake that the user can mend, 128 + n a training stopped by signal n after its
    checkpoint, 130 Ctrl-C elsewhere, 1 anything else; of several processes all end by the status of
    the one that fails.

    Args:
        debug: Whether tracebacks are shown.

    Raises:
        SystemExit: If the block fails, with that status.
    """
    status = 0
    try:
        with warnings.catch_warnings():
            if not (debug or sys.warnoptions):
                warnings.simplefilter("ignore")
            yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; what is still buffered must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except Exception as error:
        status = _tell(error, debug)
    if status:
        raise SystemExit(status)


def quiet_libraries() -> None:
    """Leave the progress bars to us, and of the libraries' messages only the errors."""
    import datasets
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # its errors are raised as well
    huggingface_hub.logging.set_verbosity(logging.ERROR)
    if not sys.stderr.isatty():  # on a terminal a download of many seconds may show itself
        disable_progress_bars()


def is_main_process() -> bool:
    """Whether this is the process that speaks, of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def told_of(error: BaseException) -> tuple[int, str]:
    """The exit status by which an error ends a program, and what is told of it."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, ""
    if isinstance(error, ElsewhereError):
        return error.status, str(error)
    if isinstance(error, Stopped):
        return 128 + error.signum, f"{error}; go on with --resume"
    if isinstance(error, UserError):
        return MENDABLE, f"error: {error}"
    reason = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return FAILED, f"internal error: {what}"


def _tell(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    status, message = told_of(error)
    if isinstance(error, (ElsewhereError, Stopped, UserError)):
        _say(message)
    else:
        print(message + ("" if debug else "; run again with --debug"), file=sys.stderr)
    return status


def _say(message: str) -> None:
    """One paragraph, once: every process meets the same mistake, or tells the main one of it."""
    if is_main_process() and message:
        print("\n".join(filter(str.strip, message.splitlines())), file=sys.stderr)
