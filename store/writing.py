"""Writing: one batch into the tables, inside a transaction that the caller has begun.

Invariants
    W1  `state.total` stays the sum of all checksums: what a replaced row added is taken out first.
    W2  A node's query and arguments never change, so replacing a row does not touch the index.
    W3  A row is written whole, with its checksum, or not at all.
    W4  There is no readers row without readers.
    W5  Each transaction ends with a new state row: a commit of ours says the total (others).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from engine.store import checksums, deltas, history, index, row_index, schema
from engine.store.layout import Layout
from engine.store.merging import state_columns
from engine.store.observed import late_to_bundles, write_observed
from engine.store.repair import is_indexed
from engine.store.rows import Batch, Extent, NodeColumns, NodeRow, StateRow
from engine.store.statements import delete, existing, insert, insert_columns, pieces, put

_OF_A_NODE = (("node", "id"), ("readers", "dependency"), ("input", "node"))

# A value is a function of its fingerprint: a row that comes without its value keeps the one it has. The
# fingerprint is bound twice, since Python 3.12 up to 3.12.3 warns of parameters that have numbers.
_UPDATE_NODE = """UPDATE node
  SET flags = ?, changed_at = ?, verified_at = ?, durability = ?, cost = ?, cause = ?,
  fingerprint = ?, dependencies = ?, sum = ?, value = coalesce(?, CASE WHEN fingerprint = ? THEN value END)
  WHERE id = ? AND query = ? AND args = ?"""

_UPDATE_STATE = """UPDATE state SET revision = ?, next_node = ?, next_query = ?, suspects = ?,
  changed_low = ?, changed_medium = ?, changed_high = ?, total = ?, base = ?, sum = ? WHERE id = 1"""

# SQLite writes no page whose bytes stay as they were, and this one is to be in each commit: see others O1.
_SPOIL_STATE = "UPDATE state SET sum = x'' WHERE id = 1"
_MUCH = schema.PAGE_SIZE // 2  # bytes: then the last columns, which differ, may lie in another page


def write_batch(
    connection: sqlite3.Connection, batch: Batch, stored: StateRow, base: bytes, put_off: set[str]
) -> StateRow:
    """Write everything; return the state row that was written. `put_off`: see `write_collections`."""
    total = int.from_bytes(stored.total, "little")
    if batch.extent is not Extent.CHANGED:
        total += index.put_off(connection)
    elif not is_indexed(connection):
        total += index.make(connection)
    if batch.deleted:
        for table, column in _OF_A_NODE:
            total -= delete(connection, table, column, batch.deleted)
        total -= history.remove(connection, batch.deleted)
    if batch.versions or batch.earlier or batch.earlier_gone:
        total += history.write(connection, batch)  # before the nodes: it takes values that are replaced
    written = NodeColumns.of(batch.nodes) if batch.nodes else NodeColumns([()] * len(NodeRow._fields))
    if written:
        total += _write_nodes(connection, written)
    if batch.extent is Extent.ALL:
        total += index.make(connection, batch.readers)
    elif batch.readers:
        total += _write_readers(connection, dict(batch.readers))
    stamped: set[int] = set()  # before
    if batch.inputs or batch.deleted_inputs:
        stamps_of = dict[int, bytes](batch.inputs)
        total -= delete(connection, "input", "node", set(batch.deleted_inputs).difference(stamps_of))
        nodes = sorted(stamps_of)
        before = dict(existing(connection, "input", "node", nodes))
        total -= checksums.added(before.values())
        stamped.update(before)
        stamps = list(map(stamps_of.__getitem__, nodes))
        total += insert_columns(connection, "input", (nodes, stamps), checksums.input_sums, "REPLACE")
    total += write_observed(connection, batch, written, stamped)  # after the rows that it repeats
    if batch.queries:
        queries = {row[0]: row for row in batch.queries}
        total -= delete(connection, "query", "id", queries)
        total += insert(connection, "query", sorted(queries.values()), checksums.query_sum)
    if batch.revisions:
        revisions = {row[0]: row for row in batch.revisions}
        total -= delete(connection, "revision", "number", revisions)
        total += insert(connection, "revision", sorted(revisions.values()), checksums.revision_sum)
        total -= _forget_revisions(connection, max(revisions) - schema.REVISIONS_KEPT)
    total += deltas.write_collections(connection, batch, put_off)
    return _write_state(
        connection, stored, StateRow(batch.state or stored.state, checksums.total_bytes(total), base)
    )


def write_late_to_bundles(connection: sqlite3.Connection, stored: StateRow, base: bytes) -> StateRow:
    """Bring the bundles of observed inputs up to the stamps that came late; return the state row."""
    total = int.from_bytes(stored.total, "little") + late_to_bundles(connection)
    return _write_state(connection, stored, StateRow(stored.state, checksums.total_bytes(total), base))


def write_index(connection: sqlite3.Connection, stored: StateRow, base: bytes) -> StateRow:
    """Make the key index that a build has put off; return the state row."""
    total = int.from_bytes(stored.total, "little") + index.make(connection)
    return _write_state(connection, stored, StateRow(stored.state, checksums.total_bytes(total), base))


def write_row_index(made: Layout, connection: sqlite3.Connection, stored: StateRow, base: bytes) -> StateRow:
    """Make the indexes of one table; return the state row."""
    row_index.make(connection, made)
    return write_base(connection, stored, base)


def write_base(connection: sqlite3.Connection, stored: StateRow, base: bytes) -> StateRow:
    """Say nothing new, but what the last commit rests on; return the state row."""
    return _write_state(connection, stored, stored._replace(base=base))


def _write_state(connection: sqlite3.Connection, stored: StateRow, after: StateRow) -> StateRow:
    if after == stored or len(after.state.suspects) > _MUCH:
        connection.execute(_SPOIL_STATE)
    connection.execute(_UPDATE_STATE, state_columns(after))
    return after


def _write_nodes(connection: sqlite3.Connection, nodes: NodeColumns) -> int:
    """Insert or update; return by how much the total grows."""
    ids = nodes.columns[0]
    old = dict(existing(connection, "node", "id", ids))
    grown = -checksums.added(old.values())
    if len(old) < len(ids):
        new = nodes.some([at for at, id in enumerate(ids) if id not in old]) if old else nodes
        for some in pieces(new.columns):
            bound, sums = _bound(some)
            keys = checksums.key_hashes(some[1], some[2])
            put(connection, "INSERT INTO node", zip(some[0], keys, *bound[1:], strict=True))
            grown += checksums.added(sums)
    if old:
        known = nodes.some([at for at, id in enumerate(ids) if id in old]).columns
        bound, sums = _bound(known)
        bound = [*bound[3:], map(bytearray, known[9]), *bound[:3]]
        if connection.executemany(_UPDATE_NODE, zip(*bound, strict=True)).rowcount != len(old):
            raise ValueError("the query or the arguments of a node were changed: it needs a new id")
        grown += checksums.added(sums)
    return grown


def _write_readers(connection: sqlite3.Connection, readers: dict[int, bytes]) -> int:
    """Replace rows; return by how much the total grows."""
    grown = -delete(connection, "readers", "dependency", readers)
    nodes = sorted(readers if all(readers.values()) else [id for id, packed in readers.items() if packed])
    packed = list(map(readers.__getitem__, nodes))
    return grown + insert_columns(connection, "readers", (nodes, packed), checksums.readers_sums)


def _bound(columns: Sequence[Sequence[Any]]) -> tuple[list[Iterable[Any]], list[bytes]]:
    """Columns as they are bound, see `bindable`, with their checksums in place; and the checksums."""
    sums = checksums.node_sums(columns)
    args, fingerprints, dependencies = (map(bytearray, columns[at]) for at in (2, 9, 10))
    values = (None if value is None else bytearray(value) for value in columns[11])
    return [
        *columns[:2], args, *columns[3:9], fingerprints, dependencies, map(bytearray, sums), values
    ], sums  # fmt: skip


def _forget_revisions(connection: sqlite3.Connection, last: int) -> int:
    old = connection.execute("SELECT number, sum FROM revision WHERE number <= ?", (last,)).fetchall()
    connection.execute("DELETE FROM revision WHERE number <= ?", (last,))
    return checksums.added(sum for _, sum in old)
