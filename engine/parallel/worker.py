"""Worker: a process that computes keys for an engine in another one.

It reads batches from standard input and writes answers to what was standard output; whatever queries print
goes to standard error. What the parent holds already, it asks for.

Invariants
    W1  A key is computed whole, with all that it reads, and nothing is told of it but its memos.
    W2  What only the parent can do (failures of a class of its own, values without bytes, queries whose code
        differs) is refused, and the parent computes that key itself.
    W3  It ends with its input, also while a query runs.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import engine.collector as collector
from engine.attempt import finish
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.failure import Failure
from engine.graph import ABSENT, ERROR, TRANSIENT, UNSTORED, UNTRACKED, entries
from engine.locate import locate
from engine.outcome import Outcome
from engine.parallel.surroundings import import_module, take_over
from engine.parallel.units import (
    GIVEN,
    REFUSED,
    Answer,
    Ask,
    Batch,
    Record,
    Refusal,
    Reply,
    Setup,
    Unit,
    decode_said,
    decode_setup,
    digest,
    encode,
)
from engine.query import REGISTRY, QueryInfo
from engine.recall import recall
from engine.request import demand
from engine.store import canonical
from engine.together import run_together
from engine.verify import ensure

READY: Final = b"ready"  # the first message
OUT_OF_MEMORY: Final = 77  # the exit code of a worker in which a query met a MemoryError


class Refused(BaseException):
    """The parent has to compute this itself; `for_all`: all keys of this query.

    Not an `Exception`, so that `except Exception` inside a query does not swallow it.
    """

    def __init__(self, why: str, *, for_all: bool = False) -> None:
        super().__init__(why)
        self.for_all = for_all


class Worker:
    """One epoch of inputs, computed on demand."""

    def __init__(self, setup: Setup, ask: Callable[[Ask], Reply], begun: Callable[[], None]) -> None:
        self._setup = setup
        self._begun = begun  # told when modules are imported: a timeout is none of that
        self._ask = ask
        self._epoch = -1
        self._core: Core
        self._revision = 0
        self._known: set[int] = set()  # nodes that the parent knows: sent, or given by it
        self._unfit: dict[int, Refused] = {}  # nodes that cannot be sent
        self._told: set[str] = set()  # queries whose code the parent was told
        self._held: dict[str, set[bytes]] = {}
        self._asked: frozenset[str] = frozenset()
        self._place, self._unit = 0, 0  # what is computed now
        self._refused: Refused | None = None  # a query may have swallowed it

    def run(self, batch: Batch) -> Answer:
        """Compute a batch."""
        if batch.surroundings is not None:
            take_over(batch.surroundings)
        for name, file in batch.modules:
            try:
                import_module(name, os.fsdecode(file))
            except BaseException as error:  # also `sys.exit` at its top level
                why = f"{name} cannot be imported by a worker: {type(error).__name__}: {error}"
                return Answer((), tuple([Refusal(at, why, True) for at in range(len(batch.units))]), {})
        if batch.modules:
            self._begun()
        if batch.epoch != self._epoch:
            self._begin(batch.epoch)
        for query, digests in batch.held.items():
            size = len(digests) // 8
            self._held.setdefault(query, set()).update(digests[at * 8 : at * 8 + 8] for at in range(size))
        self._asked = frozenset(batch.asked)
        records: list[Record] = []
        refusals: list[Refusal] = []
        codes: dict[str, bytes] = {}
        started = time.monotonic()
        self._compute_together(batch.units)
        for self._place, unit in enumerate(batch.units):
            try:
                self._compute(unit)
                if self._core.revision != self._revision:
                    broken = "an input changed while it was read"
                    return Answer(tuple(records), tuple(refusals), codes, 0.0, broken)
                records += self._news(codes)
                self._check()
            except Refused as why:
                records += self._news(codes)
                refusals.append(Refusal(self._place, str(why), why.for_all))
        with self._core.lock:
            finish(self._core)
        return Answer(tuple(records), tuple(refusals), codes, time.monotonic() - started)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._core = Core(None, Path(os.fsdecode(self._setup.root)), depth_limit=self._setup.depth_limit)
        self._core.saves = True  # without a store: bytes of values gather in `core.dirty` until they are sent
        self._core.supply = self._supply
        self._revision = self._core.revision  # another one: what was sent no longer holds
        for one in (self._known, self._unfit, self._told, self._held):
            one.clear()

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
        if info is None:
            raise Refused("the import of its module does not define it", for_all=True)
        core = self._core
        info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
        try:
            arguments = canonical.restore(unit.args)
        except ValueError as error:
            raise Refused(f"its arguments cannot be read: {error}") from None
        node = locate(core, info, arguments)
        if core.codes[core.rows[unit.query]] != unit.code:
            raise Refused("its code is another one in a fresh interpreter", for_all=True)
        return info, arguments, node

    def _compute(self, unit: Unit) -> None:
        self._refused = None
        info, arguments, self._unit = self._find(unit)
        try:
            self._ensure(info, arguments)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # nothing can be relied on any more
        except Exception:
            pass  # its value is that failure
        except Refused:
            raise
        except BaseException as error:  # SystemExit, say: it ends the parent's request, not a worker
            raise Refused(f"{type(error).__name__} was raised") from None
        if self._refused is not None:
            raise self._refused

    def _ensure(self, info: QueryInfo, arguments: tuple[Any, ...]) -> None:
        """Bring the memo of the unit up to date. As `demand`, but for its value: that costs 15 us a unit."""
        core = self._core
        if core.is_calm():
            try:
                with core.lock:
                    ensure(core, self._unit, Request(core))
            except Cancelled:
                pass  # something moved: `demand` says what to do
            else:
                held = core.graph.values[self._unit]
                if isinstance(held, Failure) and isinstance(held.error, MemoryError):
                    raise held.error
                return
        demand(core, info, arguments)

    def _check(self) -> None:
        """That the memo of the unit was sent."""
        if self._unit not in self._known:
            raise self._unfit.get(self._unit) or Refused("it was computed for this moment only")

    def _supply(self, node: int) -> Outcome | None:
        """The outcome of a key that the parent holds, asked for when it would run here. None: run it."""
        core = self._core
        info = core.bound[core.graph.query[node]]
        assert info is not None
        if node == self._unit:
            return None
        lookup = info.collection is not None and info is not info.collection.member
        if not lookup and info.name not in self._asked and info.name not in self._held:
            return None
        args = canonical.canonical(core.args_of(node))
        if not lookup and info.name not in self._asked and digest(args) not in self._held[info.name]:
            return None
        reply = self._ask(Ask(self._place, node, info.name, args))
        if reply.kind == REFUSED or (reply.kind != GIVEN and lookup):
            self._refused = Refused("it reads what the parent cannot tell")
            raise self._refused
        if reply.kind != GIVEN:
            return None
        outcome = Outcome()
        outcome.data, outcome.digest = reply.data, reply.fingerprint
        if reply.is_error:
            outcome.failure = Failure.restored(reply.data)
            if outcome.failure is None:
                self._refused = Refused("it reads a failure that only the parent can hold")
                raise self._refused
        else:
            outcome.value = info.codec.decode(reply.data)
        self._known.add(node)
        return outcome

    # -- telling -------------------------------------------------------------------------------

    def _news(self, codes: dict[str, bytes]) -> list[Record]:
        """The memos that were made and not sent yet, in the order in which they were made (U3)."""
        core, found = self._core, []
        for node, data in core.dirty.items():
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
                codes[record.query] = core.codes[core.graph.query[node]]
        core.dirty.clear()
        core.dirty_stamps.clear()
        core.dirty_bytes = 0
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
                raise self._unfit.get(read) or Refused("it stands on a cycle")
        info = core.bound[graph.query[node]]
        assert info is not None
        if flags & ERROR:
            held = graph.values[node]
            passes = info.is_input and node != self._unit  # looked at once more by who wants to see it
            if not isinstance(held, Failure) or held.ring or (held.data is None and not passes):
                raise Refused("it fails in a way that only one process can hold")
            data = held.data
        elif node == self._unit and flags & UNSTORED:
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


# -- the process ---------------------------------------------------------------------------------


def framed(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(8, "little") + message


def read_message(descriptor: int) -> bytes | None:
    """The next message; None at the end. Reads no byte beyond it: who waits for the next one must see it."""
    head = _read(descriptor, 8)
    return None if head is None else _read(descriptor, int.from_bytes(head, "little"))


def _read(descriptor: int, size: int) -> bytes | None:
    data = os.read(descriptor, size)
    if len(data) == size:
        return data
    parts = [data]
    while data and size > len(data):
        size -= len(data)
        data = os.read(descriptor, min(size, 1 << 20))
        parts.append(data)
    return b"".join(parts) if data else None


def _end_with(descriptor: int) -> None:
    """End this process when nobody can write to its input any more (W3)."""
    poll = select.poll()
    poll.register(descriptor, 0)  # the end is always told
    poll.poll()
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # R3
    collector.relax()
    source = os.dup(0)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what queries print must not get between the messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(source,), name="engine-orphan", daemon=True).start()

    def tell(message: bytes) -> None:
        sink.write(framed(message))
        sink.flush()

    ahead: deque[Batch] = deque()

    def hear() -> Batch | Reply:
        data = read_message(source)
        if data is None:
            sys.stdout.flush()
            os._exit(0)
        said: Batch | Reply = decode_said(data)
        return said

    def ask(question: Ask) -> Reply:
        tell(encode(question))
        while isinstance(said := hear(), Batch):
            ahead.append(said)  # it was sent before the question came
        return said

    tell(READY)
    data = read_message(source)
    if data is None:
        return
    worker = Worker(decode_setup(data), ask, lambda: tell(b""))
    while True:
        batch = ahead.popleft() if ahead else hear()
        assert isinstance(batch, Batch)
        try:
            answer = worker.run(batch)
        except Exception as error:  # a bug of ours: the parent does the work
            answer = Answer((), (), {}, 0.0, f"{type(error).__name__}: {error}")
        tell(encode(answer))
