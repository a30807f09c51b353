"""Core: the state of one open engine, and one request from outside (`demand`).

The verbs live beside it, one to a file: locate, mark, verify, execute, advance, persist.

Invariants
    C1  All state is changed under `lock`; functions of queries run without it.
    C2  `generation` moves with every revision and interruption; frames of an earlier one are outdated.
    C3  `torn` is true only while a change of several lists is half done. An interrupt that strikes
        there is noticed by the next request, which rebuilds the lists (see `recover`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from engine.care import Care
from engine.claims import Claims
from engine.errors import Closed, ForkedEngine
from engine.event import Counts, Event, What
from engine.frame import Frame
from engine.graph import ALONE, Graph
from engine.key import Key, display
from engine.limits import Limits
from engine.message import escaped
from engine.observe import InputFrame
from engine.observed import Observed
from engine.queries import Queries
from engine.reach import Reach
from engine.store import canonical
from engine.tally import Tally
from engine.telling import Telling
from engine.unsaved import Unsaved

if TYPE_CHECKING:
    from engine.history import History
    from engine.memory import Memory
    from engine.outcome import Outcome
    from engine.parallel.dispatch import Dispatch
    from engine.query import QueryInfo
    from engine.snapshot import Snapshot
    from engine.store.sqlite import Store
    from engine.tables.collection import Collection
    from engine.verify import Walk

HARMLESS: Final = "__engine_harmless__"  # attribute of an interrupt that struck outside our own lists
DEPTH_LIMIT = 50_000  # nested running queries; each 64 of them take one thread, 8 MB of address space


class Core:
    """State of one engine. Not part of the face. What belongs together is a noun with a file of its own:

    graph        the nodes, their values, edges and marks
    queries      what is known of each query
    collections  what is kept of each table and fold, by the node that stands for it
    reach        which of them nodes rest on, and which are doubtful
    claims       who computes which key, and who waits for whom
    care         what the next request has to look after
    observed     the inputs that look at the world
    unsaved      what the next commit writes
    telling      what is told to listeners, to a watch and to the user
    tally        how much work was done
    """

    # Slots, since the attributes of an object with more than thirty take a third longer to read otherwise.
    __slots__ = (
        "__weakref__", "_is_owned", "applying", "care", "claims", "clock", "closed", "collections",
        "depth_limit", "dispatch", "generation", "graph", "history", "last_changed", "limits",
        "lock", "memory", "next_change", "observed", "outside", "patience", "pid", "queries", "ran_at",
        "reach", "relaxes_collector", "revision", "root", "saves", "snapshots", "started_over",
        "stopping", "store", "strict", "struck", "supply", "sync_lock", "synced", "tally", "telling",
        "torn", "unsaved", "wall_clock", "workers", "written",
    )  # fmt: skip

    def __init__(
        self,
        store: Store | None,
        root: Path,
        *,
        workers: int = 1,
        strict: bool = False,
        depth_limit: int = DEPTH_LIMIT,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.root = root
        self.outside = InputFrame(root)
        self.workers = workers  # threads for parallel groups
        self.strict = strict
        self.depth_limit = depth_limit
        self.clock = clock  # nanoseconds; the only clock the core looks at, and only to measure costs
        self.wall_clock = wall_clock  # seconds since the epoch; only for people who read the log of revisions
        self.pid = os.getpid()
        self.closed = False
        self.relaxes_collector = True  # see `Engine`
        self.stopping = False  # a signal asked to end: nothing new is started
        self.lock = threading.RLock()
        self._is_owned = cast(Any, self.lock)._is_owned  # whether this thread holds it
        self.sync_lock = threading.Lock()  # one look at the world at a time
        self.patience = threading.RLock()  # held by a request that was cancelled too often: writers wait
        self.generation = 0
        self.started_over = 0  # how often a damaged store was set aside
        self.torn = False
        self.struck: Exception | None = None  # what was raised amid a change of a collection
        self.saves = store is not None and not store.read_only
        self.synced = store is None  # whether the world was looked at since opening
        self.queries = Queries()
        self.unsaved = Unsaved(clock())
        self.ran_at = clock()  # when a function last began or ended, here or in a worker
        self.observed = Observed(self.lock)
        self.care = Care()
        self.applying: list[Any] = []  # the changes of a revision while they are being put in place
        self.written = 0  # rows since memory was last given back
        # tables and folds
        self.reach = Reach()
        self.collections: dict[int, Collection] = {}  # by the node that stands for it
        self.next_change = 0  # number of the next entry of a change log; 0: not known yet
        # running
        self.history: History | None = None  # what nodes were before; None: it is not kept
        self.memory: Memory | None = None  # counts the values in memory; None: they all stay
        self.dispatch: Dispatch | None = None  # work that goes elsewhere
        self.claims = Claims(self.lock)
        self.limits = Limits({}, self.claims.released)
        # asked instead of a function for what it would give; None: run it
        self.supply: Callable[[int], Outcome | None] | None = None
        self.telling = Telling()
        self.snapshots: list[Snapshot] = []
        self.tally = Tally()
        self.revision = 1
        self.last_changed = [1, 1, 1]
        self.graph = Graph(1)

    # -- names ---------------------------------------------------------------------------------

    def args_of(self, node: int) -> tuple[Any, ...]:
        """The arguments of a node; decoded from the store at first use."""
        args = self.graph.args[node]
        if isinstance(args, ALONE):
            return (args,)
        if isinstance(args, bytes):
            info = self.info_of(node)
            if info is not None:
                info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
            args = canonical.restore(args)  # anew each time: a function may change a list it was given
        assert args is not None, f"node {node} is not loaded"
        return args

    def name_of(self, node: int) -> str:
        """The display form of a node's key."""
        name = self.queries.names[self.graph.query[node]]
        info = self.info_of(node)
        if node in self.collections:
            return escaped(self.collections[node].name)
        try:
            args = self.args_of(node)
            return display(name, args) if info is None else info.display(args)
        except LookupError:
            return f"{name}(…)"  # its class is not loaded in this process

    def running_names(self) -> tuple[str, ...]:
        """The keys whose functions run now."""
        with self.lock:
            return tuple(self.name_of(node) for node in list(self.claims.held))

    def info_of(self, node: int) -> QueryInfo | None:
        """The definition of a node's query, or None when no loaded module has one."""
        return self.queries.bound[self.graph.query[node]]

    def nodes_of(self, row: int) -> list[int]:
        """All nodes of a query, in memory and in the store: what is in memory is in the table, or in both."""
        info, tables = self.queries.bound[row], self.graph.tables
        nodes = set(tables[info.index].values()) if info is not None and info.index < len(tables) else set()
        if self.store is not None and row in self.queries.stored:
            nodes.update(self.store.nodes_of(row))
        return sorted(nodes)

    def definition_of(self, node: int) -> QueryInfo:
        """The same of a node that was asked for in this process, which has one."""
        info = self.info_of(node)
        assert info is not None
        return info

    def key_of(self, node: int) -> Key[Any] | None:
        """The key of a node, or None when its query, or a class of its arguments, is not defined here."""
        info = self.info_of(node)
        try:
            return None if info is None else Key(info, self.args_of(node))
        except LookupError:  # of a class that is not loaded in this process, or has other fields now
            return None

    def is_defined(self, node: int) -> bool:
        """Whether a loaded node has a key here: whoever only asks need not make it."""
        if self.info_of(node) is None:
            return False
        try:
            self.args_of(node)
        except LookupError:  # as above
            return False
        return True

    def regain(self) -> None:
        """Take the lock again after a function ran; an interrupt meanwhile is raised when it is held."""
        interrupt: KeyboardInterrupt | None = None
        while not self._is_owned():  # asked, since an interrupt may come just after the lock was taken
            try:
                self.lock.acquire()
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def half_done(self) -> HalfDone:
        """To be entered while what is kept of members is changed. The lock is held."""
        return HalfDone(self)

    def interrupted(self, error: BaseException) -> None:
        """An interrupt leaves the engine. It is harmless where it came out of a user's function only."""
        if not getattr(error, HARMLESS, False):
            self.torn = True
        with self.lock:  # it may be held already
            self.outdate()
            self.limits.interrupted()
            self.claims.wake()  # who waits for a claim that was never given back looks again

    def outdate(self) -> None:
        """Make every running frame unwind at its next read; what it computes is dropped (C2)."""
        self.generation += 1
        self.claims.knots.clear()
        if self.history is not None:
            self.history.trials.clear()
        self.claims.hide_tables()  # plain hits too come to `fetch`, which raises

    # -- telling -------------------------------------------------------------------------------

    def tell(
        self, what: What, node: int, microseconds: int = 0, before: bytes = b"", after: bytes = b""
    ) -> None:
        """Queue an event; listeners get it when the lock is free (event V2)."""
        telling = self.telling
        if telling.journal is not None and what is not What.VERIFIED:
            telling.journal.append((what, node, microseconds, before, after))
        if telling.listeners:
            key = self.key_of(node) if node else None
            telling.events.append(Event(what, key, self.revision, microseconds))

    def counts(self) -> Counts:
        """Figures since opening."""
        return self.tally.counts(0 if self.memory is None else self.memory.evicted)

    def check_usable(self) -> None:
        """Raise `Closed` or `ForkedEngine`."""
        if self.closed:
            raise Closed()
        if os.getpid() != self.pid:
            raise ForkedEngine(opened_by=self.pid, this_process=os.getpid())

    def is_calm(self) -> bool:
        """Whether nothing waits for the next request: a node that is ready is right."""
        return (
            self.synced
            and not self.torn
            and not self.graph.frontier
            and not self.care.moved
            and not self.reach.doubtful
            and not (self.care.transients and self.collections)  # who looked at rows may lack some
            and self.queries.are_newest
        )


class HalfDone:
    """A change of what is kept of members: an exception in it is no value of their collection.

    The lists are made anew, and it is raised to who asks (see request).
    """

    __slots__ = ("before", "core")  # and no generator: this is entered once for every member

    def __init__(self, core: Core) -> None:
        self.core = core

    def __enter__(self) -> None:
        self.before, self.core.torn = self.core.torn, True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.core.torn = self.before
        elif isinstance(error, Exception):
            self.core.struck = error


class Request(Frame):
    """The asker of a request from outside: where a chain of frames ends."""

    __slots__ = ("core", "depth", "generation", "node", "walk")

    def __init__(self, core: Core) -> None:
        self.core = core
        self.node = 0
        self.walk: Walk | None = None
        self.depth = 0
        self.generation = core.generation
        self.reads = {}
        self.root = core.root
        self.tables = core.graph.tables
        self.status = core.graph.status
        self.values = core.graph.values
