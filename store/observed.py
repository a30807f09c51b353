"""Observed: the observed inputs once more, packed by the hundreds, so that a start reads no rows of them.

A start looks at every observed input: it needs their arguments and stamps. As rows that is a join and a dozen
objects of Python for each, twice what the stamps of the files cost.

Invariants
    O1  The rows of `input` and `node` are the truth. A block repeats them, and is written with them.
    O2  There are no blocks at all (in an older store, until a commit writes an input), or each observed
        input is in one.
    O3  A block holds the inputs of one query in one range of ids, and is written when a row of one is.
    O4  The stamp of an input that the host has set is empty here: it says nothing of the value that is
        stored. An empty stamp is always right: the input is read again.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count, groupby

import msgspec

from engine.errors import StoreDamaged
from engine.store import checksums, reading, rows
from engine.store.checking import check
from engine.store.rows import Batch, InputBlock, NodeColumns, NodeRow, ObservedInput, ObservedRow
from engine.store.statements import insert, take

RANGE_BITS = 9  # 512 ids: some 10 KB that a changed stamp writes again, and 10 us that a block costs to read

_SELECT = "SELECT part, query, nodes, args, stamps, sum FROM observed"

_encode = msgspec.msgpack.Encoder().encode
_called = msgspec.msgpack.Decoder(list[tuple[str]]).decode  # with a path, as nearly all inputs are
_texts = msgspec.msgpack.Decoder(list[str]).decode
_packed = msgspec.msgpack.Decoder(list[bytes]).decode


def blocks(connection: sqlite3.Connection) -> list[InputBlock]:
    """All observed inputs; of a store without blocks, those of the rows."""
    return [_opened(row) for row in _stored(connection) or _made(reading.inputs(connection))]


def write_observed(connection: sqlite3.Connection, batch: Batch, written: NodeColumns) -> int:
    """Bring the blocks up to the rows that were written; return by how much the total grows."""
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
    given = {row.id: row for row in written.some(list(compress(count(), map(stamps.__contains__, ids))))}
    parts = {id >> RANGE_BITS for id in (*stamps, *pinned)}
    return sum([_write_part(connection, part, stamps, pinned, given) for part in sorted(parts)])


def audit_observed(connection: sqlite3.Connection) -> int:
    """Compare every block with its checksum and with the rows; return what they add to the total."""
    stored = {(row.part, row.query): row for row in _stored(connection)}
    total = 0
    if not stored:
        return total
    for expected in _made(reading.inputs(connection)):
        found = stored.pop((expected.part, expected.query), None)
        if found is None or found[:4] != expected[:4] or not _no_more_than(found, expected):
            raise StoreDamaged(table="observed", row=expected.part, found="other inputs than the rows say")
        total += int.from_bytes(checksums.observed_sum(*found), "little")
    if stored:
        raise StoreDamaged(table="observed", row=min(stored)[0], found="inputs that have no rows")
    return total


def _no_more_than(found: ObservedRow, expected: ObservedRow) -> bool:
    """Whether the stamps are those of the rows, or empty (O4)."""
    stamps = zip(_packed(found.stamps), _packed(expected.stamps), strict=True)
    return all(not stamp or stamp == other for stamp, other in stamps)


def _stored(connection: sqlite3.Connection, part: int | None = None) -> list[ObservedRow]:
    if part is None:
        found = connection.execute(_SELECT).fetchall()
    else:
        found = connection.execute(f"{_SELECT} WHERE part = ?", (part,)).fetchall()
    for row in found:
        check("observed", row[0], row[5], checksums.observed_sum, row[:5])
    return [ObservedRow(*row[:5]) for row in found]


def _write_part(
    connection: sqlite3.Connection,
    part: int,
    stamps: dict[int, bytes | None],
    pinned: set[int],
    given: dict[int, NodeRow],
) -> int:
    stored = _stored(connection, part)
    if stored:
        fresh = _patched(connection, part, stored, stamps, pinned)
    else:
        new = [(id, stamp) for id in _range(part) if (stamp := stamps.get(id)) is not None]
        if not new:
            return 0
        fresh = _first(new, given)
    if fresh is None:
        fresh = list(_made(reading.inputs(connection, _range(part))))
    grown = 0
    for row in stored:
        if row not in fresh:
            grown -= take(connection, "observed", "part = ? AND query = ?", part, row.query)
    return grown + _insert(connection, [row for row in fresh if row not in stored])


def _first(new: Sequence[tuple[int, bytes]], given: dict[int, NodeRow]) -> list[ObservedRow] | None:
    """The blocks of a range that is new. None: nodes are older than the batch, so the rows have to say it."""
    if not all(id in given for id, _ in new):
        return None
    found = ((given[id], stamp) for id, stamp in new)
    return list(
        _made(
            ObservedInput(row.id, row.query, row.args, row.flags, row.durability, row.fingerprint, stamp)
            for row, stamp in found
        )
    )


def _patched(
    connection: sqlite3.Connection,
    part: int,
    stored: Sequence[ObservedRow],
    stamps: dict[int, bytes | None],
    pinned: set[int],
) -> list[ObservedRow] | None:
    """The blocks of a range with other stamps. None: inputs have come or gone, so the rows have to say it."""
    nodes = [_unpack(row.nodes) for row in stored]
    known = {id for block in nodes for id in block}
    given = [id for id in _range(part) if id in stamps]
    if any((stamps[id] is None) == (id in known) for id in given):
        return None
    select = f"SELECT id FROM node WHERE flags & {rows.PINNED_FLAG} AND id"  # set before, it may be
    pinned = pinned.union(id for (id,) in reading.select_in(connection, select, given))
    fresh = []
    for row, ids in zip(stored, nodes, strict=True):
        before = zip(ids, _packed(row.stamps), strict=True)
        after = [b"" if id in pinned else stamps.get(id, stamp) for id, stamp in before]
        fresh.append(row._replace(stamps=_encode(after)))
    return fresh


def _made(found: Iterable[ObservedInput]) -> Iterator[ObservedRow]:
    """Blocks of inputs that come in the order of their ids."""
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
    whole = _encode(list(map(msgspec.Raw, args)))
    try:
        called = _called(whole)
    except msgspec.MsgspecError:
        return _encode(args)
    return _encode([text for (text,) in called] if _encode(called) == whole else args)


def _opened(row: ObservedRow) -> InputBlock:
    try:
        nodes, stamps = _unpack(row.nodes), _packed(row.stamps)
        try:
            block = InputBlock(row.query, nodes, _texts(row.args), None, stamps)
        except msgspec.ValidationError:
            block = InputBlock(row.query, nodes, None, _packed(row.args), stamps)
    except (msgspec.MsgspecError, struct.error) as error:
        raise StoreDamaged(table="observed", row=row.part, found=str(error)) from error
    if not len(nodes) == len(stamps) == len(block.texts or block.args or ()):
        raise StoreDamaged(table="observed", row=row.part, found="columns of different lengths")
    return block


def _insert(connection: sqlite3.Connection, found: Sequence[ObservedRow]) -> int:
    return insert(connection, "observed", found, checksums.observed_sum)


def _range(part: int) -> range:
    return range(part << RANGE_BITS, part + 1 << RANGE_BITS)


def _unpack(nodes: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(nodes) // 4}I", nodes)
