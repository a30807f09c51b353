"""Claims: the right to compute a key. Others wait for it; see rings for a key that waits for itself.

Invariants
    S1  At most one thread runs a key at a time: who runs it has its claim, from before its function is called
        until its memo is in place.
    S2  Who gives a claim back wakes those that wait for it, and they look again.
    S3  A knot lasts as long as something runs: then its members have memos that say what they need.
"""

from __future__ import annotations

from threading import Condition, RLock
from typing import TYPE_CHECKING

from engine.frame import NO_TABLES

if TYPE_CHECKING:
    from engine.running import Running
    from engine.verify import Walk


class Claims:
    """Who computes which key of one engine, and who waits for whom. All under the engine's lock."""

    __slots__ = ("held", "knots", "released", "waiting")

    def __init__(self, lock: RLock) -> None:
        self.held: dict[int, Running] = {}  # key -> the frame that computes it
        self.waiting: dict[int, list[Walk]] = {}  # key -> the walks that wait for it
        self.knots: dict[int, set[int]] = {}  # of members of rings: all that they need and that need them
        self.released = Condition(lock)  # a claim was given back

    def give_back(self, node: int, frame: Running) -> None:
        """The key is computed, or is not going to be."""
        if self.held.get(node) is frame:  # else the lists were built anew meanwhile
            del self.held[node]
        if self.waiting:
            self.released.notify_all()

    def wake(self) -> None:
        """Let all who wait look again: what they wait for may never come."""
        self.released.notify_all()

    def hide_tables(self) -> None:
        """Let all reads of the frames that run come to `fetch` from now on."""
        for frame in tuple(self.held.values()):
            frame.tables = NO_TABLES

    def drop(self) -> None:
        """Nobody has a claim any more: an interrupt left them behind."""
        self.held.clear()
        self.wake()

    def check_invariants(self) -> None:
        """Raise AssertionError where one does not hold. For tests, at rest."""
        assert not self.held, f"S1: {list(self.held)} were never given back"
        assert not self.waiting, f"S2: {list(self.waiting)} are waited for, and nothing runs"
