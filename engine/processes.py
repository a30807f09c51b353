"""Processes: an executor of worker processes on this machine.

Invariants
    R1  No worker outlives its engine: its input ends with it, and closing kills it.
    R2  Workers are fresh interpreters: nothing of this process is inherited but its standard error.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from typing import Final

from engine.units import Setup, framed
from engine.worker import read_message

_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from engine.worker import main; main()"


class Child:
    """One worker process."""

    def __init__(self, setup: Setup) -> None:
        program = _PROGRAM.format(path=list(setup.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        self.input.write(framed(setup))


class Processes:
    """See `Executor`. Workers are started when they are needed first; that takes 0.1 s each."""

    def __init__(self, setup: Setup, count: int) -> None:
        self._setup = setup
        self._count = count
        self._children: dict[int, Child] = {}
        self._numbers = _count_up()

    def slots(self) -> Sequence[int]:
        """See `Executor.slots`."""
        while len(self._children) < self._count:
            self._children[next(self._numbers)] = Child(self._setup)
        return tuple(self._children)

    def send(self, slot: int, message: bytes) -> None:
        """See `Executor.send`. One that died is noticed by `wait`."""
        child = self._children[slot]
        try:
            child.input.write(len(message).to_bytes(4, "little") + message)
            child.input.flush()
        except BrokenPipeError:
            return

    def wait(self, slots: Sequence[int], seconds: float | None) -> list[tuple[int, bytes | None]]:
        """See `Executor.wait`."""
        with selectors.DefaultSelector() as selector:
            for slot in slots:
                selector.register(self._children[slot].output, selectors.EVENT_READ, slot)
            ready = [key.data for key, _ in selector.select(seconds)]
        return [(slot, read_message(self._children[slot].output)) for slot in ready]

    def drop(self, slot: int) -> str:
        """See `Executor.drop`."""
        child = self._children.pop(slot)
        ended = child.process.poll()
        child.process.kill()
        child.process.wait()
        for pipe in (child.input, child.output):
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # what was not read any more
        return "it was ended" if ended is None else _described(ended)

    def close(self) -> None:
        """See `Executor.close`."""
        for slot in tuple(self._children):
            self.drop(slot)


def _count_up() -> count[int]:
    """Numbers of slots, never used twice."""
    return count(1)


def _described(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def setup_of(root: str, depth_limit: int) -> Setup:
    """What a worker on this machine has to know."""
    return Setup(root, tuple(map(os.path.abspath, sys.path)), depth_limit)
