"""Takeover: a watch replaces its process by a fresh interpreter, which goes on where the old one was.

Invariants
    O1  The new interpreter starts as the first one did: same arguments, environment, directory and standard
        output, whatever rules did to them meanwhile. All else it gets is in one variable, which it removes.
    O2  A signal is never lost between the two: it ends whichever of them it meets.
    O3  Only the listening socket stays open.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any, Final, NoReturn

from attrs import define, field

from engine.errors import BadSettings
from engine.signals import WATCHED

VARIABLE: Final = "_ENGINE_WATCH"
MOST_BYTES: Final = 100_000  # of the variable: Linux takes 128 kB, and without `printed` nothing is wrong


@define
class Handed:
    """What one interpreter leaves to the next.

    since       when the watch was started, seconds since 1970
    listener    the socket on which others ask; `place` is its path
    metrics     the address at which figures were shown
    printed     for each watched key a digest of what was printed last; "" for nothing
    """

    since: float
    listener: socket.socket | None = None
    place: str = ""
    metrics: str = ""
    printed: list[str] = field(factory=list)


class Start:
    """How this process was started. Make it before any code of the project runs.

    environment     its variables
    directory       its working directory; "" if that was gone already
    """

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self.directory = _working_directory()
        self._stdout = os.dup(1)

    def again(self, handed: Handed) -> NoReturn:
        """Replace this process (O1). Main thread only; BadSettings where that is impossible."""
        said: dict[str, Any] = {"since": handed.since, "place": handed.place, "metrics": handed.metrics}
        if handed.listener is not None:
            os.set_inheritable(handed.listener.fileno(), True)
            said["socket"] = handed.listener.fileno()
        if len(handed.printed) * 40 < MOST_BYTES:
            said["printed"] = handed.printed
        environment = {**self.environment, VARIABLE: json.dumps(said)}
        try:
            if self.directory:
                os.chdir(self.directory)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.dup2(self._stdout, 1)
            _let_signals_wait()
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
        except OSError as error:
            raise BadSettings(
                cause=f"no fresh interpreter can be started: {error.strerror}",
                python=sys.executable,
                directory=self.directory,
                hint="Start the watch again.",
            ) from None


def taken_over() -> Handed | None:
    """What the interpreter before this one left; None if there was none. Signals that waited strike now."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    said = json.loads(text)
    number = said.get("socket")
    listener = None
    if number is not None:
        os.set_inheritable(number, False)
        listener = socket.socket(fileno=number)
    return Handed(said["since"], listener, said["place"], said["metrics"], said.get("printed", []))


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _let_signals_wait() -> None:
    """Until the new interpreter can end without a traceback (O2)."""
    # Those that another thread gets end the process here: its handler might never be run.
    for number in WATCHED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
