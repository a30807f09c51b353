"""Serve: the process in which a worker lives.

It reads batches from standard input and writes answers to what was standard output; whatever queries print
goes to standard error.

Invariants
    W3  It ends with its input, also while a query runs.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
from collections import deque

from engine.parallel.framing import READY, framed, read_message
from engine.parallel.units import Answer, Ask, Batch, Reply, decode_said, decode_setup, encode
from engine.parallel.worker import Worker

# Nothing of a worker is a cycle that lasts: what its queries leave is looked for seldom.
GARBAGE = (50_000, 20, 100)  # objects, and rounds before older ones are looked at


def _end_with(descriptor: int) -> None:
    """End this process when nobody can write to its input any more (W3)."""
    poll = select.poll()
    poll.register(descriptor, 0)  # the end is always told
    poll.poll()
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # R3
    source = os.dup(0)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what queries print must not get between the messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(source,), name="engine-orphan", daemon=True).start()

    def tell(message: bytes) -> None:
        sink.write(framed(message))
        sink.flush()

    ahead: deque[Batch] = deque()

    def hear() -> Batch | Reply:
        data = read_message(source)
        if data is None:
            sys.stdout.flush()
            os._exit(0)
        said: Batch | Reply = decode_said(data)
        return said

    def ask(question: Ask) -> Reply:
        tell(encode(question))
        while isinstance(said := hear(), Batch):
            ahead.append(said)  # it was sent before the question came
        return said

    tell(READY)
    data = read_message(source)
    if data is None:
        return
    gc.freeze()  # what is imported stays
    gc.set_threshold(*GARBAGE)
    worker = Worker(decode_setup(data), ask, lambda: tell(b""))
    while True:
        batch = ahead.popleft() if ahead else hear()
        assert isinstance(batch, Batch)
        try:
            answer = worker.run(batch)
        except Exception as error:  # a bug of ours: the parent does the work
            answer = Answer((), (), {}, 0.0, f"{type(error).__name__}: {error}")
        tell(encode(answer))
