"""Looking: a worker looks into tables of its parent by itself, where all their rows are in the store.

The lookups run here as there: over rows that are kept, in a frame, so their memos are of the same kind. What
they read, the key that the parent has settled, is given along.

Invariants
    I1  What is not exactly the table that the parent means is not looked into: the parent is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from engine.core import Core
from engine.errors import StoreError
from engine.locate import locate
from engine.parallel.units import Stored, Table
from engine.store.beside import Beside
from engine.store.collections import Collections
from engine.tables.kept import KeptRows
from engine.tables.kept_table import KeptTable
from engine.tables.kinds import is_known
from engine.tables.lookup import MODES, LookupInfo


class Looking:
    """The tables that may be looked into, in one epoch."""

    def __init__(self, core: Core, refuse: Callable[[str], NoReturn]) -> None:
        self._core = core
        self._refuse = refuse
        self._told: dict[str, Table] = {}  # by the query that brings a table up to date
        self._store: Beside | None = None
        self._failed = False

    def hear(self, stored: Stored) -> None:
        """Learn of tables."""
        if self._failed:
            return
        try:
            if self._store is None:
                self._store = Beside(stored.place)
        except StoreError:
            self._failed = True  # this machine or process does not see it: I1
            return
        self._told.update((table.settled.query, table) for table in stored.tables)

    def sees(self, info: LookupInfo) -> bool:
        """Whether a lookup may run here."""
        settle = info.collection.settle
        told = self._told.get(settle.name)
        if told is None or self._store is None or info.mode not in MODES:
            return False
        core = self._core
        node = locate(core, settle, ())
        if node not in core.collections:
            table = KeptTable(core, node, 0, info.collection.name, told.shape)
            if not is_known(table):
                del self._told[settle.name]
                return False
            table.info = info.collection
            rows = Rows(self._store, self._lost)
            table.kept = KeptRows(rows, told.settled.node, info.collection.columns.names)
            core.collections[node] = table
        return True

    def close(self) -> None:
        """The epoch is over."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _lost(self, error: StoreError) -> NoReturn:
        self._told.clear()
        self._failed = True
        self._refuse(f"the rows of a table cannot be read: {error}")


class Rows(Collections):
    """Rows in the store of the parent. That they cannot be read is no value of who looks."""

    def __init__(self, store: Beside, lost: Callable[[StoreError], NoReturn]) -> None:
        super().__init__(store)
        self._lost = lost

    def select(
        self, collection: int, equal: Sequence[tuple[str, Any]], prefix: tuple[str, str | bytes] | None = None
    ) -> list[tuple[int, Any, tuple[Any, ...]]]:
        """See `Collections.select`."""
        try:
            return super().select(collection, equal, prefix)
        except StoreError as error:
            self._lost(error)

    def count(self, collection: int, equal: Sequence[tuple[str, Any]]) -> int:
        """See `Collections.count`."""
        try:
            return super().count(collection, equal)
        except StoreError as error:
            self._lost(error)
