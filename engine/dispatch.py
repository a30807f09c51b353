"""Dispatch: which members of a parallel group are computed elsewhere, and what becomes of the answers.

A member that nobody knows anything of is sent to a worker, which computes it whole, and its memos come back.
Everything else (what must be verified, what looks into a table, what a worker refuses) is computed here.

Invariants
    D1  Memos are of the generation in which they were asked for, or dropped.
    D2  Units whose worker was lost are tried once more, alone; then they fail, and the others go on.
    D3  Whether a key was computed here or there cannot be seen in its value.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from typing import Any, Final

from attrs import define, field

from engine.core import Core, Request
from engine.errors import BadQuery, Cancelled, TimedOut, WorkerLost
from engine.executor import Executor
from engine.graft import Conflict, graft
from engine.graph import FORCED, PINNED, RUNNING
from engine.query import QueryInfo
from engine.recall import recall
from engine.script import module_name
from engine.store import canonical
from engine.units import Answer, Batch, decode_answer, encode

SAMPLE: Final = 4  # members of a query that run here first, to learn what one costs
WORTH_US: Final = 300  # what one has to cost: sending it and taking its memos over costs some 60 us
AT_LEAST: Final = 8  # members: for fewer, starting a worker (0.1 s) costs more than it saves
BATCH_SECONDS: Final = 0.05  # how long a batch should take: much longer than the 0.2 ms of its way
LARGEST: Final = 256  # units in a batch, so that the last one does not keep all others waiting
PINS: Final = 200  # inputs set by the host that are sent along; with more, everything is computed here
INLINE, PROCESS, AUTO = "inline", "process", "auto"

Pinned = tuple[tuple[str, bytes, bytes, int], ...]


@define
class Slot:
    """What is known of one slot of the executor."""

    ids: dict[int, int] = field(factory=dict)  # node there -> node here
    generation: int = -1  # of the engine, for which it was told something
    epoch: int = 0
    units: list[int] = field(factory=list)  # nodes of the batch under way
    stale: bool = False  # the batch under way is of an earlier generation
    sent_at: float = 0.0


class Dispatch:
    """The work of one engine that goes elsewhere."""

    def __init__(self, core: Core, executor: Executor) -> None:
        self._core = core
        self._executor = executor
        self._slots: dict[int, Slot] = {}
        self._size = 1  # units of the next batch
        self._refused: set[str] = set()  # queries that a worker cannot compute
        self._retried: set[int] = set()  # nodes whose worker was lost

    def sample(self, nodes: list[int]) -> list[int]:
        """Members to run here first, where nobody knows what their query costs."""
        core = self._core
        if len(nodes) < AT_LEAST:
            return []
        found: dict[int, list[int]] = {}
        for node in nodes:
            row = core.graph.query[node]
            known = core.costs.get(row)
            info = core.bound[row]
            if info is not None and info.workers == AUTO and (known is None or known[0] < SAMPLE):
                found.setdefault(row, []).append(node)
        return [node for several in found.values() for node in several[:SAMPLE]]

    def offer(self, nodes: list[int], asker: Request) -> None:
        """Compute those of the nodes that pay. The lock is held, and given away while others work."""
        queue = deque(node for node in nodes if self._is_fit(node))
        pinned = self._pinned() if len(queue) >= AT_LEAST else None
        if pinned is None:
            return
        try:
            while queue or any(slot.units and not slot.stale for slot in self._slots.values()):
                self._send(queue, pinned)
                answers = self._wait()
                if asker.generation != self._core.generation:
                    raise Cancelled
                for number, data in answers:
                    self._take(number, data, queue)
                self._end_late_ones()
        finally:
            for slot in self._slots.values():
                slot.stale = bool(slot.units)

    def close(self) -> None:
        """End everything that works for this engine."""
        self._executor.close()
        self._slots.clear()

    # -- choosing ------------------------------------------------------------------------------

    def _is_fit(self, node: int) -> bool:
        """Whether nothing is known of a node, and its query is worth it and can run elsewhere."""
        core, graph = self._core, self._core.graph
        row = graph.query[node]
        info = core.bound[row]
        fresh = (
            graph.status[node] & FORCED and not graph.verified_at[node] and not graph.status[node] & RUNNING
        )
        if not fresh or info is None or info.is_input or info.untracked or graph.flags[node] & PINNED:
            return False
        if info.workers == INLINE or info.name in self._refused or node in core.lost:
            return False
        if info.collection is not None and info is not info.collection.member:
            return False
        if info.workers == AUTO:
            runs, microseconds = core.costs.get(row, (0, 0))
            return runs >= SAMPLE and microseconds >= WORTH_US * runs and _is_importable(info)
        if not _is_importable(info):
            raise BadQuery(
                query=info.name,
                cause="a worker cannot import it",
                hint='Define it at the top of a module with a file of its own, or say workers="inline".',
            )
        return True

    def _pinned(self) -> Pinned | None:
        """The inputs that the host set; None where there are too many to send them along."""
        core, graph = self._core, self._core.graph
        found = []
        for node, flags in enumerate(graph.flags):
            if flags & PINNED:
                info = core.bound[graph.query[node]]
                if info is None or len(found) == PINS:
                    return None
                data = info.codec.encode(recall(core, node))
                found.append(
                    (info.name, canonical.canonical(core.args_of(node)), data, graph.durability[node])
                )
        return tuple(found)

    # -- going out -----------------------------------------------------------------------------

    def _send(self, queue: deque[int], pinned: Pinned) -> None:
        numbers = self._executor.slots()
        for number in numbers:
            slot = self._slots.setdefault(number, Slot())
            if not queue or slot.units:
                continue
            if slot.generation != self._core.generation:
                slot.generation = self._core.generation
                slot.epoch += 1
                slot.ids.clear()
            alone = queue[0] in self._retried or self._timeout(queue[0]) is not None
            share = 1 if alone else max(1, min(self._size, LARGEST, -(-len(queue) // len(numbers))))
            slot.units = [queue.popleft() for _ in range(share)]
            slot.stale, slot.sent_at = False, time.monotonic()
            self._executor.send(number, encode(self._batch(slot, pinned)))

    def _batch(self, slot: Slot, pinned: Pinned) -> Batch:
        core, graph = self._core, self._core.graph
        modules: dict[str, str] = {}
        units = []
        for node in slot.units:
            info = core.bound[graph.query[node]]
            assert info is not None
            module = sys.modules[info.function.__module__]
            modules[module_name(module.__name__)] = str(module.__file__)
            units.append((info.name, canonical.canonical(core.args_of(node)), core.codes[graph.query[node]]))
        return Batch(slot.epoch, tuple(modules.items()), pinned, tuple(units))

    def _wait(self) -> list[tuple[int, bytes | None]]:
        """Answers of at least one slot, or none where one takes too long. The lock is given away meanwhile."""
        core = self._core
        busy = [number for number, slot in self._slots.items() if slot.units]
        ends = [end for number in busy if (end := self._end_of(self._slots[number])) is not None]
        seconds = max(0.0, min(ends) - time.monotonic()) if ends else None
        try:
            core.lock.release()
            return self._executor.wait(busy, seconds)
        finally:
            core.regain()

    def _timeout(self, node: int) -> float | None:
        info = self._core.bound[self._core.graph.query[node]]
        return None if info is None else info.timeout

    def _end_of(self, slot: Slot) -> float | None:
        seconds = None if len(slot.units) != 1 else self._timeout(slot.units[0])
        return None if seconds is None else slot.sent_at + seconds

    # -- coming back ---------------------------------------------------------------------------

    def _take(self, number: int, data: bytes | None, queue: deque[int]) -> None:
        slot = self._slots[number]
        units, slot.units = slot.units, []
        if data is None:
            self._bury(number, [] if slot.stale else units, queue)
            return
        if slot.stale:
            return
        taken = max(time.monotonic() - slot.sent_at, 1e-4)
        self._size = max(1, min(LARGEST, int(len(units) * BATCH_SECONDS / taken)))
        answer = decode_answer(data)
        for at, why, for_all in answer.refused:
            if for_all:
                self._refuse(units[at], why)
        self._graft(slot, answer)

    def _graft(self, slot: Slot, answer: Answer) -> None:
        for record in answer.records:
            try:
                graft(self._core, record, slot.ids)
            except Conflict as why:
                logging.getLogger("engine").debug("a memo of a worker is not taken over: %s", why)
                slot.generation = -1  # what it sends from now on may name this one
                return

    def _refuse(self, node: int, why: str) -> None:
        core = self._core
        info = core.bound[core.graph.query[node]]
        assert info is not None
        self._refused.add(info.name)
        if info.workers == PROCESS:
            core.note(f"{info.name} runs in this process: {why}", once=f"workers {info.name}")

    def _bury(self, number: int, units: list[int], queue: deque[int]) -> None:
        """A worker was lost: what it had is tried once more, alone (D2)."""
        core = self._core
        how = self._executor.drop(number)
        del self._slots[number]
        alone = len(units) == 1
        for node in units:
            if alone and node in self._retried:
                core.lost[node] = WorkerLost(key=core.name_of(node), cause=how)
            else:
                queue.append(node)
            if alone or node in self._retried:
                self._retried.add(node)
        if not alone:
            self._retried.update(units)

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for number, slot in tuple(self._slots.items()):
            end = self._end_of(slot)
            if slot.units and end is not None and end <= now:
                (node,) = slot.units
                self._executor.drop(number)
                del self._slots[number]
                self._core.lost[node] = TimedOut(key=self._core.name_of(node), seconds=self._timeout(node))


def _is_importable(info: QueryInfo) -> bool:
    module: Any = sys.modules.get(info.function.__module__)
    named = module_name(info.function.__module__) == info.function.__module__
    return named and bool(getattr(module, "__file__", None)) and "<locals>" not in info.function.__qualname__
