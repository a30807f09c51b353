"""Exchange: batches go to workers, questions and answers come back.

Invariants
    D1  Memos are of the generation in which they were asked for, or dropped.
    D2  Keys whose worker was lost are tried once more, alone; then they fail, and the others go on.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from attrs import define, field

import engine.collect as collect
import engine.verify as verify
from engine.claims import Cycle
from engine.core import Core, Request
from engine.errors import Cancelled, TimedOut, WorkerLost
from engine.execute import Outcome
from engine.graph import ERROR, MARKED, RUNNING, TRANSIENT
from engine.locate import locate
from engine.parallel.choose import must_run
from engine.parallel.executor import Executor
from engine.parallel.graft import Conflict, graft
from engine.parallel.held import Held, bytes_of
from engine.parallel.slot import Slot
from engine.parallel.surroundings import surroundings
from engine.parallel.units import (
    COMPUTE,
    GIVEN,
    REFUSED,
    Answer,
    Ask,
    Batch,
    Reply,
    Surroundings,
    Unit,
    decode_told,
    encode,
)
from engine.query import REGISTRY, QueryInfo
from engine.reach import closure
from engine.store import canonical

BATCH_SECONDS: Final = 0.05  # how long a batch should take: much longer than the 0.2 ms of its way
AHEAD: Final = 2  # batches under way in one worker: it goes on with the second while we take over the first
LARGEST: Final = 256  # units in a batch, so that the last one does not keep all others waiting
RECEIVED: Final = (
    64 << 20
)  # bytes of memos after which a worker starts anew, so that its memory stays bounded
TICK_SECONDS: Final = 0.1  # how long a request may be outdated, or the engine closed, before it is noticed
HELD, UNSETTLED, BUSY = "held", "unsettled", "busy"  # states of a table
STALE_SECONDS: Final = 1.0  # what a worker is given to end a batch that nobody wants any more


@define
class Order:
    """What one offer wants from its workers."""

    asker: Request
    outer: verify.Walk | None
    done: Callable[[int], Iterable[int]]  # told a unit that is done with; gives units that can go out now
    refused: Callable[[int, str, bool], None]  # told a unit, why, and whether that holds for its whole query
    # told one of some units, and microseconds: what of their work was known here, and what they cost
    repeated: Callable[[int, int, int], None]
    first: dict[int, None] = field(
        factory=dict
    )  # lookups into tables that have to be brought up to date first


class Exchange:
    """The conversation of one engine with its workers. Used by one thread at a time; the lock is held."""

    def __init__(self, core: Core, executor: Executor, held: Held) -> None:
        self._core = core
        self._executor = executor
        self._held = held
        self._slots: dict[int, Slot] = {}
        self._queue: deque[int] = deque()
        self._generation = -1
        self._size = 1  # units of the next batch
        self._retried: set[int] = set()  # nodes whose worker was lost, in this generation
        self.lost: dict[int, Exception] = {}  # nodes that are given up in this generation, until that is told

    @property
    def is_started(self) -> bool:
        """Whether there are workers already."""
        return bool(self._slots)

    def start(self) -> None:
        """A new generation."""
        self._generation = self._core.generation
        self._retried.clear()
        self.lost.clear()
        self._core.supply = None

    def run(self, units: Iterable[int], order: Order) -> None:
        """Send units out until all are done with, or something has to be done here first (`Order.first`).

        The lock is given away while workers work.
        Raises `Cancelled` when the revision moved on, and `CannotStart`.
        """
        self._queue.extend(units)
        around = surroundings()
        try:
            while self._is_wanted(order):
                numbers = self._executor.slots(len(self._queue))
                for number in numbers:
                    slot = self._slots.setdefault(number, Slot())
                    while self._queue and not order.first and self._takes_more(slot, len(numbers)):
                        if not self._send(number, slot, len(numbers), around):
                            break
                said = self._wait()
                _fence(order.asker)
                for number, data in said:
                    self._take(number, data, order)
                self._end_late_ones(order)
        except Cancelled:
            raise
        except BaseException:
            for number in [number for number, slot in self._slots.items() if slot.units]:
                self._drop(number)  # an interrupt may have struck while a message was half read
            raise
        finally:
            self._queue.clear()
            now = time.monotonic()
            for slot in self._slots.values():
                if slot.units and not slot.stale_since:
                    slot.stale_since = now

    def _is_wanted(self, order: Order) -> bool:
        more = bool(self._queue) and not order.first
        return more or any(slot.units and not slot.stale_since for slot in self._slots.values())

    def close(self) -> None:
        """End all workers."""
        self._executor.close()
        self._slots.clear()

    # -- sending and waiting -------------------------------------------------------------------

    def _takes_more(self, slot: Slot, slots: int) -> bool:
        """Whether a slot can be given a batch; one ahead only where there is work for all."""
        if not slot.flight:
            return True
        if len(slot.flight) >= AHEAD or slot.stale_since or slot.generation != self._core.generation:
            return False
        if not slot.sent_at or slot.received > RECEIVED or self._is_alone(slot.units[0]):
            return False
        return len(self._queue) > slots * self._size

    def _is_alone(self, node: int) -> bool:
        """Whether a unit travels alone, or with others of its query where that takes many keys: it is timed,
        counted by slots, or lost its worker once."""
        info = self._info(node)
        timed = info.timeout is not None or info.limit is not None
        return timed or info.many is not None or node in self._retried

    def _send(self, number: int, slot: Slot, slots: int, around: Surroundings) -> bool:
        """Give a slot a batch. False: there is none for it now."""
        core = self._core
        ahead = bool(slot.flight)
        if not ahead and (slot.generation != core.generation or slot.received > RECEIVED):
            slot.renew(core.generation)
        nodes = self._share(slots, ahead)
        if not nodes:
            return False
        modules: dict[str, bytes] = {}
        units = []
        for node in nodes:
            info = self._info(node)
            module = sys.modules[info.function.__module__]
            if module.__name__ not in slot.modules:
                modules[module.__name__] = os.fsencode(os.path.abspath(str(module.__file__)))
            code = core.codes[core.graph.query[node]]
            units.append(Unit(info.name, canonical.canonical(core.args_of(node)), code))
            self._held.look_at(node)
        fresh = None if slot.surroundings == around else around
        slot.modules |= modules.keys()
        if not ahead:
            slot.sent_at = 0.0 if modules else time.monotonic()
        slot.surroundings = around
        slot.flight.append(nodes)
        held, asked = self._held.news(slot.told)
        batch = Batch(slot.epoch, fresh, tuple(modules.items()), held, asked, tuple(units))
        self._executor.send(number, encode(batch))
        return True

    def _share(self, slots: int, ahead: bool) -> list[int]:
        """The units of the next batch. Those with a limit or a timeout go alone, to an idle slot."""
        found: list[int] = []
        most = max(1, min(self._size, LARGEST, -(-len(self._queue) // slots)))
        for _ in range(len(self._queue)):
            node = self._queue.popleft()
            info = self._info(node)
            alone = self._is_alone(node)
            if ((found or ahead) and alone) or not self._has_room(info):
                self._queue.append(node)  # its turn comes
                continue
            if info.many is not None and node not in self._retried:
                return self._together(node, info, slots)
            found.append(node)
            if alone or len(found) == most:
                break
        return found

    def _together(self, node: int, info: QueryInfo, slots: int) -> list[int]:
        """A unit with others of its query, which takes many keys: a fair share of all, not what is quick."""
        query = self._core.graph.query
        same = [one for one in self._queue if query[one] == query[node] and one not in self._retried]
        idle = slots - len([slot for slot in self._slots.values() if slot.flight])
        found = [node, *same[: min(info.batch, -(-(len(same) + 1) // max(idle, 1))) - 1]]
        taken = frozenset(found)
        self._queue = deque([one for one in self._queue if one not in taken])
        return found

    def _has_room(self, info: QueryInfo) -> bool:
        if info.limit is None:
            return True
        others = [self._info(slot.units[0]).limit for slot in self._slots.values() if slot.units]
        return others.count(info.limit) < self._core.limits.get(info.limit, len(others) + 1)

    def _wait(self) -> list[tuple[int, bytes | None]]:
        """What slots say. The lock is given away meanwhile."""
        core = self._core
        busy = [number for number, slot in self._slots.items() if slot.units]
        ends = [end for number in busy if (end := self._end_of(self._slots[number])) is not None]
        seconds = max(0.0, min([TICK_SECONDS, *(end - time.monotonic() for end in ends)]))
        try:
            core.lock.release()
            if core.events:
                core.emit()
            return self._executor.wait(busy, seconds)
        finally:
            core.regain()

    def _end_of(self, slot: Slot) -> float | None:
        """When a slot has to have answered."""
        if slot.stale_since:
            return slot.stale_since + STALE_SECONDS
        timeout = self._info(slot.units[0]).timeout
        return slot.sent_at + timeout if timeout is not None and slot.sent_at else None

    def _info(self, node: int) -> QueryInfo:
        info = self._core.bound[self._core.graph.query[node]]
        assert info is not None
        return info

    # -- what comes back -----------------------------------------------------------------------

    def _take(self, number: int, data: bytes | None, order: Order) -> None:
        slot = self._slots.get(number)
        if slot is None or not slot.units:
            return
        if data is None:
            self._bury(number, slot)
            return
        if not data:
            slot.sent_at = time.monotonic()  # only now: a timeout is none of the start and the imports
            return
        told = decode_told(data)
        if isinstance(told, Ask):
            self._answer(number, slot, told, order)
            return
        units = slot.flight.popleft()
        if slot.stale_since:
            if not slot.flight:
                slot.stale_since = 0.0
            return
        slot.sent_at = time.monotonic()
        slot.postponed, postponed = set(), slot.postponed
        if slot.is_outdated:  # by the batch before it: in another epoch it may come to something
            self._queue.extend(units)
            return
        if told.seconds:
            self._size = max(1, min(LARGEST, int(len(units) * BATCH_SECONDS / told.seconds)))
        slot.received += len(data)
        self._graft(slot, told, frozenset(units), order)
        for place, why, for_all in told.refused:
            if place not in postponed:
                order.refused(units[place], why, for_all)
        if told.broken:
            logging.getLogger("engine").debug("a worker begins anew: %s", told.broken)
            slot.outdate()
        for node in units:
            self._queue.extend(order.done(node))

    def _graft(self, slot: Slot, answer: Answer, units: frozenset[int], order: Order) -> None:
        slot.codes.update(answer.codes)
        whole = known = 0
        for record in answer.records:
            try:
                code = slot.codes.get(record.query, b"")
                if not graft(self._core, record, code, slot.ids, units, order.asker, order.outer):
                    known += record.cost
                elif slot.ids[record.node] in units:
                    whole += record.cost
            except Conflict as why:
                # Nor is what rests on it; and in this epoch the worker will go on to rest on it.
                logging.getLogger("engine").debug("a memo of a worker is not taken over: %s", why)
                slot.outdate()
        order.repeated(next(iter(units)), known, whole)

    def withdraw(self, is_fit: Callable[[int], bool]) -> None:
        """Send no unit any more that is not fit now."""
        self._queue = deque([node for node in self._queue if is_fit(node)])

    def _answer(self, number: int, slot: Slot, ask: Ask, order: Order) -> None:
        reply = Reply(REFUSED)  # also if the revision moves on meanwhile: it must not wait for ever
        try:
            if not slot.stale_since:
                reply = self._reply(slot, ask, order)
        finally:
            self._executor.send(number, encode(reply))

    def _reply(self, slot: Slot, ask: Ask, order: Order) -> Reply:
        """What the unit would be told if it ran here and read that key: see `Running.fetch`."""
        core, graph = self._core, self._core.graph
        info = REGISTRY.get(ask.query)
        if info is None:
            return Reply(COMPUTE)
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
        node = locate(core, info, canonical.restore(ask.args))
        _fence(order.asker)
        lookup = info.collection is not None and info is not info.collection.member
        if lookup:
            state = _state_of(core, info)
            if state is not HELD:
                if state is UNSETTLED:
                    order.first[node] = None
                    slot.postponed.add(ask.place)
                return Reply(REFUSED)
        elif (not graph.verified_at[node] or must_run(core, node)) and node not in core.claims:
            return Reply(COMPUTE)
        # Who waits in a circle must find the unit on it.
        walk = verify.Walk(order.asker, order.outer)
        unit = slot.units[ask.place]
        walk.steps.append(unit)
        walk.entered, walk.positions = {unit}, [-1]
        try:
            if core.doubtful:
                collect.below(core, (node,), order.asker)
            verify.ensure(core, node, order.asker, walk)
        except Cycle:
            return Reply(REFUSED)
        _fence(order.asker)
        data = None if graph.flags[node] & TRANSIENT else bytes_of(core, node)
        if data is None:
            return Reply(REFUSED if lookup or graph.flags[node] & (ERROR | TRANSIENT) else COMPUTE)
        slot.ids[ask.node] = node
        return Reply(GIVEN, bool(graph.flags[node] & ERROR), graph.fingerprint[node], data)

    # -- what does not come back ---------------------------------------------------------------

    def _bury(self, number: int, slot: Slot) -> None:
        """A worker was lost: what it had is tried once more, alone (D2)."""
        how = self._drop(number)
        if slot.stale_since:
            return
        worked_on, *ahead = slot.flight
        for node in worked_on:
            if node in self._retried:
                self._give_up(node, WorkerLost(key=self._core.name_of(node), cause=how))
            else:
                self._retried.add(node)
                self._queue.append(node)
        for nodes in ahead:
            self._queue.extend(nodes)

    def _end_late_ones(self, order: Order) -> None:
        now = time.monotonic()
        for number, slot in tuple(self._slots.items()):
            end = self._end_of(slot) if slot.units else None
            if end is None or end > now:
                continue
            self._drop(number)
            if slot.stale_since:
                continue
            if len(slot.units) > 1:  # together they take too long: each alone
                self._retried.update(slot.units)
                self._queue.extend(slot.units)
            for node in slot.units if len(slot.units) == 1 else ():
                seconds = self._info(node).timeout
                self._give_up(node, TimedOut(key=self._core.name_of(node), seconds=seconds))
                self._queue.extend(order.done(node))

    def _give_up(self, node: int, error: Exception) -> None:
        """Let a key fail: the error is raised where its function would run."""
        if self._core.graph.status[node] & MARKED:
            self.lost[node] = error
            self._core.supply = self._tell_lost

    def _tell_lost(self, node: int) -> Outcome | None:
        """Stands in for the functions of keys that are given up."""
        error = self.lost.pop(node, None) if self._generation == self._core.generation else None
        if error is not None:
            raise error
        return None

    def _drop(self, number: int) -> str:
        del self._slots[number]
        return self._executor.drop(number)


def _state_of(core: Core, lookup: QueryInfo) -> str:
    """Whether the table that a lookup looks into is up to date. To bring it there takes all workers."""
    graph = core.graph
    node = locate(core, lookup.collection.settle, ())
    if graph.status[node] & RUNNING:
        return BUSY
    settled = graph.verified_at[node] and not graph.status[node] & MARKED
    return HELD if settled and not closure(core, graph.flags[node]) & core.doubtful else UNSETTLED


def _fence(asker: Request) -> None:
    if asker.generation != asker.core.generation:
        raise Cancelled
