"""Running: the frame of a query that runs, and the slow way of its reads.

Invariants
    N1  A read of an outdated frame raises `Cancelled`.
    N2  While a probe runs (the frontier is not empty) only dependencies of the old memo are taken as clean
        without a look, and those only where they cannot rest on the key itself; anything else has the marks
        completed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import engine.answer as answer
import engine.group as group
import engine.locate as locate
import engine.mark as mark
import engine.tables.collect as collect
import engine.verify as verify
from engine.core import Core, Request
from engine.errors import Cancelled, StoreError
from engine.failure import Failure
from engine.frame import NO_TABLES
from engine.graph import ERROR, FORCED, REACH, TRANSIENT, entries
from engine.key import short
from engine.persist import load
from engine.query import READY, QueryInfo
from engine.reach import readable
from engine.recall import may_be_stored, recall_group
from engine.rings import Cycle, was_ringed
from engine.tables.collection import Collection
from engine.tables.kept_fold import KeptFold
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import LookupInfo

if TYPE_CHECKING:
    from engine.verify import Walk

P = ParamSpec("P")
R = TypeVar("R")


def guarded(read: Callable[Concatenate[Running, P], R]) -> Callable[Concatenate[Running, P], R]:
    """A read whose failure in the store is no value of who reads."""

    @wraps(read)
    def _guarded(self: Running, /, *args: P.args, **named: P.kwargs) -> R:
        try:
            return read(self, *args, **named)
        except StoreError as error:
            with self.core.lock:
                self._struck(error)
            raise

    return _guarded


class Running(Request):
    """The frame of a query that runs."""

    __slots__ = ("ahead", "cycle", "met", "transient", "trusted")

    def __init__(self, core: Core, node: int, walk: Walk) -> None:
        # `Request.__init__` written out: this runs once for every executed query.
        graph, asker = core.graph, walk.asker
        self.core = core
        self.node = node
        self.walk = walk
        self.depth = asker.depth + 1
        self.generation = asker.generation
        self.reads = {}
        self.root = core.root
        self.tables = graph.tables
        self.status = graph.status
        self.values = graph.values
        self.cycle: Cycle | None = None  # poison: this key is part of a cycle
        self.met: tuple[Failure, Exception] | None = None  # what was raised to it last, and as what
        self.transient = False
        self.ahead: tuple[int, int] | None = None  # how far it came, see `ahead.read_on`
        self.trusted: frozenset[int] | None = None
        if core.reach.doubtful:
            self.tables = readable(core)
        if graph.frontier:
            self.tables = NO_TABLES
            self.trusted = frozenset(() if was_ringed(core, node) else entries(graph.below(node)))

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """See `Frame.fetch`."""
        core = self.core
        with core.lock:
            if self.generation != core.generation:
                raise Cancelled
            if self.cycle is not None:
                raise self.cycle.raised() from None  # caught once: see rings S2
            try:
                node = locate.locate(core, info, args)
                if self.generation != core.generation:
                    raise Cancelled  # binding the query found that its code changed
                self.reads[node] = None
                if self.trusted is not None:
                    self.look_twice(node)
                graph = core.graph
                if graph.status[node] == READY and not (core.reach.doubtful and graph.flags[node] & REACH):
                    return graph.values[node]  # most reads while some collection is doubtful: rests on none
                if core.reach.doubtful:
                    collect.below(core, (node,), self)
                verify.ensure(core, node, self)
            except MemoryError:  # not a query's own, which is a value: it struck amid our lists
                core.torn = True
                raise
            except StoreError as error:
                self._struck(error)
                raise
            except Cycle as cycle:
                raise cycle.raised() from None
            try:
                if core.graph.status[node] == READY:
                    return core.graph.values[node]
                return answer.answer(core, node, self)
            except StoreError as error:
                self._struck(error)
                raise
            except Cycle as cycle:
                raise cycle.raised() from None

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """See `Frame.fetch_group`."""
        core = self.core
        with core.lock:
            if self.cycle is not None:
                raise self.cycle.raised() from None
            nodes: list[int] = []
            try:
                try:
                    nodes = group.record(self, many)
                    if core.reach.doubtful:
                        collect.below(core, nodes, self)
                    group.ensure_all(core, nodes, self)
                except MemoryError:  # as in `fetch`
                    core.torn = True
                    raise
                several = recall_group(core, nodes) if may_be_stored(core) else nodes
                return tuple([answer.answer(core, node, self) for node in several])
            except StoreError as error:
                self._struck(error)
                raise
            except Cycle as cycle:
                answer.meet_all(core, nodes, self)
                raise cycle.raised() from None
            except Exception:  # of the first member that fails: another one may lead back here
                answer.meet_all(core, nodes, self)
                raise

    # -- what a table asks of the frame of a lookup --------------------------------------------

    @guarded
    def settle(self, collection: Any) -> str | None:
        """See `Frame.settle`."""
        return collect.settle(self, collection)

    @guarded
    def select(self, table: Any, terms: tuple[Any, ...], starting: bool) -> list[Any] | None:
        """See `Frame.select`."""
        kept = self._kept(table)
        with self.core.lock:
            return kept.select(self._mode(), terms)

    @guarded
    def count(self, table: Any, terms: tuple[Any, ...]) -> int | None:
        """See `Frame.count`."""
        kept = self._kept(table)
        with self.core.lock:
            return kept.count(self._mode(), terms)

    @guarded
    def rows_of(self, table: Any, key: Any) -> Iterable[Any] | None:
        """See `Frame.rows_of`."""
        kept, core = self._kept(table), self.core
        with core.lock:
            node = locate.find(core, table.member, (key,))
            if node is None or not kept.is_member(node):
                return ()
            self.reads[node] = None
            if core.graph.flags[node] & (ERROR | TRANSIENT):
                answer.answer(core, node, self)  # raises
            return kept.kept.of(node)

    @guarded
    def failures(self, table: Any) -> list[tuple[str, str]] | None:
        """See `Frame.failures`."""
        kept, core = self._kept(table), self.core
        with core.lock:
            found = kept.failures()
            load(core, [node for node, _ in found])
            return [(short(core.args_of(node)[0]), why) for node, why in found]

    @guarded
    def fold(self, collection: Any) -> list[Any] | None:
        """See `Frame.fold`."""
        kept, core = self._settled(collection), self.core
        assert isinstance(kept, KeptFold)
        with core.lock:
            failing = kept.first_failing()
            if failing:
                self.reads[failing] = None
                answer.answer(core, failing, self)  # raises
            return [kept.result()]

    def _kept(self, table: Any) -> KeptTable:
        kept = self._settled(table)
        assert isinstance(kept, KeptTable)
        return kept

    def _settled(self, table: Any) -> Collection:
        """The state of a collection that is settled, which our answer rests on from now on."""
        self.fetch(table.settle, ())
        core = self.core
        with core.lock:
            if self.generation != core.generation:
                raise Cancelled
            return core.collections[locate.locate(core, table.settle, ())]

    def _struck(self, error: StoreError) -> None:
        """The store failed under a read: no value of this query, whatever its function makes of the error.

        It is raised to who asks instead, and the lists are made anew. Where the query that was read raised
        it, as one may that opens a store itself, it is an error like any other. The lock is held.
        """
        if self.met is None or self.met[1] is not error:
            self.core.struck, self.core.torn = error, True
            self.core.outdate()

    def _mode(self) -> str:
        info = self.core.info_of(self.node)
        assert isinstance(info, LookupInfo)
        return info.mode

    def look_twice(self, node: int) -> None:
        """Complete the marks before a node is taken as clean that the old memo did not read (N2)."""
        graph = self.core.graph
        if self.trusted is None or node in self.trusted or not graph.frontier:
            return
        # One that must run without being new trusts what it read last time, which nobody has looked at: see
        # test_a_probe_that_meets_a_key_that_must_run_completes_the_marks_first.
        if graph.verified_at[node] or not graph.status[node] & FORCED:
            mark.spread(self.core)


def struck_amid_a_read(error: BaseException) -> bool:
    """Whether an interrupt that comes out of a function struck while that read something: in our own lists.

    See test_an_interrupt_amid_a_read_of_a_query_is_not_taken_for_one_of_its_function.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            return True
        trace = trace.tb_next
    return False


_FILE = struck_amid_a_read.__code__.co_filename
