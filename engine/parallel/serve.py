"""Serve: a worker hears batches, and tells what became of them.

The process in which one lives here (`main`) hears from standard input and writes to what was standard output;
whatever queries print goes to standard error.

Invariants
    W4  The process ends with its input, also while a query runs (one call in C that keeps the interpreter to
        itself has to come back first).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from engine import collector
from engine.parallel.framing import OUT_OF_MEMORY, READY, Incoming, framed
from engine.parallel.units import Answer, Ask, Batch, Reply, decode_said, decode_setup, encode
from engine.parallel.worker import Worker
from engine.roomy import roomy

LOOK_MS: Final = 2_000  # how often a worker looks whether who started it is still there


class Ended(BaseException):
    """Nothing will be heard any more; not an `Exception`, so that no query swallows it."""


@roomy
def serve(
    hear: Callable[[], bytes | None],
    tell: Callable[[bytes], None],
    exhausted: Callable[[], None] = lambda: None,
) -> None:
    """Compute what an engine elsewhere asks for, until `hear` gives None.

    `hear` waits for the next message that the executor was given for this slot: what it was opened with comes
    first. `tell` takes a message for `Executor.wait` to return there. `exhausted` is called where memory is
    short, for a process to end itself; where it returns, the engine computes that key itself.
    """
    ahead: deque[Batch] = deque()

    def said() -> Batch | Reply:
        data = hear()
        if data is None:
            raise Ended
        found: Batch | Reply = decode_said(data)
        return found

    def ask(question: Ask) -> Reply:
        tell(encode(question))
        while isinstance(found := said(), Batch):
            ahead.append(found)  # it was sent before the question came
        return found

    setup = hear()
    if setup is None:
        return
    worker = Worker(decode_setup(setup), ask, lambda: tell(b""), exhausted)
    while True:
        epoch = 0
        try:
            batch = ahead.popleft() if ahead else said()
            assert isinstance(batch, Batch)
            epoch = batch.epoch
            answer = worker.run(batch)
        except Ended:
            worker.end()
            return
        except Exception as error:  # a bug of ours: the parent does the work
            answer = Answer((), (), {}, 0.0, f"{type(error).__name__}: {error}", epoch=epoch)
        tell(encode(answer))


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # processes R3
    source = os.dup(0)
    incoming = Incoming(source)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what queries print must not get between the messages
    sys.stdout = sys.stderr  # line by line: what is in a buffer is lost when this process is ended
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    watched = source, os.getppid()
    threading.Thread(target=_end_with, args=watched, name="engine-orphan", daemon=True).start()

    def hear() -> bytes | None:
        data = incoming.read()
        if data is None:
            _leave()
        return data

    def tell(message: bytes) -> None:
        try:
            sink.write(framed(message))
            sink.flush()
        except BrokenPipeError:
            _leave()  # nobody hears any more (W4)

    tell(READY)
    gc.freeze()  # what is imported stays
    collector.relax()
    serve(hear, tell, lambda: os._exit(OUT_OF_MEMORY))  # nothing can be relied on any more


def _end_with(descriptor: int, parent: int) -> None:
    """End this process when nobody can write to its input any more, or who started it is gone (W4)."""
    poll = select.poll()
    poll.register(descriptor, 0)  # the end is always told
    while not poll.poll(LOOK_MS) and os.getppid() == parent:
        pass  # a process that was forked there holds our input open after its end
    _leave()


def _leave() -> NoReturn:
    """End this process, and what queries started, where it leads a group of its own (processes R1)."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
