"""Writing: one batch into the tables, inside a transaction that the caller has begun.

Invariants
    W1  `state.total` stays the sum of all checksums: what a replaced row added is taken out first.
    W2  A node's query and arguments never change, so replacing a row does not touch the index.
    W3  A row is written whole, with its checksum, or not at all.
    W4  There is no readers row without readers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from engine.store import checksums, deltas, history, schema
from engine.store.merging import state_columns
from engine.store.observed import write_observed
from engine.store.rows import Batch, NodeRow, StateRow
from engine.store.statements import delete, existing, insert

_INSERT_NODE = "INSERT INTO node VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"

_OF_A_NODE = (
    *(("node", "id"), ("readers", "dependency"), ("input", "node")),
    *(("version", "node"), ("earlier", "node")),
)

# A value is a function of its fingerprint: a row that comes without its value keeps the one it has.
_UPDATE_NODE = """UPDATE node SET flags = ?4, changed_at = ?5, verified_at = ?6, durability = ?7, cost = ?8,
  cause = ?9, fingerprint = ?10, dependencies = ?11, sum = ?12,
  value = CASE WHEN ?13 IS NULL AND fingerprint = ?10 THEN value ELSE ?13 END
  WHERE id = ?1 AND query = ?2 AND args = ?3"""

_UPDATE_STATE = """UPDATE state SET revision = ?, next_node = ?, next_query = ?, suspects = ?,
  changed_low = ?, changed_medium = ?, changed_high = ?, total = ?, base = ?, sum = ? WHERE id = 1"""


def write_batch(connection: sqlite3.Connection, batch: Batch, stored: StateRow, base: bytes) -> StateRow:
    """Write everything; return the state row that was written."""
    total = int.from_bytes(stored.total, "little")
    if batch.deleted:
        for table, column in _OF_A_NODE:
            total -= delete(connection, table, column, batch.deleted)
    if batch.versions or batch.earlier or batch.earlier_gone:
        total += history.write(connection, batch)  # before the nodes: it takes values that are replaced
    if batch.nodes:
        total += _write_nodes(connection, batch.nodes)
    if batch.readers:
        readers = dict(batch.readers)
        total -= delete(connection, "readers", "dependency", readers)
        found = sorted((id, packed) for id, packed in readers.items() if packed)
        total += insert(connection, "readers", found, checksums.readers_sum)
    if batch.inputs or batch.deleted_inputs:
        inputs = {row[0]: row for row in batch.inputs}
        total -= delete(connection, "input", "node", {*inputs, *batch.deleted_inputs})
        total += insert(connection, "input", sorted(inputs.values()), checksums.input_sum)
    total += write_observed(connection, batch)  # after the rows that it repeats
    if batch.queries:
        queries = {row[0]: row for row in batch.queries}
        total -= delete(connection, "query", "id", queries)
        total += insert(connection, "query", sorted(queries.values()), checksums.query_sum)
    if batch.revisions:
        revisions = {row[0]: row for row in batch.revisions}
        total -= delete(connection, "revision", "number", revisions)
        total += insert(connection, "revision", sorted(revisions.values()), checksums.revision_sum)
        total -= _forget_revisions(connection, max(revisions) - schema.REVISIONS_KEPT)
    total += deltas.write_collections(connection, batch)
    after = StateRow(batch.state or stored.state, checksums.total_bytes(total), base)
    connection.execute(_UPDATE_STATE, state_columns(after))
    return after


def _write_nodes(connection: sqlite3.Connection, batch: Iterable[NodeRow]) -> int:
    """Insert or update; return by how much the total grows."""
    newest = {row[0]: row for row in batch}
    ids = sorted(newest)
    old = dict(existing(connection, "node", "id", ids))
    total = -checksums.added(old.values())
    inserted = [newest[id] for id in ids if id not in old] if old else list(map(newest.__getitem__, ids))
    if inserted:
        columns, sums = _columns(inserted)
        keys = checksums.key_hashes(columns[1], [row[2] for row in inserted])
        connection.executemany(_INSERT_NODE, zip(columns[0], keys, *columns[1:], strict=True))
        total += checksums.added(sums)
    if old:
        columns, sums = _columns([newest[id] for id in ids if id in old])
        if connection.executemany(_UPDATE_NODE, zip(*columns, strict=True)).rowcount != len(old):
            raise ValueError("the query or the arguments of a node were changed: it needs a new id")
        total += checksums.added(sums)
    return total


def _columns(found: Sequence[NodeRow]) -> tuple[list[Sequence[Any]], list[bytes]]:
    """Rows as columns to bind, with their checksums in place; and the checksums.

    By column, because loops in C cost a third of one in Python; `bytearray`, because the sqlite3 module
    looks for an adapter of every `bytes` it binds, 0.4 us each.
    """
    columns = list(zip(*found, strict=True))
    sums = checksums.node_sums(columns)
    args, fingerprints, dependencies = (list(map(bytearray, columns[at])) for at in (2, 9, 10))
    values = [None if value is None else bytearray(value) for value in columns[11]]
    return [
        *columns[:2], args, *columns[3:9], fingerprints, dependencies, list(map(bytearray, sums)), values
    ], sums  # fmt: skip


def _forget_revisions(connection: sqlite3.Connection, last: int) -> int:
    old = connection.execute("SELECT number, sum FROM revision WHERE number <= ?", (last,)).fetchall()
    connection.execute("DELETE FROM revision WHERE number <= ?", (last,))
    return checksums.added(sum for _, sum in old)
