"""Deltas: what a batch says of collections, into their tables, inside the transaction of the batch.

Invariants
    D1  What is written is the difference: of a member's new rows, those that it has already stay untouched.
    D2  The rows of a collection lie in the table that its present name and shape ask for, and in no other.
    D3  Nothing of a dropped collection, and no row of a member that is gone, is left.
    D4  The cursor of collection 0 stands at the highest id that was ever written to the change log, so
        ids are not given twice after the log has been trimmed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice
from operator import add
from typing import Any, TypeVar

from engine.store import checksums, row_index
from engine.store.layout import Layout, collection_rows, find_layout, layout_of, pack
from engine.store.reading import select_in
from engine.store.rows import Batch, BlockRow, ChangeRow, CollectionRow, CursorRow, MemberRow, MemberRows
from engine.store.statements import delete, insert, insert_columns, put, take

K = TypeVar("K")
V = TypeVar("V")

LOG = 0  # no node has this id: the collection of the cursor that remembers the last change

_PIECE = 4096  # rows that are made into tuples at once
_ALL_OF_IT = (
    ("collection", "id"),
    ("member", "collection"),
    ("block", "collection"),
    ("change", "collection"),
    ("cursor", "collection"),
)


def write_collections(connection: sqlite3.Connection, batch: Batch, put_off: set[str]) -> int:
    """Write what the batch says of collections; return by how much the total grows.

    put_off  the tables without indexes, which is brought up to date
    """
    grown = 0
    for id in sorted({*batch.dropped, *_owners(connection, batch.deleted)}):
        grown -= _drop(connection, id)
    for collection in {row.id: row for row in batch.collections}.values():
        grown += _write_collection(connection, collection, put_off)
    for id, nodes in _grouped(batch.members_gone):
        grown -= _remove_members(connection, id, nodes, put_off)
    for id, members in _grouped((row.collection, row) for row in batch.members):
        grown += _write_members(connection, id, members)
    for id, given in _grouped((row.collection, row) for row in batch.rows):
        grown += _write_rows(connection, id, given, put_off)
    for (id, level), blocks in _grouped(((row.collection, row.level), row) for row in batch.blocks):
        grown += _write_blocks(connection, id, level, blocks)
    if batch.changes_gone:
        grown -= delete(connection, "change", "id", set(batch.changes_gone))
    if batch.changes:
        grown += _append_changes(connection, batch.changes)
    for id, name in set(batch.cursors_gone):
        grown -= take(connection, "cursor", "collection = ? AND name = ?", id, name)
    for cursor in {(row.collection, row.name): row for row in batch.cursors}.values():
        grown += _write_cursor(connection, cursor)
    return grown


def last_change(connection: sqlite3.Connection) -> tuple[CursorRow, bytes] | None:
    """The cursor of the log and its checksum; None: nothing was ever written to it."""
    select = "SELECT collection, name, position, revision, data, sum FROM cursor WHERE collection = ?"
    for row in connection.execute(select, (LOG,)).fetchall():
        return CursorRow(*row[:5]), row[5]
    return None


def _owners(connection: sqlite3.Connection, deleted: Sequence[int]) -> set[int]:
    """Those of the deleted nodes that are collections, or have cursors."""
    if not deleted:
        return set()
    found = connection.execute("SELECT id FROM collection UNION SELECT collection FROM cursor").fetchall()
    return {id for (id,) in found}.intersection(deleted)


def _drop(connection: sqlite3.Connection, id: int) -> int:
    taken = _drop_table(connection, find_layout(connection, id))
    return taken + sum([take(connection, table, f"{column} = ?", id) for table, column in _ALL_OF_IT])


def _drop_table(connection: sqlite3.Connection, made: Layout | None) -> int:
    if made is None:
        return 0
    sums = connection.execute(f"SELECT _sum FROM {made.table}")
    taken = checksums.added(sum for (sum,) in sums)
    connection.execute(f"DROP TABLE {made.table}")
    return taken


def _write_collection(connection: sqlite3.Connection, row: CollectionRow, put_off: set[str]) -> int:
    grown = 0
    old = collection_rows(connection, row.id)
    made = layout_of(row)
    if not old or old[0][:4] != row[:4]:
        grown -= _drop_table(connection, layout_of(old[0]) if old else None)
        if made is not None:
            connection.execute(made.statement)
            put_off.add(made.table)
    grown -= take(connection, "collection", "id = ?", row.id)
    return grown + insert(connection, "collection", [row], checksums.collection_sum)


def _remove_members(connection: sqlite3.Connection, id: int, nodes: Iterable[int], put_off: set[str]) -> int:
    gone = sorted(set(nodes))
    select = "SELECT node, sum FROM member WHERE collection = ? AND node"
    old = list(select_in(connection, select, gone, id))
    connection.executemany(
        "DELETE FROM member WHERE collection = ? AND node = ?", [(id, node) for node, _ in old]
    )
    taken = checksums.added(sum for _, sum in old)
    made = find_layout(connection, id)
    if made is not None:
        _look_into(connection, made, put_off)
        stored = list(select_in(connection, f"SELECT _id, _sum FROM {made.table} WHERE _member", gone))
        taken += _delete_rows(connection, made, stored)
    return taken


def _write_members(connection: sqlite3.Connection, id: int, given: Iterable[MemberRow]) -> int:
    newest = {row.node: row for row in given}
    nodes = sorted(newest)
    (highest,) = connection.execute("SELECT max(node) FROM member WHERE collection = ?", (id,)).fetchone()
    grown = 0
    if highest is not None and nodes[0] <= highest:
        select = "SELECT sum FROM member WHERE collection = ? AND node"
        grown -= checksums.added(sum for (sum,) in select_in(connection, select, nodes, id))
    columns = list(zip(*[newest[node] for node in nodes], strict=True))
    return grown + insert_columns(connection, "member", columns, checksums.member_sums, "REPLACE")


# -- rows of tables ----------------------------------------------------------------------------------


def _look_into(connection: sqlite3.Connection, made: Layout, put_off: set[str]) -> None:
    """Rows are looked for by their members: each piece of those would read the whole table.

    See test_rows_that_may_be_there_are_not_looked_for_in_the_whole_table.
    """
    if made.table in put_off:
        row_index.make(connection, made)
        put_off.discard(made.table)


def _write_rows(
    connection: sqlite3.Connection, id: int, given: Iterable[MemberRows], put_off: set[str]
) -> int:
    made = find_layout(connection, id)
    if made is None:
        raise ValueError(f"collection {id} has no table for its rows")
    newest = {row.member: row for row in given}
    known = [row.member for row in newest.values() if not row.fresh and row.gone is None]
    if known:
        _look_into(connection, made, put_off)
    stored = _stored_rows(connection, made, known)
    removed: list[tuple[int, bytes]] = []

    def added() -> Iterator[tuple[Any, ...]]:
        for _, member, source, found, fresh, gone in newest.values():
            if fresh or gone is not None:
                for values in found:
                    yield member, source, *values
                continue
            has = stored.get(member, {})
            for values in found:
                if has.pop(pack((source, *values)), None) is None:
                    yield member, source, *values
            removed.extend(has.values())

    grown = -_delete_rows(connection, made, _still_there(connection, made, newest.values()))
    grown += _insert_rows(connection, made, added())
    return grown - _delete_rows(connection, made, removed)


def _stored_rows(
    connection: sqlite3.Connection, made: Layout, members: Sequence[int]
) -> dict[int, dict[bytes, tuple[int, bytes]]]:
    """Of each member the packed (source, *values) of its rows, with id and checksum."""
    result: dict[int, dict[bytes, tuple[int, bytes]]] = {}
    found = list(select_in(connection, f"{made.select} WHERE _member", members))
    for id, member, *values, sum in made.checked(found):
        result.setdefault(member, {})[pack(values)] = (id, sum)
    return result


def _still_there(
    connection: sqlite3.Connection, made: Layout, given: Iterable[MemberRows]
) -> list[tuple[int, bytes]]:
    """Rows of which a batch says that they go. Their members may have gone before, with them."""
    gone = dict(chain.from_iterable(row.gone or () for row in given))
    found = select_in(connection, f"SELECT _id, _sum FROM {made.table} WHERE _id", sorted(gone))
    return [(id, sum) for id, sum in found if gone[id] == sum]


def _insert_rows(connection: sqlite3.Connection, made: Layout, found: Iterator[tuple[Any, ...]]) -> int:
    """Insert (member, source, *values), a piece at a time. `bytearray`: see statements.bindable."""
    (highest,) = connection.execute(f"SELECT max(_id) FROM {made.table}").fetchone()
    ids = count((highest or 0) + 1)
    numbered = ((id, *row) for row, id in zip(found, ids, strict=False))
    grown = 0
    while piece := list(islice(numbered, _PIECE)):
        sums = made.sums(piece)
        put(connection, made.insert, map(add, piece, zip(map(bytearray, sums), strict=True)))
        grown += checksums.added(sums)
    return grown


def _delete_rows(connection: sqlite3.Connection, made: Layout, stored: Sequence[tuple[int, bytes]]) -> int:
    connection.executemany(f"DELETE FROM {made.table} WHERE _id = ?", [(id,) for id, _ in stored])
    return checksums.added(sum for _, sum in stored)


# -- folds, changes, cursors -------------------------------------------------------------------------


def _write_blocks(connection: sqlite3.Connection, id: int, level: int, given: Iterable[BlockRow]) -> int:
    newest = {row.key: row for row in given}
    select = "SELECT key, sum FROM block WHERE collection = ? AND level = ? AND key"
    old = list(select_in(connection, select, list(newest), id, level))
    grown = -checksums.added(sum for _, sum in old)
    gone = [(id, level, key) for key, _ in old if not newest[key].data]
    connection.executemany("DELETE FROM block WHERE collection = ? AND level = ? AND key = ?", gone)
    kept = sorted(row for row in newest.values() if row.data)
    return grown + insert(connection, "block", kept, checksums.block_sum, "REPLACE")


def _append_changes(connection: sqlite3.Connection, given: Iterable[ChangeRow]) -> int:
    newest = {row.id: row for row in given}
    grown = insert(connection, "change", sorted(newest.values()), checksums.change_sum)
    known = last_change(connection)
    if known is None or known[0].position < max(newest):
        grown += _write_cursor(connection, CursorRow(LOG, "", max(newest), 0, b""))
    return grown


def _write_cursor(connection: sqlite3.Connection, row: CursorRow) -> int:
    old = take(connection, "cursor", "collection = ? AND name = ?", row.collection, row.name)
    return insert(connection, "cursor", [row], checksums.cursor_sum) - old


def _grouped(found: Iterable[tuple[K, V]]) -> Iterable[tuple[K, list[V]]]:
    groups: dict[K, list[V]] = {}
    for key, one in found:
        groups.setdefault(key, []).append(one)
    return groups.items()
