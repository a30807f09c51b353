"""Ending: that the work of a thread is over, for who waits for it.

A `threading.Event` is no choice here: an interrupt that strikes as it is set or waited for may leave its lock
taken for ever, and then nobody can set it, nor wait. See test_store_lock_struck.
"""

from __future__ import annotations

import threading

STEP_SECONDS = 0.01  # between two looks, where another thread that waits took the lock


class Ending:
    """Over or not yet, and never again otherwise."""

    def __init__(self) -> None:
        self.is_over = False
        self._lock = threading.Lock()  # until then it is taken
        self._lock.acquire()

    def tell(self) -> None:
        """It is over. Once."""
        self.is_over = True
        self._lock.release()

    def wait(self) -> None:
        while not self.is_over:
            self._lock.acquire(timeout=STEP_SECONDS)
