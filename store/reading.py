"""Reading: rows out of the tables, checked one by one.

Invariants
    G1  Every row is compared with its checksum before anybody sees it; every value with its fingerprint.
    G2  Rows that are not there are left out; what that means is the caller's decision.
    G3  Ids are asked for in a few statement sizes, so that SQLite compiles each once.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from engine.errors import StoreDamaged
from engine.store import checksums, rows
from engine.store.checking import check, value_matches
from engine.store.rows import NodeRow

IDS_PER_STATEMENT = 512  # measured: 256 to 1024 alike, json_each a quarter slower

NODE_COLUMNS = (
    "id, query, args, flags, changed_at, verified_at, durability, cost, cause, fingerprint, dependencies, sum"
)


def select_in(
    connection: sqlite3.Connection, head: str, ids: Sequence[Any], *before: Any, tail: str = ""
) -> Iterator[tuple[Any, ...]]:
    """Rows of `head` + "(ids)" + `tail`, in pieces; the last one is filled up with NULLs: they match nothing.

    `before` are the values of the marks in `head`.
    """
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        piece = ids[start : start + IDS_PER_STATEMENT]
        size = 1 << (len(piece) - 1).bit_length()
        marks = ",".join("?" * size)
        bound = [*before, *piece, *[None] * (size - len(piece))]
        yield from connection.execute(f"{head} IN ({marks}){tail}", bound)


def find(connection: sqlite3.Connection, query: int, args: bytes) -> NodeRow | None:
    select = f"SELECT {NODE_COLUMNS} FROM node WHERE key = ?"
    for row in checked(connection.execute(select, (checksums.key_hash(query, args),))):
        if row.query == query and row.args == args:
            return row
    return None


def checked(found: Iterable[tuple[Any, ...]]) -> Iterator[NodeRow]:
    """Node rows of NODE_COLUMNS, compared with their checksums."""
    compute = checksums.node_sum
    for row in found:
        columns = row[:11]
        try:
            matches = compute(*columns) == row[11]
        except (TypeError, struct.error):  # wrong types
            matches = False
        if not matches:
            raise StoreDamaged(table="node", row=row[0])
        yield NodeRow(*columns)


def nodes(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, NodeRow]:
    select = f"SELECT {NODE_COLUMNS} FROM node WHERE id"
    return {row.id: row for row in checked(select_in(connection, select, ids))}


def value(connection: sqlite3.Connection, id: int, fingerprint: bytes) -> bytes | None:
    found = connection.execute("SELECT value FROM node WHERE id = ? AND fingerprint = ?", (id, fingerprint))
    row = found.fetchone()
    if row is None or row[0] is None:
        return None
    if not value_matches(row[0], fingerprint):
        raise StoreDamaged(table="node", row=id, column="value")
    stored: bytes = row[0]
    return stored


def values_of(connection: sqlite3.Connection, fingerprints: dict[int, bytes]) -> dict[int, bytes]:
    result: dict[int, bytes] = {}
    select = "SELECT id, fingerprint, value FROM node WHERE value IS NOT NULL AND id"
    for id, stored, held in select_in(connection, select, sorted(fingerprints)):
        if stored == fingerprints[id]:
            if not value_matches(held, stored):
                raise StoreDamaged(table="node", row=id, column="value")
            result[id] = held
    return result


def values(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, bytes]:
    result: dict[int, bytes] = {}
    select = f"SELECT {NODE_COLUMNS}, value FROM node WHERE value IS NOT NULL AND id"
    for row in select_in(connection, select, ids):
        check("node", row[0], row[11], checksums.node_sum, row[:11])
        if not value_matches(row[12], row[9]):
            raise StoreDamaged(table="node", row=row[0], column="value")
        result[row[0]] = row[12]
    return result


def readers(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, bytes]:
    result: dict[int, bytes] = {}
    select = "SELECT dependency, packed, sum FROM readers WHERE dependency"
    for id, packed, stored in select_in(connection, select, ids):
        check("readers", id, stored, checksums.readers_sum, (id, packed))
        result[id] = packed
    return result


def members(connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Collection and node of every member."""
    for collection, node, data, sum in connection.execute("SELECT collection, node, data, sum FROM member"):
        check("member", (collection, node), sum, checksums.member_sum, (collection, node, data))
        yield collection, node


def inputs(connection: sqlite3.Connection, among: range | None = None) -> list[rows.ObservedInput]:
    """One joined scan, of all or of a range of ids, in their order. An input without its node is damage."""
    columns = ", ".join(f"node.{name}" for name in NODE_COLUMNS.split(", "))
    joined = "input LEFT JOIN node ON node.id = input.node"
    result = []
    select = f"SELECT input.node, stamp, input.sum, {columns} FROM {joined}"
    where = "" if among is None else " WHERE input.node >= ? AND input.node < ?"
    bounds = () if among is None else (among.start, among.stop)
    for id, stamp, stored, *node in connection.execute(f"{select}{where} ORDER BY input.node", bounds):
        check("input", id, stored, checksums.input_sum, (id, stamp))
        check("node", id, node[11], checksums.node_sum, node[:11])
        result.append(rows.ObservedInput(id, node[1], node[2], node[3], node[6], node[9], stamp))
    return result


def queries(connection: sqlite3.Connection) -> list[rows.QueryRow]:
    result = []
    for row in connection.execute("SELECT id, name, code, calls, sum FROM query ORDER BY id"):
        check("query", row[0], row[4], checksums.query_sum, row[:4])
        result.append(rows.QueryRow(*row[:4]))
    return result


def revisions(connection: sqlite3.Connection, last: int) -> list[rows.RevisionRow]:
    result = []
    select = "SELECT number, at, changed, note, sum FROM revision ORDER BY number DESC LIMIT ?"
    for row in connection.execute(select, (last,)):
        check("revision", row[0], row[4], checksums.revision_sum, row[:4])
        result.append(rows.RevisionRow(*row[:4]))
    return result


def all_nodes(connection: sqlite3.Connection) -> list[int]:
    """Read from the index by key, where it is made: a twentieth of the table."""
    return sorted(id for (id,) in connection.execute("SELECT id FROM node"))


def nodes_of(connection: sqlite3.Connection, query: int) -> list[int]:
    """A scan of the table, some 0.1 us a node: for commands, and where code is another."""
    select = f"SELECT {NODE_COLUMNS} FROM node WHERE query = ? ORDER BY id"
    return [row.id for row in checked(connection.execute(select, (query,)))]
