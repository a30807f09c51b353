"""Exchange: batches go to workers, questions and answers come back.

Invariants
    D1  Memos are of the generation in which they were asked for, or dropped.
    D2  Keys whose worker was lost are tried once more, alone; then they fail, and the others go on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

from msgspec import MsgspecError

from engine.core import Core
from engine.errors import Cancelled, TimedOut, WorkerLost
from engine.parallel.executor import CannotStart, Executor
from engine.parallel.graft import Conflict, graft
from engine.parallel.held import Held
from engine.parallel.lost import Lost
from engine.parallel.order import Order
from engine.parallel.packed import packed
from engine.parallel.pending import Pending
from engine.parallel.questions import reply
from engine.parallel.repeated import Again
from engine.parallel.shared import Shared
from engine.parallel.slot import KEPT, RECEIVED, Slot
from engine.parallel.stored import StoredTables
from engine.parallel.surroundings import surroundings
from engine.parallel.units import REFUSED, Answer, Ask, Reply, Surroundings, decode_told, encode
from engine.persist import commit, is_due

AHEAD: Final = 2  # batches under way in one worker: it goes on with the second while we take over the first
AT_COMMIT: Final = 8  # the same when we are about to commit: as long as that takes
FEW: Final = 4_096  # units that wait, below which more are looked for
COMMIT_ROWS: Final = 20_000  # rows of a commit meanwhile: more take longer than the batches that workers have
TICK_SECONDS: Final = 0.1  # how long a request may be outdated, or the engine closed, before it is noticed
STALE_SECONDS: Final = 1.0  # what a worker is given to end a batch that nobody wants any more


class Exchange:
    """The conversation of one engine with its workers. Used by one thread at a time; the lock is held."""

    def __init__(self, core: Core, executor: Executor, held: Held) -> None:
        self._core = core
        self._executor = executor
        self._held = held
        self._shared = Shared(core)
        self._stored = StoredTables(core)
        self._slots: dict[int, Slot] = {}
        self._pending = Pending(core)
        self._most = RECEIVED if core.memory is None else min(RECEIVED, core.memory.most_unsaved // 2)
        self._heard: deque[tuple[int, bytes | None]] = deque()  # what slots said, and nobody looked at yet
        self._listened = 0.0  # until when
        self.lost = Lost(core)

    @property
    def is_started(self) -> bool:
        """Whether there are workers already."""
        return bool(self._slots)

    def start(self) -> None:
        """A new generation."""
        self._pending.start()
        self.lost.start()
        self._shared.start()
        self._stored.start()

    def run(self, units: Iterable[int], order: Order) -> None:
        """Send units out until all are done with, or something has to be done here first (`Order.first`).

        The lock is given away while workers work.
        Raises `Cancelled` when the revision moved on, and `CannotStart`.
        """
        try:
            self._take_heard(order)  # when the revision moved on: who said it is free again
            self._pending.add(units)
            around = surroundings()
            while self._is_wanted(order):
                for number, slot in self._slots.items():
                    self._tell_owed(number, slot)
                if not order.first and len(self._pending) < FEW:
                    self._pending.add(order.more())
                due = is_due(self._core, COMMIT_ROWS) or self._stored.are_wanted
                numbers = self._executor.slots(len(self._pending))
                self._forget_all_but(numbers)
                for number in numbers:
                    slot = self._slots.setdefault(number, Slot())
                    while self._pending and not order.first and self._takes_more(slot, len(numbers), due):
                        if not self._send(number, slot, len(numbers), around):
                            break
                if due:
                    began = self._core.clock()
                    commit(self._core, goes_on=True)  # now, when workers have enough to go on with
                    self._held.silent(began, self._core.clock())
                self._wait()
                self._core.ran_at = self._core.clock()
                order.fence()
                self._take_heard(order)
                self._end_late_ones(order)
        except Cancelled:
            raise
        except BaseException:
            for number in [number for number, slot in self._slots.items() if slot.units]:
                self._drop(number)  # an interrupt may have struck while a message was half read
            raise
        finally:
            self._pending.clear()
            now = time.monotonic()
            for number, slot in tuple(self._slots.items()):
                if slot.limit is not None or slot.owed is not None:
                    self._drop(number)  # nobody may ever hear that it is done: its place would stay taken
                elif slot.units and not slot.stale_since:
                    slot.stale_since = now

    def _forget_all_but(self, numbers: Collection[int]) -> None:
        """Drop those that ended while nobody asked them for anything. Those at work say so themselves."""
        for number in [one for one, slot in self._slots.items() if one not in numbers and not slot.flight]:
            self._drop(number)

    def _is_wanted(self, order: Order) -> bool:
        more = bool(self._pending) and not order.first
        return more or any(slot.units and not slot.stale_since for slot in self._slots.values())

    def rest(self) -> None:
        """Nothing is asked for any more: end the workers that hold much."""
        for number, slot in tuple(self._slots.items()):
            if max(slot.received, slot.received_before) > KEPT and not slot.flight:
                self._drop(number)

    def close(self) -> None:
        """End all workers."""
        self._executor.close()
        while self._slots:
            self._release(self._slots.popitem()[1])

    # -- sending and waiting -------------------------------------------------------------------

    def _takes_more(self, slot: Slot, slots: int, due: bool) -> bool:
        """Whether a slot can be given a batch; some ahead only where there is work for all.

        What is under way at the same time may be computed twice: more of it only while a commit is due.
        """
        if not slot.flight:
            return True
        if len(slot.flight) >= (AT_COMMIT if due else AHEAD) or slot.stale_since:
            return False
        if slot.generation != self._core.generation:
            return False
        if not slot.sent_at or slot.received > self._most or self._pending.is_alone(slot.units[0]):
            return False
        return self._pending.is_plenty(slots, len(slot.flight))

    def _send(self, number: int, slot: Slot, slots: int, around: Surroundings) -> bool:
        """Give a slot a batch. False: there is none for it now."""
        core = self._core
        ahead = bool(slot.flight)
        if slot.generation != core.generation or slot.received > self._most:  # it is idle, see `_takes_more`
            slot.renew(core.generation)
        idle = slots - len([one for one in self._slots.values() if one.flight])
        nodes = self._pending.next_batch(slots, idle, ahead=ahead)
        if not nodes:
            return False
        codes = {row: core.queries.codes[row] for row in {core.graph.query[node] for node in nodes}}
        if any(slot.sent.get(row, code) != code for row, code in codes.items()):
            # It imported a module that was loaded anew here since: a fresh one imports what is there now.
            self._pending.add(nodes)
            self._drop(number)
            return False
        slot.sent |= codes
        batch = packed(core, slot, nodes, around, self._held, self._shared, self._stored)
        if not ahead:
            slot.sent_at = 0.0 if batch.modules else time.monotonic()
        slot.flight.append(nodes)
        # A unit with a limit travels alone, or with others of its query.
        slot.limit = core.definition_of(nodes[0]).limit
        core.limits.take(slot.limit, slot)
        self._executor.send(number, encode(batch))
        return True

    def _wait(self) -> None:
        """Hear what slots say, until something comes. The lock is given away meanwhile."""
        core = self._core
        busy = [number for number, slot in self._slots.items() if slot.units]
        ends = [end for number in busy if (end := self._end_of(self._slots[number])) is not None]
        seconds = max(0.0, min([TICK_SECONDS, *(end - time.monotonic() for end in ends)]))
        try:
            core.lock.release()
            if core.telling.events:
                core.telling.emit()
            self._heard += self._executor.wait(busy, seconds)
            self._listened = time.monotonic()
        finally:
            core.regain()

    def _end_of(self, slot: Slot) -> float | None:
        """When a slot has to have answered."""
        if slot.stale_since:
            return slot.stale_since + STALE_SECONDS
        timeout = self._core.definition_of(slot.units[0]).timeout
        waits = not slot.sent_at or slot.owed is not None
        return None if timeout is None or waits else slot.sent_at + timeout

    # -- what comes back -----------------------------------------------------------------------

    def _take_heard(self, order: Order) -> None:
        while self._heard:
            self._take(*self._heard.popleft(), order)

    def _take(self, number: int, data: bytes | None, order: Order) -> None:
        slot = self._slots.get(number)
        slot = slot if slot is not None and slot.units else None
        if not data:
            if slot is not None and data is None:
                self._bury(number, slot)
            elif slot is not None:
                slot.sent_at = time.monotonic()  # only now: a timeout is none of the start and the imports
            return
        try:
            told = decode_told(data)
        except MsgspecError as error:  # a version of another day elsewhere, say
            raise CannotStart(f"a worker tells what cannot be read: {error}") from error
        if slot is None or told.epoch not in (0, slot.epoch):  # it was dropped, and went on all the same
            if isinstance(told, Ask):
                self._executor.send(number, encode(Reply(REFUSED)))
            return
        if isinstance(told, Ask):
            self._answer(number, slot, told, order)
            return
        units = slot.flight.popleft()
        self._release(slot)
        if slot.stale_since:
            if not slot.flight:
                slot.stale_since = 0.0
            return
        slot.sent_at = time.monotonic()
        slot.postponed, postponed = set(), slot.postponed
        if slot.is_outdated:  # by the batch before it: in another epoch it may come to something
            self._pending.add(units)
            return
        self._pending.took(len(units), told.seconds)
        slot.received += len(data)
        self._graft(slot, told, frozenset(units), order)
        for place, why, for_all in told.refused:
            if place not in postponed:
                order.refused(units[place], why, for_all)
        if told.broken:
            logging.getLogger("engine").debug("a worker begins anew: %s", told.broken)
            slot.outdate()
        for node in units:
            self._pending.add(order.done(node))

    def _graft(self, slot: Slot, answer: Answer, units: frozenset[int], order: Order) -> None:
        slot.codes.update(answer.codes)
        slot.ids.update(answer.used)
        whole, again = 0, Again()
        for record in answer.records:
            try:
                code = slot.codes.get(record.query, b"")
                fresh = graft(self._core, record, code, slot.ids, units, order.asker, order.outer)
                node = slot.ids[record.node]
                if node in units:
                    whole += record.cost
                elif fresh:
                    self._shared.made(node, slot.epoch)
                elif self._shared.made_again(node):
                    again.add(record)
            except Conflict as why:
                # Nor is what rests on it; and in this epoch the worker will go on to rest on it.
                logging.getLogger("engine").debug("a memo of a worker is not taken over: %s", why)
                slot.outdate()
        asked = slot.asked_us()  # which is no part of what the units cost there: see `Worker._clock`
        order.repeated(next(iter(units)), asked + again.microseconds, asked + whole)

    def withdraw(self, is_fit: Callable[[int], bool]) -> None:
        """Send no unit any more that is not fit now."""
        self._pending.keep(is_fit)

    def _answer(self, number: int, slot: Slot, ask: Ask, order: Order) -> None:
        said = Reply(REFUSED)  # also if the revision moves on meanwhile: it must not wait for ever
        limit, started = slot.limit, self._core.clock()
        slot.asked_at = time.monotonic()
        self._release(slot)  # meanwhile it waits for others (limits N1)
        try:
            if not slot.stale_since:
                # Whether a worker takes a place of a limit, which only this thread can give back.
                limited = any(one.limit is not None for one in self._slots.values())
                said = self._stored.told(reply(self._core, slot, ask, order, limited), ask.query, slot)
        finally:
            slot.owed = limit, said
            slot.answered((self._core.clock() - started) // 1000)
            self._tell_owed(number, slot)

    def _tell_owed(self, number: int, slot: Slot) -> None:
        """Tell a worker what it asked, if its limit has room for it."""
        if slot.owed is not None and self._core.limits.has_room(slot.owed[0]):
            (slot.limit, said), slot.owed = slot.owed, None
            slot.sent_at += time.monotonic() - slot.asked_at  # a timeout is none of what it waits for
            self._core.limits.take(slot.limit, slot)
            self._executor.send(number, encode(said))

    # -- what does not come back ---------------------------------------------------------------

    def _bury(self, number: int, slot: Slot) -> None:
        """A worker was lost: what it had is tried once more, alone (D2)."""
        how = self._drop(number)
        if slot.stale_since:
            return
        worked_on, *ahead = slot.flight
        for node in worked_on:
            if node in self._pending.retried:
                self.lost.give_up(node, WorkerLost(key=self._core.name_of(node), cause=how))
            else:
                self._pending.retried.add(node)
                self._pending.add((node,))
        for nodes in ahead:
            self._pending.add(nodes)

    def _end_late_ones(self, order: Order) -> None:
        for number, slot in tuple(self._slots.items()):
            end = self._end_of(slot) if slot.units else None
            if end is None or end > self._listened:
                continue  # since then it may have answered: we did something else
            self._drop(number)
            if slot.stale_since:
                continue
            if len(slot.units) > 1:  # together they take too long: each alone
                self._pending.retried.update(slot.units)
                self._pending.add(slot.units)
            for node in slot.units if len(slot.units) == 1 else ():
                seconds = self._core.definition_of(node).timeout
                self.lost.give_up(node, TimedOut(key=self._core.name_of(node), seconds=seconds))
                self._pending.add(order.done(node))

    def _release(self, slot: Slot) -> None:
        slot.limit = None
        self._core.limits.give_back(slot)

    def _drop(self, number: int) -> str:
        slot = self._slots[number]
        if slot.owed is not None:  # where nothing is ended it would wait for that, and look at no batch
            self._executor.send(number, encode(Reply(REFUSED)))
        self._release(slot)
        how = self._executor.drop(number)
        del self._slots[number]  # last: an interrupt must not leave a worker that seems to be a new one
        return how
