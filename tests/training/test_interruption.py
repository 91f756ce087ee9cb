import contextlib
import os
import signal
import threading
import time

import pytest

from mtl_nlp.training import interruption
from mtl_nlp.training.interruption import SIGNALS, Interruption


def press(signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_noted_and_stops_nothing(signum: signal.Signals) -> None:
    with Interruption() as noted:
        assert noted.signum == 0
        press(signum)
        assert noted.signum == signum


def test_one_press_that_arrives_twice_is_one() -> None:
    with Interruption() as noted:
        press(signal.SIGINT)
        press(signal.SIGTERM)
        press(signal.SIGINT)
        assert noted.signum == signal.SIGINT


def test_whoever_presses_again_later_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_ONE_PRESS", 0.01)
    with Interruption():
        press(signal.SIGINT)
        time.sleep(0.02)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            press(signal.SIGINT)


def test_afterwards_signals_do_what_they_did() -> None:
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with Interruption():
        assert [signal.getsignal(signum) for signum in SIGNALS] != before
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    with contextlib.suppress(ZeroDivisionError), Interruption():
        _ = 1 / 0
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_in_another_thread_none_is_heard_and_nothing_fails() -> None:
    noted: list[int] = []

    def work() -> None:
        with Interruption() as here:
            noted.append(here.signum)

    before = [signal.getsignal(signum) for signum in SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [0]
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
