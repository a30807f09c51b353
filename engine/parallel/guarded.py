"""Guarded: an executor of the host, of which nothing that it raises becomes the value of a query.

Invariants
    E1  What it raises in its work means that it computes nothing any more; everything is computed here.
    E2  What it raises as something ends is logged: it holds up no store, and no other slot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.parallel.executor import CannotStart, Executor


class Guarded:
    """See `Executor`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def open(self, setup: bytes) -> None:
        """See `Executor.open`."""
        with _at_work():
            self._executor.open(setup)

    def slots(self, wanted: int) -> Sequence[int]:
        """See `Executor.slots`."""
        with _at_work():
            return tuple(self._executor.slots(wanted))

    def send(self, slot: int, message: bytes) -> None:
        """See `Executor.send`."""
        with _at_work():
            self._executor.send(slot, message)

    def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
        """See `Executor.wait`."""
        with _at_work():
            return list(self._executor.wait(slots, seconds))

    def drop(self, slot: int) -> str:
        """See `Executor.drop`."""
        try:
            return self._executor.drop(slot)
        except Exception as error:  # of the host (E2)
            logging.getLogger("engine").exception("an executor failed to end slot %s", slot)
            return f"it could not be ended: {error}"

    def close(self) -> None:
        """See `Executor.close`."""
        try:
            self._executor.close()
        except Exception:  # of the host (E2)
            logging.getLogger("engine").exception("an executor failed to close")


@contextmanager
def _at_work() -> Iterator[None]:
    try:
        yield
    except CannotStart:
        raise
    except Exception as error:  # of the host (E1)
        logging.getLogger("engine").exception("an executor failed")
        raise CannotStart(f"the executor failed: {type(error).__name__}: {error}") from error
