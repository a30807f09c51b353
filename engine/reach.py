"""Reach: which collections a node rests on, and what may be read while some of them are doubtful.

A doubtful collection is one that is marked. Marks stop there (see tables.collect), so what rests on it may
look ready and be wrong. Most queries rest on none: their nodes are read on the hot path all the same.

Invariants
    R1  `of_query` has the bits of all nodes in memory of a query. It may have more.
    R2  A frame reads directly only keys of queries whose nodes rest on nothing doubtful. What may change that
        while it runs takes its tables away (`Claims.hide_tables`), so that all its reads come to `fetch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.graph import REACH

if TYPE_CHECKING:
    from engine.core import Core


class Reach:
    """What is known of all nodes together: what they rest on, and which of that is doubtful."""

    __slots__ = ("doubtful", "of_query", "tables")

    def __init__(self) -> None:
        self.doubtful = 0  # bits of the collections that are marked
        self.of_query: dict[int, int] = {}  # row of a query -> bits of what its nodes rest on
        self.tables: dict[int, list[dict[Any, int]]] = {}  # `doubtful` -> tables that frames may read

    def clear(self) -> None:
        """Nothing is known yet: the collections are taken over from the store."""
        self.doubtful = 0
        self.of_query.clear()
        self.tables.clear()


def note(core: Core, row: int, flags: int) -> None:
    """A node of this query has these flags (R1). The lock is held."""
    reach = core.reach
    known = reach.of_query.get(row, 0)
    if flags & REACH & ~known:
        reach.of_query[row] = known | flags & REACH
        reach.tables.clear()
        if reach.doubtful:
            core.claims.hide_tables()


def closure(core: Core, flags: int) -> int:
    """The bits of all collections that something with these flags rests on, directly or by way of others."""
    found, seen = flags & REACH, 0  # most rest on none
    while found != seen:
        seen = found
        for one in core.collections.values():
            if one.bit & found:
                found |= core.graph.flags[one.node] & REACH
    return found


def readable(core: Core) -> list[dict[Any, int]]:
    """The tables of a frame that begins while something is doubtful: empty where that is read (R2)."""
    reach, tables = core.reach, core.graph.tables
    found = reach.tables.get(reach.doubtful)
    if found is None or len(found) != len(tables):
        found = reach.tables[reach.doubtful] = [
            table if _is_safe(core, index) else {} for index, table in enumerate(tables)
        ]
    return found


def _is_safe(core: Core, index: int) -> bool:
    """Whether no node of a definition rests on anything doubtful."""
    row = core.queries.by_index.get(index)
    return row is not None and not closure(core, core.reach.of_query.get(row, 0)) & core.reach.doubtful
