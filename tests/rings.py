"""Cycles in tests: an answer or the word for a cycle, and an interrupt after so many reads."""

from __future__ import annotations

from typing import Any

from engine import CycleError, Engine, View

FAILS = "a cycle"
reads_left = [0]  # until an interrupt; 0: there is none


def burn() -> None:
    """To be called by a query after a read."""
    reads_left[0] -= 1
    if reads_left[0] == 0:
        raise KeyboardInterrupt


def told(db: Engine | View, query: Any, *args: Any) -> Any:
    """The answer of an engine, or of a snapshot."""
    try:
        return db.get(query, *args)
    except CycleError:
        return FAILS
