"""Repair: decide whether a file that is not sealed can be trusted, by reading all of it.

Invariants
    A1  A file passes only if every row is what some commit of ours wrote, no row is missing, and none is
        from another moment: checksums of rows, their total, the index, and readers against dependencies.
        A collection reads its members without listing them, and is read without listing its readers.
    A2  The audit changes nothing.
    A3  A page that cannot be read is no damage: the disk failed, and says nothing of what lies on it.
"""

from __future__ import annotations

import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator

from engine.errors import StoreDamaged
from engine.store import checksums, rows
from engine.store.checking import check, value_matches
from engine.store.directory import Files
from engine.store.failures import NOT_THERE
from engine.store.history import audit_history
from engine.store.layout import collection_rows, layouts
from engine.store.observed import audit_observed
from engine.store.rawfile import CHUNK_BYTES, RawFile

_SUMS: dict[str, Callable[..., bytes]] = {
    "readers": checksums.readers_sum,
    "input": checksums.input_sum,
    "query": checksums.query_sum,
    "revision": checksums.revision_sum,
    "collection": checksums.collection_sum,
    "member": checksums.member_sum,
    "block": checksums.block_sum,
    "change": checksums.change_sum,
    "cursor": checksums.cursor_sum,
}
# How integrity_check, which goes on after them, tells of reads that failed; of lists of pages without a code.
_UNREAD = re.compile(r"(?:unable to get the page\. error code=(\d+)|failed to get page \d+)\s*$")
_PIECE = 1000  # rows of a collection that are checked at once


def audit(connection: sqlite3.Connection) -> None:
    """Raise StoreDamaged for the first thing that does not agree. About 5 us a node."""
    for (line,) in connection.execute("PRAGMA integrity_check(1)"):
        if line != "ok":
            _raise_if_unread(line)
            raise StoreDamaged(check="integrity_check", found=line)
    stored = load_state(connection)
    total, expected, known = _audit_nodes(connection)
    if not is_indexed(connection):
        expected = {}  # then there are no readers rows at all
    collections = {row.id for row in collection_rows(connection)}
    for table, compute in _SUMS.items():
        for row in connection.execute(f"SELECT * FROM {table}"):
            check(table, row[0], row[-1], compute, row[:-1])
            total += int.from_bytes(row[-1], "little")
            if table == "readers" and not _agree(row[0], unpack(row[1]), expected, collections):
                raise StoreDamaged(table=table, row=row[0], found="readers that are not its dependents")
            if table == "input" and row[0] not in known:
                raise StoreDamaged(table=table, row=row[0], found="an input without a node")
    if unread := [id for id in expected if id not in collections and set(expected[id]) - collections]:
        raise StoreDamaged(table="readers", row=min(unread), found="dependents, but no readers")
    total += audit_history(connection) + audit_observed(connection)
    for made in layouts(connection):
        found = connection.execute(made.select)
        while piece := found.fetchmany(_PIECE):
            total += checksums.added(row[-1] for row in made.checked(piece))
    if checksums.total_bytes(total) != stored.total:
        raise StoreDamaged(table="state", found="rows that are missing, or of another moment")


def _raise_if_unread(line: str) -> None:
    """Where it tells of a read that failed, raise what any other statement would have raised for it (A3)."""
    if found := _UNREAD.search(line):
        error = sqlite3.OperationalError(line.rpartition("\n")[2])
        error.sqlite_errorcode = int(found[1] or sqlite3.SQLITE_IOERR_READ)
        raise error


def _agree(id: int, readers: Iterable[int], expected: dict[int, list[int]], collections: set[int]) -> bool:
    """Whether these are the readers that the dependencies ask for. What was expected of `id` is used up."""
    asked = expected.pop(id, [])
    if id in collections:
        return True
    left, right = ([one for one in ids if one not in collections] for ids in (readers, asked))
    return sorted(left) == sorted(right)


def read_whole(files: Files) -> None:
    """OSError where the disk does not give the file or its log: then nothing is known to be damaged."""
    raw = RawFile.open(files.database)
    try:
        raw.digest()
    finally:
        raw.close()
    try:
        with open(files.wal, "rb") as log:
            while log.read(CHUNK_BYTES):
                pass
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise


def load_state(connection: sqlite3.Connection) -> rows.StateRow:
    """The state row; StoreDamaged when it is not there or not as it was written."""
    found = connection.execute("SELECT * FROM state").fetchall()
    if len(found) != 1:
        raise StoreDamaged(table="state", found=f"{len(found)} rows")
    _, revision, node, query, suspects, low, medium, high, total, base, stored = found[0]
    row = rows.StateRow(rows.State(revision, node, query, suspects, (low, medium, high)), total, base)
    check("state", 1, stored, checksums.state_sum, (row,))
    return row


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Whether the store has its index, which is not there while a first build goes on: see index."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'node_key'")
    return found.fetchone() is not None


def unpack(packed: bytes) -> array[int]:
    """The ids in a packed column."""
    ids = array("I")
    ids.frombytes(packed)
    return ids


def transposed(edges: Iterable[tuple[int, bytes]]) -> dict[int, list[int]]:
    """Readers of each node, each once, from (node, packed dependencies)."""
    readers: dict[int, list[int]] = {}
    for node, packed in edges:
        for dependency in set(unpack(packed)):
            if dependency < rows.GROUP_MARKER:
                readers.setdefault(dependency, []).append(node)
    return readers


def _audit_nodes(connection: sqlite3.Connection) -> tuple[int, dict[int, list[int]], set[int]]:
    """Total of the checksums, readers that the dependencies ask for, and ids."""
    total = 0
    known: set[int] = set()

    def edges() -> Iterator[tuple[int, bytes]]:
        nonlocal total
        select = (
            "SELECT id, query, args, flags, changed_at, verified_at, durability, cost, cause, "
            "fingerprint, dependencies, sum, key, value FROM node"
        )
        for row in connection.execute(select):
            check("node", row[0], row[11], checksums.node_sum, row[:11])
            if row[12] != checksums.key_hash(row[1], row[2]):
                raise StoreDamaged(table="node", row=row[0], column="key")
            if row[13] is not None and not value_matches(row[13], row[9]):
                raise StoreDamaged(table="node", row=row[0], column="value")
            if len(row[10]) % 4:
                raise StoreDamaged(table="node", row=row[0], column="dependencies")
            total += int.from_bytes(row[11], "little")
            known.add(row[0])
            yield row[0], row[10]

    readers = transposed(edges())
    return total, readers, known
