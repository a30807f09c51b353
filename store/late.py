"""Late: stamps that came after the bundles of their inputs, in one row beside them.

Files that are touched by the hundred lie in nearly all bundles (`observed`). To write those again would take
most of the time of such a commit, so the stamps are put here, and laid over the bundles when they are read.

Invariants
    L1  An input in here is in a bundle too, whose stamp is of no use then. Its stamp here is that of its row.
    L2  Of an input that the host has set in the same commit there is none in here.
    L3  There are at most MOST: with more than that, all go to their bundles. In a quiet moment they go before
        (tidying), so that no commit has to wait for it.
"""

from __future__ import annotations

import sqlite3
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set

import msgspec

from engine.errors import StoreDamaged
from engine.store import checksums
from engine.store.checking import check
from engine.store.rows import ObservedRow

FEW = 16  # stamps that are written to their bundles at once: some 0.1 ms each
MOST = 4_096  # stamps: some 200 KB, which a commit with more than a few of them writes again

PART = -1  # of the row: no range of ids
_KEY = (PART, 0)  # part and query

_encode = msgspec.msgpack.Encoder().encode
_packed = msgspec.msgpack.Decoder(list[bytes]).decode


def read_late(connection: sqlite3.Connection) -> dict[int, bytes]:
    """All of them, ascending."""
    select = "SELECT part, query, nodes, args, stamps, sum FROM observed WHERE part = ? AND query = ?"
    row = connection.execute(select, _KEY).fetchone()
    if row is None:
        return {}
    check("observed", PART, row[5], checksums.observed_sum, row[:5])
    return opened_late(ObservedRow(*row[:5]))


def count_late(connection: sqlite3.Connection) -> int:
    """How many there are; nothing is checked."""
    select = "SELECT length(nodes) / 4 FROM observed WHERE part = ? AND query = ?"
    return sum(count for (count,) in connection.execute(select, _KEY))


def opened_late(row: ObservedRow) -> dict[int, bytes]:
    """What the row says that they are in."""
    try:
        nodes = struct.unpack(f"<{len(row.nodes) // 4}I", row.nodes)
        return dict(zip(nodes, _packed(row.stamps), strict=True))
    except (msgspec.MsgspecError, struct.error, ValueError) as error:
        raise StoreDamaged(table="observed", row=PART, found=str(error)) from error


def write_late(
    connection: sqlite3.Connection, before: Mapping[int, bytes], after: Mapping[int, bytes]
) -> int:
    """Replace what is there; return by how much the total grows."""
    if before == after:
        return 0
    connection.execute("DELETE FROM observed WHERE part = ? AND query = ?", _KEY)
    if after:
        row = _row(after)
        connection.execute("INSERT INTO observed VALUES (?,?,?,?,?,?)", (*row, checksums.observed_sum(*row)))
    return late_sum(after) - late_sum(before)


def late_sum(late: Mapping[int, bytes]) -> int:
    """What they add to the total."""
    return checksums.added((checksums.observed_sum(*_row(late)),)) if late else 0


def _row(late: Mapping[int, bytes]) -> tuple[int, int, bytes, bytes, bytes]:
    return (*_KEY, struct.pack(f"<{len(late)}I", *late), b"", _encode(list(late.values())))


def postponed(
    late: Mapping[int, bytes], stamps: dict[int, bytes | None], pinned: Set[int], stamped: Set[int]
) -> dict[int, bytes]:
    """Those that are late from now on; what is left in `stamps` is for the bundles.

    pinned      inputs that the host has set now
    stamped     inputs that had a stamp before, so that they are in bundles
    """
    rest = {id: stamp for id, stamp in late.items() if id not in stamps and id not in pinned}
    fresh = {
        id: stamp for id, stamp in stamps.items() if stamp is not None and id in stamped and id not in pinned
    }
    if len(fresh) <= FEW:
        return rest
    if len(rest) + len(fresh) > MOST:
        stamps.update(rest)
        return {}
    for id in fresh:
        del stamps[id]
    return dict(sorted({**rest, **fresh}.items()))


def laid_over(bundles: Iterable[ObservedRow], late: Mapping[int, bytes]) -> Iterator[ObservedRow]:
    """The bundles with the stamps that came late."""
    ids = sorted(late)
    for bundle in bundles:
        concerned = _between(ids, bundle.nodes)
        if not concerned:
            yield bundle
            continue
        nodes, stamps = struct.unpack(f"<{len(bundle.nodes) // 4}I", bundle.nodes), _packed(bundle.stamps)
        for id in concerned:
            at = bisect_left(nodes, id)
            if nodes[at] == id:  # else it is of another query
                stamps[at] = late[id]
        yield bundle._replace(stamps=_encode(stamps))


def _between(ids: list[int], nodes: bytes) -> list[int]:
    """Those from the first to the last of some packed nodes."""
    (first,), (last,) = struct.unpack_from("<I", nodes), struct.unpack_from("<I", nodes, len(nodes) - 4)
    return ids[bisect_left(ids, first) : bisect_left(ids, last + 1)]
