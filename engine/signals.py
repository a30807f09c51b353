"""Signals: what Ctrl-C, SIGTERM and SIGHUP do, before, while and after an engine is open.

Invariants
    I1  While an engine is open the first signal stops it: queries unwind at their next read, what was
        computed is committed, and the exit code is 128 + the signal's number.
    I2  A query that reads nothing for GRACE_SECONDS is interrupted where it is, again and again.
    I3  The second signal ends the process at once. Commits are transactions: nothing is torn.
    I4  When no engine is open there is nothing to keep, and the first signal ends the process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

GRACE_SECONDS: Final = 1.0  # most queries read something within it; longer, and people press again
WATCHED: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
INTERRUPTED: Final = b"interrupted\n"


class Interrupted(BaseException):
    """A signal ended the command. `message` says what became of the work."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.number = number
        self.message = message

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number


def end_at_once() -> None:
    """Let signals end the process with a line and without a traceback (I4). Main thread only."""
    for number in WATCHED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup SIGHUP stays ignored
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _say_and_exit(number)


def _say_and_exit(number: int) -> None:
    try:
        os.write(2, INTERRUPTED)
    finally:
        os._exit(128 + number)


class Stopping:
    """The state of an ending command: which signal came first."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.number = 0
        self._stop = stop
        self._due = False  # the next signal is our own, see I2
        self._unwound = threading.Event()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler. Runs in the main thread, between two instructions of whatever runs there."""
        if not self.number:
            self.number = number
            self._stop()
            threading.Thread(target=self._insist, name="engine-grace", daemon=True).start()
        elif self._due:
            self._due = False
            if not self._unwound.is_set():
                raise KeyboardInterrupt
        else:
            _say_and_exit(self.number)

    def unwound(self) -> None:
        """Queries have ended: what follows (a commit, a close) is not to be interrupted by I2."""
        self._unwound.set()

    def _insist(self) -> None:
        while not self._unwound.wait(GRACE_SECONDS):
            self._due = True
            if hasattr(signal, "pthread_kill"):
                ident = threading.main_thread().ident
                assert ident is not None
                signal.pthread_kill(ident, self.number)  # also ends a blocking system call
            else:
                import _thread

                _thread.interrupt_main(signal.Signals(self.number))


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[Stopping]:
    """Let signals call `stop` first (I1). In other threads than the main one, and in tests: no change."""
    state = Stopping(stop)
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before: dict[int, Any] = {}
    for number in WATCHED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, state.handle)
    try:
        yield state
    finally:
        state.unwound()
        for number, handler in before.items():
            signal.signal(number, handler)
