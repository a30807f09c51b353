"""Stored: which tables workers may look into by themselves, in the store of this process.

A worker that looks into a table has to ask: rows that came since the last commit are nowhere but here. An
answer takes longer than the look. So once some were asked for, the rows are committed, and workers are told.

Invariants
    O1  A table is named when it is up to date, all its rows are committed, and they are found by their
        indexes. In one generation it stays so.
    O2  Lookups that workers make are grafted like any other memo: the table remembers that somebody looked.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.core import Core
from engine.graph import ERROR, RUNNING, TRANSIENT
from engine.parallel.held import bytes_of
from engine.parallel.slot import Slot
from engine.parallel.units import Given, Reply, Stored, Table
from engine.query import REGISTRY
from engine.reach import closure
from engine.store import canonical
from engine.store.beside import place_of
from engine.tables.collection import Collection
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import MODES, LookupInfo

MANY: Final = 32  # lookups that are asked for, after which a commit costs less than those that would follow


class StoredTables:
    """The tables of one engine, in one generation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asked = 0

    def start(self) -> None:
        """A new generation."""
        self._asked = 0

    def told(self, said: Reply, query: str, slot: Slot) -> Reply:
        """What a worker is told that asked for a key of this query."""
        info = REGISTRY.get(query)
        if not isinstance(info, LookupInfo) or info.mode not in MODES:
            return said  # no commit spares that question
        self._asked += 1
        return msgspec.structs.replace(said, stored=self.news(slot))

    @property
    def are_wanted(self) -> bool:
        """Whether a commit would spare workers many questions."""
        if self._asked < MANY:
            return False
        self._asked = 0
        core = self._core
        waits = any(isinstance(one, KeptTable) and one.kept.fresh for one in core.collections.values())
        return waits and self._can_be_read() and not core.unsaved.ringed and not core.unsaved.disk_full

    def news(self, slot: Slot) -> Stored | None:
        """What a worker was not told yet, which is told by this. Nothing where the file is not there."""
        if not self._can_be_read():
            return None
        found: list[Table] = []
        for node, one in self._core.collections.items():
            if node not in slot.tables and self._is_stored(one):
                data = bytes_of(self._core, node)
                if data is not None:
                    found.append(Table(self._settled(node, data), one.shape))
        store = self._core.store
        if not found or store is None:
            return None
        slot.tables.update(table.settled.node for table in found)
        # Of the file that is open: see test_a_store_that_took_the_place_of_ours_is_not_looked_into.
        return Stored(place_of(store.files, store.identity), tuple(found))

    def _can_be_read(self) -> bool:
        store = self._core.store
        return store is not None and not store.read_only and not store.unproven

    def _is_stored(self, one: Collection) -> bool:
        """Whether a table is up to date, and the store has all of it (O1)."""
        if not isinstance(one, KeptTable) or one.definition is None or one.failing:
            return False
        graph, node = self._core.graph, one.node
        flags = graph.flags[node]
        if not graph.verified_at[node] or graph.status[node] & RUNNING:
            return False
        if flags & (ERROR | TRANSIENT):
            return False
        if one.rebuild or one.rebuilding or one.missed or one.kept.fresh or one.kept.is_detached:
            return False
        store = self._core.store
        if store is None or not store.derived.is_quick(node):
            return False
        return not closure(self._core, flags) & self._core.reach.doubtful

    def _settled(self, node: int, data: bytes) -> Given:
        core = self._core
        name, args = core.queries.names[core.graph.query[node]], canonical.canonical(core.args_of(node))
        return Given(node, name, args, core.graph.fingerprint[node], data)
