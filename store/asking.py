"""Asking: what can be asked of the rows in an open store, one question to a method.

Invariants
    Q7  An answer is checked before anybody sees it (see reading).
    Q8  While it is read, no other thread uses the connection.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

from engine.store import history, index, observed, reading, repair, schema
from engine.store.bundles import Bundle
from engine.store.rows import (
    EarlierRow,
    NodeRow,
    ObservedInput,
    QueryRow,
    RevisionRow,
    VersionRow,
)


class Readable(ABC):
    """The reading half of a store."""

    _index: Literal[True] | dict[int, bytes] | None = None
    """True: it is there. Else the readers of all nodes. None: nobody has looked since the file changed."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection, while no other thread uses it; errors are translated."""

    def find(self, query: int, args: bytes) -> NodeRow | None:
        """The node of this key, without its value."""
        with self.locked() as connection:
            return reading.find(connection, query, args)

    def nodes(self, ids: Sequence[int]) -> dict[int, NodeRow]:
        """Those of the nodes that exist, without their values."""
        with self.locked() as connection:
            return reading.nodes(connection, ids)

    def value(self, id: int, fingerprint: bytes) -> bytes | None:
        """The stored bytes of the value with this fingerprint; None: not stored, or another value is."""
        with self.locked() as connection:
            return reading.value(connection, id, fingerprint)

    def values_of(self, fingerprints: dict[int, bytes]) -> dict[int, bytes]:
        """As `value`, for many nodes at once: those that are stored, by node."""
        with self.locked() as connection:
            return reading.values_of(connection, fingerprints)

    def values(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The stored values of those nodes that have one."""
        with self.locked() as connection:
            return reading.values(connection, ids)

    def readers(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Packed ids of the readers of those nodes that have any."""
        with self.locked() as connection:
            if self._index is None:
                self._index = repair.is_indexed(connection) or index.readers(connection)
            if self._index is True:
                return reading.readers(connection, ids)
            return {id: self._index[id] for id in ids if id in self._index}

    def inputs(self) -> list[ObservedInput]:
        """All observed inputs with their stamps."""
        with self.locked() as connection:
            return reading.inputs(connection)

    def bundles(self) -> list[Bundle]:
        """All observed inputs with their stamps, packed: what a start needs of them, and quickly."""
        with self.locked() as connection:
            return observed.bundles(connection)

    def queries(self) -> list[QueryRow]:
        with self.locked() as connection:
            return reading.queries(connection)

    def all_nodes(self) -> list[int]:
        """Ids of all nodes."""
        with self.locked() as connection:
            return reading.all_nodes(connection)

    def nodes_of(self, query: int) -> list[int]:
        """Ids of all nodes of a query. Reads the whole table."""
        with self.locked() as connection:
            return reading.nodes_of(connection, query)

    def revisions(self, last: int = schema.REVISIONS_KEPT) -> list[RevisionRow]:
        """The newest revisions, newest first."""
        with self.locked() as connection:
            return reading.revisions(connection, last)

    def versions(self, ids: Sequence[int]) -> dict[int, list[VersionRow]]:
        """What those nodes were before, oldest first; a node that nothing is known of is left out."""
        with self.locked() as connection:
            return history.versions(connection, ids)

    def earlier(self, nodes: Sequence[int]) -> dict[int, list[EarlierRow]]:
        """The memos that nodes had before, oldest first, without their values."""
        with self.locked() as connection:
            return history.earlier(connection, nodes)

    def earlier_value(self, node: int, fingerprint: bytes) -> bytes | None:
        """The bytes of a value that a node has, or had in an earlier memo; None: they are not there."""
        with self.locked() as connection:
            return history.value(connection, node, fingerprint)
