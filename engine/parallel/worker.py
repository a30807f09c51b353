"""Worker: computes keys for an engine that is elsewhere, batch by batch.

What the parent holds already it has from there (`supplies`).

Invariants
    W1  A key is computed whole, with all that it reads, and nothing is told of it but its memos.
    W2  What only the parent can do (failures of a class of its own, values without bytes, queries whose code
        differs) is refused, and the parent computes that key itself.
    W3  A question is answered before the next one is asked: answers do not say what they are of.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.attempt import finish
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.failure import Failure
from engine.graph import ABSENT, ERROR, TRANSIENT, UNSTORED, UNTRACKED, entries
from engine.locate import locate
from engine.parallel.supplies import Places, Refused, Supplies
from engine.parallel.surroundings import import_module, take_over
from engine.parallel.units import Answer, Ask, Batch, Record, Refusal, Reply, Setup, Unit
from engine.query import REGISTRY, QueryInfo
from engine.recall import recall
from engine.request import demand
from engine.store import canonical
from engine.together import run_together
from engine.verify import ensure


class Worker:
    """One epoch of inputs, computed on demand."""

    def __init__(
        self,
        setup: Setup,
        ask: Callable[[Ask], Reply],
        begun: Callable[[], None],
        exhausted: Callable[[], None],
    ) -> None:
        self._setup = setup
        self._begun = begun  # told when modules are imported: a timeout is none of that
        self._exhausted = exhausted  # told when memory was short
        self._parent = ask
        self._asking = threading.Lock()  # W3
        self._asked_at: int | None = None  # what the clock says while an answer is waited for
        self._waited = 0  # nanoseconds, for all answers until now
        self._epoch = -1
        self._core: Core
        self._revision = 0
        self._known: set[int] = set()  # nodes that the parent knows: sent, or given by it
        self._unfit: dict[int, Refused] = {}  # nodes that cannot be sent
        self._failed: dict[str, str] = {}  # modules that cannot be imported -> why
        self._told: set[str] = set()  # queries whose code the parent was told
        self._supplies: Supplies
        self._places: Places

    def run(self, batch: Batch) -> Answer:
        """Compute a batch."""
        if batch.surroundings is not None:
            take_over(batch.surroundings)
        for name, file in batch.modules:
            try:
                import_module(name, os.fsdecode(file))
            except BaseException as error:  # also `sys.exit` at its top level
                why = f"{name} cannot be imported by a worker: {type(error).__name__}: {error}"
                self._failed[name] = why  # what it defined before it failed counts for nothing
        if batch.modules:
            self._begun()
        if batch.epoch != self._epoch:
            self._begin(batch.epoch)
        supplies = self._supplies
        supplies.hear(batch)
        records: list[Record] = []
        refusals: list[Refusal] = []
        codes: dict[str, bytes] = {}
        broken = ""
        started = time.monotonic()
        self._compute_together(batch.units)
        for supplies.place, unit in enumerate(batch.units):
            try:
                self._compute(unit)
                if self._core.revision != self._revision:
                    broken = "an input changed while it was read"
                    break
                records += self._news(codes)
                self._check()
            except Refused as why:
                records += self._news(codes)
                refusals.append(Refusal(supplies.place, str(why), why.for_all))
        with self._core.lock:
            finish(self._core)
        seconds = time.monotonic() - started
        used = supplies.used()
        return Answer(tuple(records), tuple(refusals), codes, seconds, broken, used, batch.epoch)

    def end(self) -> None:
        """Let the store of the parent go: threads of a process that lives on are workers, too."""
        if self._epoch >= 0:
            self._supplies.looking.close()

    def _begin(self, epoch: int) -> None:
        self.end()
        self._epoch = epoch
        root = Path(os.fsdecode(self._setup.root))
        self._core = Core(None, root, clock=self._clock, depth_limit=self._setup.depth_limit)
        self._core.limits = self._places = Places(self._setup.limits, self._core.claims.released)
        self._core.saves = (
            True  # without a store: bytes of values gather in `core.unsaved.nodes` until they are sent
        )
        self._revision = self._core.revision  # another one: what was sent no longer holds
        for one in (self._known, self._unfit, self._told):
            one.clear()
        self._supplies = Supplies(self._core, self._ask, self._known, epoch)
        self._core.supply = self._supplies.supply

    def _ask(self, question: Ask) -> Reply:
        """Ask the parent (W3). What that takes is no cost of a key: it depends on who asks besides."""
        # Members with workers="thread" ask from threads of their own.
        # See test_threads_of_a_worker_that_ask_together_are_told_each_its_own_answer.
        with self._asking:
            asked_at = self._asked_at = self._clock()
            try:
                return self._parent(question)
            finally:
                self._waited = time.perf_counter_ns() - asked_at
                self._asked_at = None

    def _clock(self) -> int:
        """By which costs are measured, in nanoseconds: it stands still while an answer is waited for."""
        asked_at = self._asked_at
        return time.perf_counter_ns() - self._waited if asked_at is None else asked_at

    # -- computing -----------------------------------------------------------------------------

    def _compute_together(self, units: tuple[Unit, ...]) -> None:
        """Units whose query takes many keys. What is wrong with one of them is told when its turn comes."""
        info = REGISTRY.get(units[0].query)
        if info is None or info.many is None or len(units) == 1:
            return
        try:
            with self._core.lock:
                nodes = [self._find(unit)[2] for unit in units]
                run_together(self._core, nodes, Request(self._core))
        except Exception:
            raise
        except BaseException as error:  # Refused; or SystemExit, say, from its function
            logging.getLogger("engine").debug("keys of %s run one by one: %s", info.name, error)

    def _find(self, unit: Unit) -> tuple[QueryInfo, tuple[Any, ...], int]:
        """The query, the arguments and the node of a unit."""
        info = REGISTRY.get(unit.query)
        self._places.within = None if info is None else info.limit
        if info is None:
            why = "; ".join(self._failed.values()) or "the import of its module does not define it"
            raise Refused(why, for_all=True)
        if info.function.__module__ in self._failed:
            raise Refused(self._failed[info.function.__module__], for_all=True)
        core = self._core
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
        try:
            arguments = canonical.restore(unit.args)
        except ValueError as error:
            raise Refused(f"its arguments cannot be read: {error}") from None
        node = locate(core, info, arguments)
        if core.queries.codes[core.queries.by_name[unit.query]] != unit.code:
            raise Refused("its code is another one in a fresh interpreter", for_all=True)
        return info, arguments, node

    def _compute(self, unit: Unit) -> None:
        supplies = self._supplies
        supplies.refused = ""
        info, arguments, supplies.unit = self._find(unit)
        try:
            self._ensure(info, arguments)
        except MemoryError:
            self._exhausted()
            raise Refused("it ran out of memory") from None
        except Exception:
            pass  # its value is that failure
        except Refused:
            raise
        except BaseException as error:  # SystemExit, say: it ends the parent's request, not a worker
            raise Refused(f"{type(error).__name__} was raised") from None

    def _ensure(self, info: QueryInfo, arguments: tuple[Any, ...]) -> None:
        """Bring the memo of the unit up to date. As `demand`, but for its value: that costs 15 us a unit."""
        core = self._core
        if core.is_calm():
            try:
                with core.lock:
                    ensure(core, self._supplies.unit, Request(core))
            except Cancelled:
                pass  # something moved: `demand` says what to do
            else:
                held = core.graph.values[self._supplies.unit]
                if isinstance(held, Failure) and isinstance(held.error, MemoryError):
                    raise held.raised()
                return
        demand(core, info, arguments)

    def _check(self) -> None:
        """That the memo of the unit was sent."""
        if self._supplies.unit not in self._known:
            raise self._unfit.get(self._supplies.unit) or Refused("it was computed for this moment only")

    # -- telling -------------------------------------------------------------------------------

    def _news(self, codes: dict[str, bytes]) -> list[Record]:
        """The memos that were made and not sent yet, in the order in which they were made (units U3)."""
        core, found = self._core, []
        for node, data in core.unsaved.nodes.items():
            if node in self._known:
                continue
            try:
                record = self._record(node, data)
            except Refused as why:
                self._unfit[node] = why
                continue
            self._known.add(node)
            found.append(record)
            if record.query not in self._told:
                self._told.add(record.query)
                codes[record.query] = core.queries.codes[core.graph.query[node]]
        core.unsaved.committed()
        return found

    def _record(self, node: int, data: bytes | None) -> Record:
        core, graph = self._core, self._core.graph
        flags = graph.flags[node]
        if flags & UNTRACKED:
            raise Refused("it is untracked", for_all=True)
        if flags & TRANSIENT:
            raise Refused("it rests on a failure that is not kept")
        if not graph.fingerprint[node]:
            raise Refused("values without bytes cannot be sent", for_all=True)
        below = graph.below(node)
        for read in entries(below):
            if read not in self._known:
                raise self._unfit.get(read) or Refused("it stands on a cycle, or caught that it is refused")
        info = core.definition_of(node)
        if flags & ERROR:
            held = graph.values[node]
            # Who wants to see it looks once more; but a table tells of each key why it has no rows.
            passes = node != self._supplies.unit and (info.is_input or not info.needs_bytes)
            if not isinstance(held, Failure) or held.ring or (held.data is None and not passes):
                raise Refused("it fails in a way that only one process can hold")
            data = held.data
        elif node == self._supplies.unit and flags & UNSTORED:
            value = recall(core, node)  # nobody stores it, but who asked wants to see it
            data = None if value is ABSENT else info.codec.encode(value)
        return Record(
            node,
            info.name,
            canonical.canonical(core.args_of(node)),
            bool(flags & ERROR),
            graph.cost[node],
            graph.fingerprint[node],
            tuple(below),
            data,
            core.observed.get(node),
        )
