"""Limits: how many keys of queries with a `limit=` of one name run at a time, in threads and in processes.

Invariants
    N1  Who waits, for room or for anybody else, holds none: so no two can wait for each other. It goes on
        when there is room for it again.
    N2  A key below one that holds the same limit runs within it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from engine.errors import Cancelled

if TYPE_CHECKING:
    from engine.core import Request

# What this thread holds, of whatever engine: a query may ask another one.
_HELD: Final[ContextVar[tuple[tuple[Limits, str], ...]]] = ContextVar("engine_limits_held", default=())


class Limits:
    """The named limits of one engine, and how much of them is taken. The lock is held, but for `held`."""

    def __init__(self, sizes: Mapping[str, int], released: threading.Condition) -> None:
        self._sizes = dict(sizes)
        self._released = released  # of the engine's lock
        self._taken: Counter[str] = Counter()

    def size(self, name: str | None) -> int | None:
        """How many may run at a time; None: as many as like."""
        return None if name is None else self._sizes.get(name)

    def has_room(self, name: str | None) -> bool:
        """Whether one more may run now."""
        size = self.size(name)
        return size is None or name is None or self._taken[name] < size

    def take(self, name: str | None) -> None:
        """One more runs."""
        if name is not None:
            self._taken[name] += 1

    def give_back(self, name: str | None) -> None:
        """One ended."""
        if name is not None:
            self._taken[name] -= 1
            self._released.notify_all()

    @contextmanager
    def held(self, name: str, asker: Request) -> Iterator[None]:
        """Wait until there is room for one more, and let it run inside. The lock is not held.

        Raises `Cancelled` when the revision moves on meanwhile.
        """
        before = self._names()
        if self.size(name) is None or name in before:  # N2
            yield
            return
        with self._released:
            self._lend(before)
            self._regain(before, (name,), asker)
            self.take(name)
        token = _HELD.set((*_HELD.get(), (self, name)))
        try:
            yield
        finally:
            _HELD.reset(token)
            with self._released:
                self.give_back(name)

    @contextmanager
    def idle(self, asker: Request) -> Iterator[None]:
        """Inside, this thread waits for others: what it holds is free for them (N1)."""
        names = self._names()
        if not names:
            yield
            return
        token = _HELD.set(tuple([held for held in _HELD.get() if held[0] is not self]))
        self._lend(names)
        try:
            yield
        finally:
            _HELD.reset(token)
            self._regain(names, (), asker)

    def _names(self) -> tuple[str, ...]:
        return tuple([name for limits, name in _HELD.get() if limits is self])

    def _lend(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.give_back(name)

    def _regain(self, names: tuple[str, ...], more: tuple[str, ...], asker: Request) -> None:
        """Take what was lent, as soon as there is room for that and for more."""
        try:
            while not all(map(self.has_room, (*names, *more))):
                if asker.generation != asker.core.generation:
                    raise Cancelled
                self._released.wait()
        finally:
            for name in names:
                self.take(name)  # also when it is cancelled: it gives them back as it unwinds


def begin_thread() -> None:
    """A thread that works for another one holds nothing of what that holds."""
    _HELD.set(())
