"""Running: the frame of a query that runs, and the slow way of its reads.

Invariants
    N1  A read of an outdated frame raises `Cancelled`.
    N2  While a probe runs (the frontier is not empty) only dependencies of the old memo are taken as clean
        without a look; anything else has the marks completed first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import engine.answer as answer
import engine.group as group
import engine.locate as locate
import engine.mark as mark
import engine.verify as verify
from engine.claims import Cycle
from engine.core import NO_TABLES, Core, Request
from engine.errors import Cancelled
from engine.failure import Failure
from engine.graph import FORCED, entries
from engine.query import READY, QueryInfo

if TYPE_CHECKING:
    from engine.verify import Walk


class Running(Request):
    """The frame of a query that runs."""

    __slots__ = ("cycle", "met", "transient", "trusted")

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
        self.met: Failure | None = None  # the failure that was raised to it last
        self.transient = False
        self.trusted: frozenset[int] | None = None
        if graph.frontier:
            self.tables = NO_TABLES
            self.trusted = frozenset(entries(graph.dependencies[node] or ()))

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """See `Frame.fetch`."""
        core = self.core
        with core.lock:
            node = self._record(info, args)
            try:
                verify.ensure(core, node, self)
                graph = core.graph
                if graph.status[node] == READY:
                    return graph.values[node]
                return answer.answer(core, node, self)
            except Cycle as cycle:
                raise cycle.error from None

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """See `Frame.fetch_group`."""
        core = self.core
        with core.lock:
            nodes = group.record(self, many)
            try:
                group.ensure_all(core, nodes, self)
                return tuple([answer.answer(core, node, self) for node in nodes])
            except Cycle as cycle:
                raise cycle.error from None

    def _record(self, info: QueryInfo, args: tuple[Any, ...]) -> int:
        core = self.core
        if self.generation != core.generation:
            raise Cancelled
        node = locate.locate(core, info, args)
        if self.generation != core.generation:
            raise Cancelled  # binding the query found that its code changed
        self.reads[node] = None
        if self.trusted is not None:
            self.look_twice(node)
        return node

    def look_twice(self, node: int) -> None:
        """Complete the marks before a node is taken as clean that the old memo did not read (N2)."""
        graph = self.core.graph
        known = self.trusted is None or node in self.trusted or graph.status[node] & FORCED
        if not known and graph.frontier:
            mark.spread(self.core)
