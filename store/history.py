"""History: values and memos that nodes had before, as records in the rows of parts.

Invariants
    H1  Of a node the newest `Batch.earlier_kept` earlier memos stay, and the newest `VERSIONS` versions.
        There may be more of them for a while, but of all nodes no more than `parts.MOST_BYTES` (see parts).
    H2  A memo that comes without its value takes what the node has stored, before that is replaced.
    H3  Whatever is missing here costs an execution at worst: what a record does not say is not known.

Not here: what versions and memos mean, and when one holds again (the core).
"""

from __future__ import annotations

import sqlite3
import struct
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from engine.errors import StoreDamaged
from engine.store import checksums, parts, reading
from engine.store.checking import value_matches
from engine.store.parts import Kept
from engine.store.reading import select_in
from engine.store.rows import Batch, EarlierRow, VersionRow

VERSIONS: Final = 16  # of a node; who read an older one runs again
LARGEST: Final = 1 << 16  # bytes of a value that comes with its memo; a larger one is read when it is wanted
MOST_AT_ONCE: Final = 8 << 20  # bytes of all values that come with memos, those of the newest ones

_NONE: Final = b"", None
_VERSION: Final = struct.Struct(f"<qq{checksums.SUM_BYTES}s")
_MANY: Final = struct.Struct(">BI").pack  # of msgpack: an array, and how long it is

_encode = msgspec.msgpack.Encoder().encode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
# As EarlierRow, without the node.
_memo = msgspec.msgpack.Decoder(tuple[int, int, bytes, bytes, bytes, bytes, bytes, bytes | None]).decode


def _join(records: Sequence[Any]) -> bytes:
    return b"".join((_MANY(0xDD, len(records)), *records))


def _pieces(packed: bytes) -> list[bytes]:
    size = _VERSION.size
    return [packed[at : at + size] for at in range(0, len(packed), size)]


OF_VERSIONS: Final = Kept("version", b"".join, _pieces)
OF_MEMOS: Final = Kept("earlier", _join, _split)


def versions(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, list[VersionRow]]:
    result: dict[int, list[VersionRow]] = {}
    for node, record in parts.of_nodes(connection, OF_VERSIONS, ids):
        result.setdefault(node, []).append(VersionRow(node, *_VERSION.unpack(record)))
    return {node: several[-VERSIONS:] for node, several in result.items()}


def earlier(connection: sqlite3.Connection, nodes: Sequence[int]) -> dict[int, list[EarlierRow]]:
    result: dict[int, list[EarlierRow]] = {}
    held: deque[tuple[list[EarlierRow], int, int]] = deque()  # oldest first: where a value is, and its size
    total = 0
    for node, record in parts.of_nodes(connection, OF_MEMOS, nodes):
        row = EarlierRow(node, *_memo(record))
        several = result.setdefault(node, [])
        size = len(row.value or b"")
        if size > LARGEST:
            row = row._replace(value=None)  # for who asks for it
        elif size:
            held.append((several, len(several), size))
            total += size
        several.append(row)
        while total > MOST_AT_ONCE:
            older, at, size = held.popleft()
            older[at] = older[at]._replace(value=None)
            total -= size
    return result


def value(connection: sqlite3.Connection, node: int, fingerprint: bytes) -> bytes | None:
    for _, record in parts.of_nodes(connection, OF_MEMOS, (node,)):
        _, _, _, stored, _, _, _, found = _memo(record)
        if stored == fingerprint and found is not None:
            return found
    return reading.value(connection, node, fingerprint)


def dependencies(connection: sqlite3.Connection) -> dict[int, list[bytes]]:
    """What the earlier memos of each node read."""
    result: dict[int, list[bytes]] = {}
    for nodes, records in parts.everything(connection, OF_MEMOS):
        for node, record in zip(nodes, records, strict=True):
            result.setdefault(node, []).append(_memo(record)[4])
    return result


def write(connection: sqlite3.Connection, batch: Batch) -> int:
    """Write what the batch says of histories; return by how much the total grows."""
    grown = 0
    if batch.earlier_gone:
        grown -= parts.remove(connection, OF_MEMOS, batch.earlier_gone)
    if batch.versions:
        changed, *columns = zip(*batch.versions, strict=True)
        grown += parts.add(connection, OF_VERSIONS, changed, list(map(_VERSION.pack, *columns)), VERSIONS)
    if batch.earlier:
        found = list(_complete(connection, batch.earlier))
        nodes, memos = [node for node, _ in found], [memo for _, memo in found]
        grown += parts.add(connection, OF_MEMOS, nodes, memos, batch.earlier_kept)
    return grown


def audit_history(connection: sqlite3.Connection) -> int:
    """The sum of all checksums of rows of histories; StoreDamaged where one is not as it was written."""
    return sum(parts.audit(connection, kept) for kept in (OF_VERSIONS, OF_MEMOS))


def remove(connection: sqlite3.Connection, nodes: Collection[int]) -> int:
    """Nodes go, and what they were; return what that had added to the total."""
    return sum(parts.remove(connection, kept, nodes) for kept in (OF_VERSIONS, OF_MEMOS))


def _complete(connection: sqlite3.Connection, added: Sequence[EarlierRow]) -> Iterator[tuple[int, bytes]]:
    """Nodes and records of memos, with their values (H2)."""
    wanting = sorted({row.node for row in added if row.value is None and not row.valueless})
    select = "SELECT id, fingerprint, value FROM node WHERE value IS NOT NULL AND id"
    stored = {node: (digest, held) for node, digest, held in select_in(connection, select, wanting)}
    for row in added:
        held = row[8]
        if held is None and not row[9]:
            digest, held = stored.get(row[0], _NONE)
            if held is None or digest != row[4]:
                continue  # it was stored nowhere (H3)
            if not value_matches(held, digest):  # its record would have a checksum that agrees
                raise StoreDamaged(table="node", row=row[0], column="value")
        yield row[0], _encode((*row[1:8], held))
