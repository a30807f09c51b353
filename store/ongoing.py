"""Ongoing: a large log is merged in a thread of its own, while others read and commit.

To copy 128 MB into a main file of 250 takes half a second, and a quarter to read that for its seal. So
neither is done while somebody waits. Only what was committed meanwhile is copied then, and the log is
emptied, in slices of 10 ms.

Invariants
    N1  The thread copies by a connection of its own, and reads the main file, which changes by merging alone.
        All else is done in `inside`, where nobody uses the store.
    N2  No reader of ours begins before the log is empty, as with any merge (lock L4).
    N3  After `stop` the thread uses nothing of the store, however far it came. What it did stands: it is
        merged once more, or was as good as done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.store.ending import STEP_SECONDS, Ending
from engine.store.lock import Held

WORTH_BYTES = 32 << 20  # of log and main file: less is merged in some 50 ms, and a thread is not worth it


class Stopped(Exception):
    """Nobody wants it to go on."""


class Ongoing:
    """One merge; `work` does it, and raises Stopped, or lets it pass, when it was stopped."""

    def __init__(self, work: Callable[[Ongoing], None], guard: threading.RLock, readers: Held) -> None:
        self._work = work
        self._guard = guard
        self._readers = readers  # kept out until all is merged
        self._end = Ending()
        self.is_stopped = False
        self._begun = threading.Lock()  # taken by who runs it, or sees to it that nobody will
        self._thread = threading.Thread(target=self._run, name="engine-merge", daemon=True)

    def start(self) -> None:
        """RuntimeError: no thread is to be had. Struck, it may have begun: then `stop`."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return self._end.is_over

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Nobody else uses the store meanwhile. Who stops it may hold the guard, and waits for its end."""
        while not self._guard.acquire(timeout=STEP_SECONDS):
            if self.is_stopped:
                raise Stopped
        try:
            if self.is_stopped:
                raise Stopped
            yield
        finally:
            self._guard.release()

    def let_readers_in(self) -> None:
        """All is merged, and what they read changes no more."""
        self._readers.release()

    def stop(self) -> None:
        """When this returns, it is over."""
        self.is_stopped = True
        if self._begun.acquire(blocking=False):  # there is no such thread, or it comes too late
            self._let_go()
        # A store that was forgotten is closed by whichever thread finds that out, perhaps this very one.
        elif threading.current_thread() is not self._thread:
            self._end.wait()

    def _run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._work(self)
        except Stopped:
            pass
        finally:
            self._let_go()

    def _let_go(self) -> None:
        try:
            self._readers.release()
        finally:
            del self._work  # it holds the store, whose finalizer holds this: it would never be forgotten
            self._end.tell()
