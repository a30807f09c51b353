"""History: values and memos that nodes had before, as rows; how they are kept few.

Invariants
    H1  Of a node at most `Batch.earlier_kept` earlier memos stay, and `VERSIONS` versions: the newest.
    H2  Ids ascend by the bytes that rows take, so all rows together take at most `MOST_BYTES`.
    H3  A row that comes without its value takes what the node has stored, before that is replaced.
    H4  Whatever is missing here costs an execution at worst: what a row does not say is not known.

Not here: what versions and memos mean, and when one holds again (the core).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from engine.errors import StoreDamaged
from engine.store import checksums, reading
from engine.store.checking import check, value_matches
from engine.store.reading import select_in
from engine.store.rows import Batch, EarlierRow, VersionRow
from engine.store.statements import bindable, delete, insert

VERSIONS: Final = 16  # of a node; who read an older one runs again
MOST_BYTES: Final = 256 << 20  # of rows written; the older ones go
ROW_BYTES: Final = 120  # what SQLite needs for a row beside its blobs

_COLUMNS = "id, node, flags, cost, code, fingerprint, dependencies, seen, rows, sum"
_NONE: Final = b"", b""
_VERSION: Final = struct.Struct(f"<qq{checksums.SUM_BYTES}s")


def versions(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, list[VersionRow]]:
    return {
        node: [VersionRow(node, *one) for one in _VERSION.iter_unpack(packed)]
        for node, (packed, _) in _packed(connection, ids).items()
    }


def _packed(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, tuple[bytes, bytes]]:
    """The versions of nodes, and the checksums of their rows."""
    result: dict[int, tuple[bytes, bytes]] = {}
    for node, packed, stored in select_in(
        connection, "SELECT node, packed, sum FROM version WHERE node", ids
    ):
        check("version", node, stored, checksums.version_sum, (node, packed))
        if len(packed) % _VERSION.size:
            raise StoreDamaged(table="version", row=node)
        result[node] = packed, stored
    return result


def earlier(connection: sqlite3.Connection, nodes: Sequence[int]) -> dict[int, list[EarlierRow]]:
    result: dict[int, list[EarlierRow]] = {}
    for row in sorted(select_in(connection, f"SELECT {_COLUMNS} FROM earlier WHERE node", nodes)):
        result.setdefault(row[1], []).append(_checked(row))
    return result


def value(connection: sqlite3.Connection, node: int, fingerprint: bytes) -> bytes | None:
    select = "SELECT value FROM earlier WHERE node = ? AND fingerprint = ? AND value IS NOT NULL LIMIT 1"
    row = connection.execute(select, (node, fingerprint)).fetchone()
    if row is None:
        return reading.value(connection, node, fingerprint)
    if not value_matches(row[0], fingerprint):
        raise StoreDamaged(table="earlier", row=f"of node {node}", column="value")
    found: bytes = row[0]
    return found


def dependencies(connection: sqlite3.Connection) -> dict[int, list[bytes]]:
    """What the earlier memos of each node read."""
    result: dict[int, list[bytes]] = {}
    for node, packed in connection.execute("SELECT node, dependencies FROM earlier"):
        result.setdefault(node, []).append(packed)
    return result


def write(connection: sqlite3.Connection, batch: Batch) -> int:
    """Write what the batch says of histories, and let old rows go; return by how much the total grows."""
    grown = 0
    if batch.earlier_gone:
        grown -= delete(connection, "earlier", "node", set(batch.earlier_gone))
    if batch.versions:
        grown += _add_versions(connection, batch.versions)
    if batch.earlier:
        last = _last(connection)
        added, last = _add_earlier(connection, batch.earlier, last)
        grown += added - _trim(connection, {row.node for row in batch.earlier}, batch.earlier_kept, last)
    return grown


def audit_earlier(connection: sqlite3.Connection) -> int:
    """The sum of all checksums of earlier memos; StoreDamaged where one, or a value, is not as written."""
    total = 0
    for *row, held in connection.execute(f"SELECT {_COLUMNS}, value FROM earlier"):
        made = _checked(row)
        if held is not None and not value_matches(held, made.fingerprint):
            raise StoreDamaged(table="earlier", row=row[0], column="value")
        total += int.from_bytes(row[-1], "little")
    return total


def _checked(row: Sequence[object]) -> EarlierRow:
    check("earlier", row[0], row[9], checksums.earlier_sum, row[:9])
    made: EarlierRow = EarlierRow._make((*row[1:9], None, False))
    return made


def _add_versions(connection: sqlite3.Connection, added: Iterable[VersionRow]) -> int:
    given: dict[int, bytes] = {}
    for node, *version in added:
        given[node] = given.get(node, b"") + _VERSION.pack(*version)
    held = _packed(connection, sorted(given))
    most = VERSIONS * _VERSION.size
    new = [(node, (held.get(node, _NONE)[0] + packed)[-most:]) for node, packed in sorted(given.items())]
    taken = checksums.added(sum for _, sum in held.values())
    return insert(connection, "version", new, checksums.version_sum, "REPLACE") - taken


def _add_earlier(connection: sqlite3.Connection, added: Sequence[EarlierRow], last: int) -> tuple[int, int]:
    """Write rows behind the `last` one; return the sum of their checksums, and the new last one."""
    wanting = sorted({row.node for row in added if row.value is None and not row.valueless})
    select = "SELECT id, fingerprint, value FROM node WHERE value IS NOT NULL AND id"
    stored = {node: (digest, held) for node, digest, held in select_in(connection, select, wanting)}
    id = last
    complete: list[tuple[Any, ...]] = []
    for row in added:
        columns, held = row[:8], row.value
        if held is None and not row.valueless:
            digest, held = stored.get(row.node, (b"", None))
            if held is None or digest != row.fingerprint:
                continue  # it was stored nowhere (H4)
        blobs = row.code, row.fingerprint, row.dependencies, row.seen, row.rows, held or b""
        id += ROW_BYTES + sum(map(len, blobs))
        complete.append((id, *columns, checksums.earlier_sum(id, *columns), held))
    bound = zip(*map(bindable, zip(*complete, strict=True)), strict=True)
    connection.executemany("INSERT INTO earlier VALUES (?,?,?,?,?,?,?,?,?,?,?)", bound)
    return checksums.added(row[9] for row in complete), id


def _trim(connection: sqlite3.Connection, nodes: set[int], kept: int, last: int) -> int:
    """Delete the oldest memos of these nodes, and of all; return what they had added to the total."""
    select = "SELECT node, count(*), min(id) FROM earlier WHERE node"
    counted = select_in(connection, select, sorted(nodes), tail=" GROUP BY node")
    several = [(node, number, oldest) for node, number, oldest in counted if number > kept]
    ids = [oldest for _, number, oldest in several if number == kept + 1]  # as most have; of the index alone
    for node, number, _ in several:
        if number > kept + 1:
            select = "SELECT id FROM earlier WHERE node = ? ORDER BY id LIMIT ?"
            ids += [id for (id,) in connection.execute(select, (node, number - kept))]
    gone = list(select_in(connection, "SELECT id, sum FROM earlier WHERE id", sorted(ids)))
    connection.executemany("DELETE FROM earlier WHERE id = ?", [(id,) for id, _ in gone])
    before = last - MOST_BYTES
    if before > 0:
        old = connection.execute("SELECT id, sum FROM earlier WHERE id <= ?", (before,)).fetchall()
        connection.execute("DELETE FROM earlier WHERE id <= ?", (before,))
        gone += old
    return checksums.added(sum for _, sum in gone)


def _last(connection: sqlite3.Connection) -> int:
    (highest,) = connection.execute("SELECT max(id) FROM earlier").fetchone()
    return int(highest or 0)
