"""Limits: how many keys of queries with a `limit=` of one name run at a time, in threads and in processes.

Invariants
    N1  Who waits, for room or for anybody else, holds none: so no two can wait for each other. It goes on
        when there is room for it again.
    N2  A key below one that holds the same limit runs within it.
    N3  That holds also where a query asks another engine, and waits for room there. What it gave back in its
        own engine it takes again when that answers: until then it may hold claims there that others wait for.
        (It does not hold where it waits there for a key that runs already.)
    N4  To take a place, or to give it back, once more changes nothing. So what an interrupt left behind is
        made good by whoever tidies up after it.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.errors import Cancelled

if TYPE_CHECKING:
    from engine.core import Request


class Place(NamedTuple):
    """A place that a thread took for a key, and for what runs below it in other threads."""

    limits: Limits
    name: str
    who: Hashable


# Those of whatever engine: a query may ask another one.
_HELD: Final[ContextVar[tuple[Place, ...]]] = ContextVar("engine_limits_held", default=())
# Those in engines that asked another one, and given back since. A list: contexts are copied on the way.
_LENT: Final[ContextVar[list[Place] | None]] = ContextVar("engine_limits_lent", default=None)


class Limits:
    """The named limits of one engine, and who takes places. The lock is held, but for `held`."""

    def __init__(self, sizes: Mapping[str, int], released: threading.Condition) -> None:
        self._sizes = dict(sizes)
        self._released = released  # of the engine's lock
        self._taken: dict[str, set[Hashable]] = {name: set() for name in sizes}

    def of_another(self, released: threading.Condition) -> Limits:
        """As many places, for another engine."""
        return Limits(self._sizes, released)

    @property
    def names(self) -> tuple[str, ...]:
        """The limits that are counted."""
        return tuple(self._sizes)

    def size(self, name: str | None) -> int | None:
        """How many may run at a time; None: as many as like."""
        return None if name is None else self._sizes.get(name)

    def bars(self, name: str | None) -> bool:
        """Whether a key with this limit may not run here: in a worker, whose parent counts places."""
        return False

    def has_room(self, name: str | None) -> bool:
        """Whether one more may run now."""
        size = self.size(name)
        return size is None or name is None or len(self._taken[name]) < size

    @property
    def is_free(self) -> bool:
        """Whether nobody takes a place."""
        return not any(self._taken.values())

    def take(self, name: str | None, who: Hashable) -> None:
        """One more runs."""
        if name in self._taken:
            self._taken[name].add(who)

    def give_back(self, who: Hashable) -> None:
        """Somebody takes no place any more."""
        places = [taken for taken in self._taken.values() if who in taken]
        for taken in places:
            taken.discard(who)
        if places:
            self._released.notify_all()

    @contextmanager
    def held(self, name: str, asker: Request) -> Iterator[None]:
        """Wait until there is room for one more, and let it run inside. The lock is not held.

        Raises `Cancelled` when the revision moves on meanwhile.
        """
        before = self._held()
        if self.size(name) is None or any(place.name == name for place in before):  # N2
            yield
            return
        place = Place(self, name, (threading.get_ident(), name))
        token = _HELD.set((*_HELD.get(), place))
        try:
            if not self._take_at_once(place):
                _lend_elsewhere(self._others())
                with self._released:
                    self._lend(before)
                    self._regain(before, asker, place)
            yield
        finally:
            _HELD.reset(token)
            with self._released:
                self.give_back(place.who)

    @contextmanager
    def idle(self, asker: Request) -> Iterator[None]:
        """Inside, this thread waits for others: what it holds is free for them (N1)."""
        places = self._held()
        if not places:
            yield
            return
        token = _HELD.set(self._others())
        self._lend(places)
        try:
            yield
        finally:
            _HELD.reset(token)
            self._regain(places, asker)

    def _take_at_once(self, place: Place) -> bool:
        with self._released:
            if not self.has_room(place.name):
                return False
            self.take(place.name, place.who)
            return True

    def interrupted(self) -> None:
        """An interrupt leaves the engine in this thread: it holds nothing any more (N4)."""
        _HELD.set(self._others())
        for name in self._taken:
            self.give_back((threading.get_ident(), name))

    def _held(self) -> tuple[Place, ...]:
        return tuple([place for place in _HELD.get() if place.limits is self])

    def _others(self) -> tuple[Place, ...]:
        return tuple([place for place in _HELD.get() if place.limits is not self])

    def _lend(self, places: tuple[Place, ...]) -> None:
        for place in places:
            self.give_back(place.who)

    def _regain(self, lent: tuple[Place, ...], asker: Request, more: Place | None = None) -> None:
        """Take what was lent, as soon as there is room for that and for one more."""
        wanted = lent if more is None else (*lent, more)
        try:
            while not all(self.has_room(place.name) for place in wanted):
                if asker.generation != asker.core.generation:
                    raise Cancelled
                self._released.wait()
        finally:
            for place in wanted:  # also when it is cancelled: it gives them back as it unwinds
                self.take(place.name, place.who)


def _lend_elsewhere(places: tuple[Place, ...]) -> None:
    for place in places:
        with place.limits._released:
            place.limits.give_back(place.who)
    lent = _LENT.get()
    if lent is not None:  # else nobody asked another engine
        lent.extend(places)


@contextmanager
def asked_by(limits: Limits) -> Iterator[None]:
    """Around what a query of one engine asks another one: what it gave back meanwhile it takes again (N3)."""
    lent: list[Place] = []
    token = _LENT.set(lent)
    try:
        yield
    finally:
        _LENT.reset(token)
        others = _LENT.get()
        for place in dict.fromkeys(lent):
            if place.limits is limits:
                _take_again(place)
            elif others is not None:
                others.append(place)  # of an engine that asked this one


def _take_again(place: Place) -> None:
    with place.limits._released:
        try:
            place.limits._released.wait_for(partial(place.limits.has_room, place.name))
        finally:
            place.limits.take(place.name, place.who)  # also when interrupted: it gives it back


def begin_thread() -> None:
    """A thread that works for another one holds nothing of what that holds."""
    _HELD.set(())
