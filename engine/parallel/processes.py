"""Processes: an executor of worker processes on this machine.

Invariants
    R1  No worker outlives its engine: it ends when its input ends, whatever it does at that moment; closing
        the engine, dropping it, and the end of this process close that input. What it started ends with it.
    R2  Workers are fresh interpreters: nothing of this process is inherited but its standard error.
    R3  Signals of a terminal do not reach workers: this process decides what becomes of them.
    R4  Nothing is written that would have to wait for a worker: it may be waiting for us to read. Nor does a
        read wait for the rest of a message: a worker that was stopped amid it is ended after its timeout.
    R5  An interrupt leaves no worker that nobody knows: they are started where none strikes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Final

from engine.parallel.executor import CannotStart
from engine.parallel.framing import OUT_OF_MEMORY, READY, Incoming, framed
from engine.parallel.surroundings import surroundings

END_SECONDS: Final = 1.0  # from the end of its output to the end of a worker
# Of a pipe, so that a batch or an answer fits, and a worker goes on while this process commits, say. 64 KiB
# are half an answer of small values; more than this Linux gives to no ordinary user.
PIPE_BYTES: Final = 1 << 20
# Of the pipes of one engine. Linux gives 64 MiB to all of a user; after that all new ones are narrow.
ALL_PIPES_BYTES: Final = 16 << 20
PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from engine.parallel.serve import main; main()"


class Child:
    """One worker process."""

    def __init__(self, setup: bytes, pipe_bytes: int) -> None:
        # Before `-c` our own path, so that nothing in the working directory takes the place of the engine.
        program = PROGRAM.format(path=[os.fsdecode(place) for place in surroundings().path])
        self.process = subprocess.Popen(
            [sys.executable or "", *_flags(), "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=True,
            process_group=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        for pipe in (self.input, self.output):
            _widen(pipe.fileno(), pipe_bytes)
        self.unsent = bytearray()  # what did not fit into the pipe yet
        self.ready = False  # whether it ever said anything
        self.lost = False  # whether it said that it ends
        self.incoming = Incoming(self.output.fileno())
        for pipe in (self.input, self.output):
            os.set_blocking(pipe.fileno(), False)
        self.send(framed(setup))

    @property
    def has_ended(self) -> bool:
        """Not by `poll`, which gives its number away: hours later the group of that number, which is ended
        with it, could be another one's. See test_the_number_of_a_worker_that_ended_stays_its_own."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):  # macOS, before Python 3.13
            return self.process.poll() is not None
        try:
            said = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # the host waits for every child, or for none
            return True
        return said is not None

    def send(self, data: bytes = b"") -> None:
        """Write as much as goes without waiting (R4); the rest when the worker has read some."""
        self.unsent += data
        try:
            written = os.write(self.input.fileno(), self.unsent)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self.unsent.clear()  # it died, or was closed by another thread: `wait` tells
            return
        del self.unsent[:written]


class Processes:
    """See `Executor`. Workers are started when they are needed first; that takes 0.1 s each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._setup = b""
        self._pipe_bytes = min(PIPE_BYTES, ALL_PIPES_BYTES // (2 * size))
        self._children: dict[int, Child] = {}
        self._latest = 0
        self._closed = False
        self._served = False  # whether any of them ever said anything
        self._starter = threading.Thread()
        # An engine that nobody closed: when it is garbage, and at the end of the process.
        self._pid = os.getpid()
        weakref.finalize(self, _end_all, self._children, self._pid)

    def open(self, setup: bytes) -> None:
        """See `Executor.open`."""
        self._setup = setup

    def slots(self, wanted: int) -> Sequence[int]:
        """See `Executor.slots`."""
        if self._starter.is_alive():
            self._starter.join()  # we were interrupted here
        for _ in range(min(wanted, self.size) - len(self._living())):
            if self._closed:
                break
            failed: list[Exception] = []
            # R5: the main thread alone is interrupted. A `Popen` that is dropped keeps its pipes open.
            self._latest += 1
            given = failed, self._latest
            self._starter = threading.Thread(target=self._start, args=given, name="engine-worker-start")
            try:
                self._starter.start()
            except RuntimeError as error:
                raise CannotStart(f"no process can be started: {error}") from error
            self._starter.join()
            for one in failed:
                if not isinstance(one, OSError):
                    raise one
                raise CannotStart(f"no process can be started: {one}") from one
        return self._living()

    def _living(self) -> Sequence[int]:
        """The slots of those that have not ended: one may while nobody asks it for anything."""
        return [slot for slot, child in tuple(self._children.items()) if not child.has_ended]

    def _start(self, failed: list[Exception], slot: int) -> None:
        try:
            self._children[slot] = Child(self._setup, self._pipe_bytes)
        except Exception as error:  # raised to who waits: else it would try for ever
            failed.append(error)
        if self._closed:  # meanwhile
            self.drop(slot)

    def send(self, slot: int, message: bytes) -> None:
        """See `Executor.send`. One that died is noticed by `wait`."""
        child = self._children.get(slot)
        if child is not None:
            child.send(framed(message))

    def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
        """See `Executor.wait`."""
        found: list[tuple[int, bytes | None]] = []
        children = {slot: child for slot in slots if (child := self._children.get(slot)) is not None}
        # Before they are listened to. What it started may hold the output of one that ended open.
        ended = [slot for slot, child in children.items() if child.has_ended]
        try:
            with selectors.DefaultSelector() as selector:
                for slot, child in children.items():
                    selector.register(child.output, selectors.EVENT_READ, slot)
                    if child.unsent:
                        selector.register(child.input, selectors.EVENT_WRITE, slot)
                ready = selector.select(0 if ended or len(children) < len(slots) else seconds)
            heard = {key.data for key, events in ready if events & selectors.EVENT_READ}
            for key, events in ready:
                if events & selectors.EVENT_WRITE:
                    children[key.data].send()
            for slot in heard.union(ended):
                child = children[slot]
                try:
                    message = child.incoming.read() if slot in heard else None
                except BlockingIOError:
                    continue  # the rest comes later
                child.lost = message is None
                if child.ready:
                    found.append((slot, message))
                elif message == READY:
                    child.ready = self._served = True
                else:
                    how = self.drop(slot)
                    if not self._served or child.process.returncode >= 0:
                        raise CannotStart(f"a worker process does not start: {how}")
                    found.append((slot, None))  # memory was short for a moment, say: others did start
        except (OSError, ValueError):
            return [(slot, None) for slot in slots]  # closed by another thread meanwhile
        return found + [(slot, None) for slot in slots if slot not in children]

    def drop(self, slot: int) -> str:
        """See `Executor.drop`."""
        child = self._children.get(slot)
        if child is None:
            return "it was ended"
        how = _end(child)
        self._children.pop(slot, None)  # last: what an interrupt leaves is ended by `close` (R5)
        return how

    def close(self) -> None:
        """See `Executor.close`."""
        self._closed = True
        _end_all(self._children, self._pid)


def _widen(pipe: int, size: int) -> None:
    """Let a pipe hold so much if that goes; a narrow one is slower, nothing else."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
        with contextlib.suppress(OSError):  # all pipes of this user together are large enough already
            if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < size:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def _end_all(children: dict[int, Child], pid: int) -> None:
    if os.getpid() != pid:
        return  # a forked child: these are its parent's
    for child in tuple(children.values()):
        _kill(child)  # all of them first: ending one by one takes a millisecond each
    for slot, child in tuple(children.items()):
        _end(child)
        children.pop(slot, None)


def _kill(child: Child) -> None:
    """End a worker and what queries started there: it leads a group of its own."""
    with contextlib.suppress(OSError):  # there is nobody any more
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.kill()


def _end(child: Child) -> str:
    try:
        # One that closed its output is about to end; the system may not know of that yet.
        ended = child.process.wait(END_SECONDS if child.lost else 0)
    except subprocess.TimeoutExpired:
        ended = None
    _kill(child)
    child.process.wait()
    for pipe in (child.input, child.output):
        try:
            pipe.close()
        except OSError:
            continue  # what was not read any more
    return "it was ended" if ended is None else _described(ended)


def _described(code: int) -> str:
    if code == OUT_OF_MEMORY:
        return "it ran out of memory"
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def _flags() -> list[str]:
    """Options of this interpreter that change what code does: -O, -W, -X; as `multiprocessing` does."""
    # Not public; `multiprocessing` takes them from there as well.
    found: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return found
