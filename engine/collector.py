"""Collector: while requests run, Python looks for garbage in cycles less often.

A build makes objects that stay, and hardly a cycle: to look for those after every 700 new objects, and at
all there are whenever they have grown by a quarter, costs a seventh of a build of 10,000 files and a quarter
of one of 100,000 (with Python 3.11; since 3.13 it looks after 2,000). The thresholds are those of the
process, so they are given back when no request runs.

Invariants
    G1  Thresholds are raised while a request runs and at no other time, but in processes that are ours.
    G2  What was there before is restored once, by the last request to end, however it ends.
    G3  A host is not touched that disabled the collector, set thresholds as high, or set others meanwhile.

Not here: what is dropped from the store (store/gc), tables and folds (collection).
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Final

# New objects until Python looks for garbage in cycles. A build of 100,000 files spends 17 s of 63 in the
# collector with Python's 700, and 4 with this, for no more memory; one of 10,000 files 0.75 s with 700, 0.28
# with 5,000, 0.14 with this and as much with 200,000, for what stays is looked at once or twice in any case.
GARBAGE_AFTER: Final = 50_000

lock = threading.RLock()  # a signal's handler may make a request of its own
_running: set[object] = set()  # one for each request
_before: tuple[int, int, int] | None = None  # what to restore; None: nothing was raised

end: Final[Callable[[object], None]] = _running.discard
"""Note that a request ended. In C: an interrupt does not come between its first step and its last (G2)."""


def relax() -> None:
    """Raise the thresholds of this process for good: for processes that are ours."""
    if _are_lower(gc.get_threshold()):
        gc.set_threshold(GARBAGE_AFTER)


def begin(request: object) -> None:
    """A request begins: raise the thresholds until the last one has ended."""
    global _before
    with lock:
        _running.add(request)
        found = gc.get_threshold()
        if _before is None and gc.isenabled() and _are_lower(found):
            _before = found
            gc.set_threshold(GARBAGE_AFTER)


def restore() -> None:
    """Restore the thresholds if no request runs any more."""
    global _before
    with lock:
        if _running or _before is None:
            return
        if gc.get_threshold()[0] == GARBAGE_AFTER:
            gc.set_threshold(*_before)
        _before = None


def _in_child() -> None:
    """In a process that was forked: what other threads held and ran, nobody gives back and ends here."""
    global lock
    lock = threading.RLock()
    _running.clear()
    restore()


def _are_lower(found: tuple[int, int, int]) -> bool:
    return 0 < found[0] < GARBAGE_AFTER  # 0: it is off


os.register_at_fork(after_in_child=_in_child)
