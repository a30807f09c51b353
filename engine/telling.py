"""Telling: what is told of the work of one engine: to listeners, to a watch, and to the user in sentences.

Invariants
    T1  Listeners are called without the engine's lock, in the order of what happened, one at a time; what one
        of them raises goes to the log, once, and never to who asked for a value (event V2).
    T2  The journal is kept while a watch reads it, and only then.
    T3  A sentence of one kind is kept once, until what it tells is over (`over`); any other once, until
        somebody has asked for it. What nobody asks for takes bounded room: the newest are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final

from engine.event import Event, What

NOTES: Final = 1_000  # of a host that never asks for them; the oldest go

# What happened to a node, its microseconds, and its fingerprints before and after.
Record = tuple[What, int, int, bytes, bytes]


class Telling:
    """What waits to be told, and to whom. `Core.tell` is where events come from."""

    __slots__ = ("_emitting", "_failing", "_noted", "events", "journal", "listeners", "notes")

    def __init__(self) -> None:
        self.listeners: list[Callable[[Event], object]] = []
        self._failing: list[Callable[[Event], object]] = []  # each is told of once
        self.events: deque[Event] = deque()
        self._emitting = Lock()
        self.journal: deque[Record] | None = None  # what ran and what was looked at, kept for a watch
        self.notes: list[str] = []  # sentences for the user
        self._noted: set[str] = set()

    def listen(self, listener: Callable[[Event], object]) -> Callable[[], None]:
        """Tell `listener` of events until the function is called that this returns."""
        self.listeners.append(listener)

        def end() -> None:
            self.listeners.remove(listener)
            self._failing = self._failing_still()

        return end

    def _failing_still(self) -> list[Callable[[Event], object]]:
        """Of the listeners that failed, those that are there still."""
        return [one for one in self._failing if any(one is other for other in self.listeners)]

    def emit(self) -> None:
        """Hand queued events to the listeners. The lock is not held (T1)."""
        while self.events and self._emitting.acquire(blocking=False):
            try:
                while self.events:
                    event = self.events.popleft()
                    for listener in tuple(self.listeners):
                        try:
                            listener(event)
                        except Exception:  # of the host: it must not fail the query that is told of
                            if any(one is listener for one in self._failing):
                                continue
                            import logging  # late: of no use where no listener fails

                            self._failing.append(listener)
                            self._failing = self._failing_still()  # it may have ended itself
                            text = "a listener failed on %s; its later failures are not logged"
                            logging.getLogger("engine").exception(text, event)
            finally:
                self._emitting.release()

    def note(self, text: str, once: str = "") -> None:
        """Keep a sentence for the user; with `once`, only the first of its kind."""
        if once:
            if once in self._noted:
                return
            self._noted.add(once)
        if text not in self.notes:  # twice in what nobody has read yet tells no more
            self.notes.append(text)
            del self.notes[:-NOTES]

    def over(self, once: str) -> None:
        """What was noted of this kind is over: it is told again if it happens again."""
        self._noted.discard(once)
