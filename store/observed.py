"""Observed: the observed inputs once more, packed by the hundreds, so that a start reads no rows of them.

A start looks at every observed input: it needs their arguments and stamps. As rows that is a join and a dozen
objects of Python for each, twice what the stamps of the files cost.

Invariants
    O1  The rows of `input` and `node` are the truth. A bundle repeats them, and is written with them; stamps
        of many inputs at once come late instead (`late`), and then count instead of those of the bundles.
    O2  There are no bundles at all (in an older store, until a commit writes an input), or each observed
        input is in one.
    O3  A bundle holds the inputs of one query in one range of ids, and is written when a row of one is.
    O4  The stamp of an input that the host has set is empty here: it says nothing of the value that is
        stored. An empty stamp is always right: the input is read again.
"""

from __future__ import annotations

import sqlite3
import struct
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from itertools import compress, count, groupby, islice
from typing import NamedTuple

import msgspec

from engine.errors import StoreDamaged
from engine.store import checksums, reading, rows
from engine.store.bundles import Bundle
from engine.store.checking import check
from engine.store.late import PART, laid_over, late_sum, opened_late, postponed, read_late, write_late
from engine.store.rows import Batch, NodeColumns, ObservedInput, ObservedRow
from engine.store.statements import insert, take

RANGE_BITS = 9  # 512 ids: some 10 KB that a changed stamp writes again, and 10 us that a bundle costs to read

PARTS_AT_ONCE = 128  # ranges that are read, and written again, together: some 3 MB

_SELECT = "SELECT part, query, nodes, args, stamps, sum FROM observed"
_UPDATE = "UPDATE observed SET stamps = ?, sum = ? WHERE part = ? AND query = ?"

_encode = msgspec.msgpack.Encoder().encode
_called = msgspec.msgpack.Decoder(list[tuple[str]]).decode  # with a path, as nearly all inputs are
_packed = msgspec.msgpack.Decoder(list[bytes]).decode


def bundles(connection: sqlite3.Connection) -> list[Bundle]:
    """All observed inputs; of a store without bundles, those of the rows."""
    stored, late = _all(connection)
    return [Bundle(row) for row in laid_over(stored or _made(reading.inputs(connection)), late)]


def write_observed(
    connection: sqlite3.Connection, batch: Batch, written: NodeColumns, stamped: Set[int]
) -> int:
    """Bring the bundles up to the rows that were written; return by how much the total grows.

    `stamped`: those of `batch.inputs` that had a stamp before.
    """
    ids, _, _, flags, *_ = written.columns
    pinned = set(compress(ids, map(rows.PINNED_FLAG.__and__, flags)))
    stamps: dict[int, bytes | None] = dict.fromkeys((*batch.deleted, *batch.deleted_inputs))
    stamps.update(batch.inputs)
    if not stamps and not pinned:
        return 0
    if connection.execute("SELECT 1 FROM observed LIMIT 1").fetchone() is None:
        (inputs,) = connection.execute("SELECT count(*) FROM input").fetchone()
        if inputs > len(batch.inputs):  # an older store has none
            return _insert(connection, list(_made(reading.inputs(connection))))
    late = read_late(connection)
    still_late = postponed(late, stamps, pinned, stamped)
    grown = write_late(connection, late, still_late)
    return grown + _write_bundles(connection, stamps, pinned, _given(written, stamps))


def _given(written: NodeColumns, stamps: dict[int, bytes | None]) -> dict[int, ObservedInput]:
    """The inputs among the rows that were written, with their stamps of now."""
    ids, query, args, flags, _, _, durability, _, _, fingerprint, *_ = written.columns
    places = list(compress(count(), map(stamps.__contains__, ids)))
    columns = [
        list(map(column.__getitem__, places)) for column in (ids, query, args, flags, durability, fingerprint)
    ]
    found = map(ObservedInput._make, zip(*columns, map(stamps.__getitem__, columns[0]), strict=True))
    return dict(zip(columns[0], found, strict=True))


def late_to_bundles(connection: sqlite3.Connection) -> int:
    """Bring the bundles up to the stamps that came late; return by how much the total grows."""
    late = read_late(connection)
    grown = write_late(connection, late, {})
    return grown + _write_bundles(connection, dict[int, bytes | None](late), set(), {})


def _write_bundles(
    connection: sqlite3.Connection,
    stamps: dict[int, bytes | None],
    pinned: set[int],
    given: dict[int, ObservedInput],
) -> int:
    grown = 0
    parts: dict[int, list[int]] = {}
    for id in sorted({*stamps, *pinned}):
        parts.setdefault(id >> RANGE_BITS, []).append(id)
    waiting = iter(parts.items())
    while some := dict(islice(waiting, PARTS_AT_ONCE)):
        grown += _write_parts(connection, some, stamps, pinned, given)
    return grown


def audit_observed(connection: sqlite3.Connection) -> int:
    """Compare every bundle with its checksum and with the rows; return what they add to the total."""
    bundles, late = _all(connection)
    stored = {(row.part, row.query): row for row in bundles}
    total = late_sum(late)
    if not stored and not late:
        return total
    inputs = reading.inputs(connection)
    if late != {row.id: row.stamp for row in inputs if row.id in late}:
        raise StoreDamaged(table="observed", row="late", found="other stamps than the rows say")
    for expected in _made(inputs):
        found = stored.pop((expected.part, expected.query), None)
        if found is None or found[:4] != expected[:4] or not _no_more_than(found, expected, late):
            raise StoreDamaged(table="observed", row=expected.part, found="other inputs than the rows say")
        total += int.from_bytes(checksums.observed_sum(*found), "little")
    if stored:
        raise StoreDamaged(table="observed", row=min(stored)[0], found="inputs that have no rows")
    return total


def _no_more_than(found: ObservedRow, expected: ObservedRow, late: Container[int]) -> bool:
    """Whether the stamps are those of the rows, or empty (O4), or of no use."""
    stamps = zip(_unpack(found.nodes), _packed(found.stamps), _packed(expected.stamps), strict=True)
    return all(not stamp or stamp == other or id in late for id, stamp, other in stamps)


def _all(connection: sqlite3.Connection) -> tuple[list[ObservedRow], dict[int, bytes]]:
    """The bundles, and the stamps that came late."""
    (cached,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute("PRAGMA cache_size = -1024")  # KiB: pages that are read once need no memory for good
    try:
        found = [row for row, _ in _stored(connection)]
    finally:
        connection.execute(f"PRAGMA cache_size = {int(cached)}")
    late = [row for row in found if row.part == PART]
    return [row for row in found if row.part != PART], opened_late(late[0]) if late else {}


def _stored(
    connection: sqlite3.Connection, parts: Sequence[int] | None = None
) -> list[tuple[ObservedRow, bytes]]:
    """The rows, all or those of some ranges, with their checksums."""
    if parts is None:
        found = connection.execute(_SELECT).fetchall()
    else:
        found = list(reading.select_in(connection, f"{_SELECT} WHERE part", parts))
    for row in found:
        check("observed", row[0], row[5], checksums.observed_sum, row[:5])
    return [(ObservedRow(*row[:5]), row[5]) for row in found]


def _write_parts(
    connection: sqlite3.Connection,
    parts: dict[int, list[int]],
    stamps: dict[int, bytes | None],
    pinned: set[int],
    given: dict[int, ObservedInput],
) -> int:
    """Bring the bundles of some ranges up to date. `parts`: the ids of each that have news."""
    stored: dict[int, list[tuple[ObservedRow, bytes]]] = {part: [] for part in parts}
    for row, sum in _stored(connection, list(parts)):
        stored[row.part].append((row, sum))
    grown = 0
    patches: list[_Patch] = []
    for part, ids in parts.items():
        found = _patches(stored[part], ids)
        known = {id for patch in found for _, id in patch.places}
        if all((stamps[id] is not None) == (id in known) for id in ids if id in stamps):
            patches += found
        else:  # inputs have come or gone
            grown += _write_anew(connection, part, [row for row, _ in stored[part]], stamps, given)
    return grown + _write_patches(connection, patches, stamps, pinned)


def _write_anew(
    connection: sqlite3.Connection,
    part: int,
    stored: Sequence[ObservedRow],
    stamps: dict[int, bytes | None],
    given: dict[int, ObservedInput],
) -> int:
    new = [id for id in _range(part) if stamps.get(id) is not None]
    # A range that is new is all in the batch, unless a node of it is older: then the rows have to say it.
    of_batch = not stored and all(map(given.__contains__, new))
    inputs = map(given.__getitem__, new) if of_batch else reading.inputs(connection, _range(part))
    fresh = list(_made(inputs))
    grown = 0
    for row in stored:
        if row not in fresh:
            grown -= take(connection, "observed", "part = ? AND query = ?", part, row.query)
    return grown + _insert(connection, [row for row in fresh if row not in stored])


class _Patch(NamedTuple):
    """A bundle that keeps its inputs, all its stamps, and the places of those that are others now."""

    bundle: ObservedRow
    sum: bytes
    stamps: list[bytes]
    places: list[tuple[int, int]]  # at which index, which id


def _patches(stored: Sequence[tuple[ObservedRow, bytes]], ids: Sequence[int]) -> list[_Patch]:
    """The bundles of a range that hold some of these ids."""
    found = []
    for bundle, sum in stored:
        nodes = _unpack(bundle.nodes)
        places = [(at, id) for id in ids if (at := bisect_left(nodes, id)) < len(nodes) and nodes[at] == id]
        if places:
            found.append(_Patch(bundle, sum, _packed(bundle.stamps), places))
    return found


def _write_patches(
    connection: sqlite3.Connection,
    patches: Sequence[_Patch],
    stamps: dict[int, bytes | None],
    pinned: set[int],
) -> int:
    # One that the host has set before has an empty stamp here (O4), and so have a few others: ask its row.
    doubtful = [id for _, _, known, places in patches for at, id in places if not known[at]]
    select = f"SELECT id FROM node WHERE flags & {rows.PINNED_FLAG} AND id"
    pinned = pinned.union([id for (id,) in reading.select_in(connection, select, doubtful)])
    grown = 0
    written = []
    for bundle, before, known, places in patches:
        for at, id in places:
            known[at] = b"" if id in pinned else stamps[id] or b""
        packed = _encode(known)
        if packed != bundle.stamps:
            sum = checksums.observed_sum(*bundle[:4], packed)
            grown += checksums.added((sum,)) - checksums.added((before,))
            written.append((packed, sum, bundle.part, bundle.query))
    connection.executemany(_UPDATE, written)
    return grown


def _made(found: Iterable[ObservedInput]) -> Iterator[ObservedRow]:
    """Bundles of inputs that come in the order of their ids."""
    for part, inputs in groupby(found, lambda row: row.id >> RANGE_BITS):
        by_query: dict[int, list[ObservedInput]] = {}
        for row in inputs:
            by_query.setdefault(row.query, []).append(row)
        for query, several in by_query.items():
            nodes = struct.pack(f"<{len(several)}I", *[row.id for row in several])
            stamps = [b"" if row.flags & rows.PINNED_FLAG else row.stamp for row in several]
            args = _joined([row.args for row in several])
            yield ObservedRow(part, query, nodes, args, _encode(stamps))


def _joined(args: list[bytes]) -> bytes:
    """The texts where each has one text and no more; else each as its bytes."""
    try:
        called = _called(_encode(list(map(msgspec.Raw, args))))
    except msgspec.MsgspecError:
        return _encode(args)
    return _encode([text for (text,) in called])


def _insert(connection: sqlite3.Connection, found: Sequence[ObservedRow]) -> int:
    return insert(connection, "observed", found, checksums.observed_sum)


def _range(part: int) -> range:
    return range(part << RANGE_BITS, part + 1 << RANGE_BITS)


def _unpack(nodes: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(nodes) // 4}I", nodes)
