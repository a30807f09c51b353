"""Parts: what is said of neighbouring nodes, many records in one row. Two tables are kept so, see history.

A part is 256 ids. A row has the records that one commit wrote of the nodes of a part: a row for each record
would cost more than the record of a node that runs again is worth.

Invariants
    P1  Of each node at least the newest `kept` records stay, as far as P3 lets them.
    P2  A part has at most `2 * kept` rows, large ones aside. If there are more, those go of whose nodes there
        are `kept` newer records; if that is too few, the newest are made one, without what is too old in
        them. Where large ones make that impossible, what is too old goes out of each.
    P3  Ids ascend by the bytes that rows take, so all rows of a table together take at most `MOST_BYTES`.
    P4  The records of a node are in the order of time: in a row, and from one row to the next.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from engine.errors import StoreDamaged
from engine.store import checksums
from engine.store.checking import check
from engine.store.reading import select_in
from engine.store.statements import bindable

PART_BITS: Final = 8  # 256 ids: some 10 KB of versions, 50 KB of memos
AT_ONCE: Final = 16  # parts that nodes are taken out of in one go, so that few records are in memory
FEW: Final = 4  # nodes whose rows are looked for one after the other
LARGEST: Final = 1 << 18  # bytes of the records in a row, if there are two or more
MOST_BYTES: Final = 256 << 20  # of the rows of a table; the older ones go
CROWDED: Final = 4  # times `kept`: rows of a part that are left after all that, so that each is looked into
ROW_BYTES: Final = 60  # what SQLite needs for a row beside its blobs


class Kept(NamedTuple):
    """A table of parts, and how records become the bytes of a row, and the other way round."""

    table: str
    join: Callable[[Sequence[Any]], bytes]
    split: Callable[[bytes], list[Any]]


class Row(NamedTuple):
    """A row that is there. `size`: of its records."""

    id: int
    part: int
    nodes: bytes
    size: int
    sum: bytes


Written = tuple[int, bytes, bytes]  # part, nodes, records


def of_nodes(connection: sqlite3.Connection, kept: Kept, nodes: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """The nodes that have records, with each, oldest first."""
    wanted = set(nodes)
    if len(wanted) <= FEW:
        rows = [row for node in wanted for row in _rows_of(connection, kept, node)]
    else:
        there = _rows(connection, kept, sorted({node >> PART_BITS for node in wanted})).values()
        rows = [
            row
            for several in there
            for row in several
            if not wanted.isdisjoint(_ids(kept, row.id, row.nodes))
        ]
    by_id = {row.id: row for row in rows}
    for id, records in _opened(connection, kept, by_id):
        for node, record in zip(_ids(kept, id, by_id[id].nodes), kept.split(records), strict=True):
            if node in wanted:
                yield node, record


def everything(connection: sqlite3.Connection, kept: Kept) -> Iterator[tuple[array[int], list[Any]]]:
    """All rows, as nodes and their records, oldest first."""
    for id, part, nodes, sum, packed in connection.execute(f"SELECT * FROM {kept.table} ORDER BY id"):
        check(kept.table, id, sum, checksums.part_sum, (kept.table, id, part, nodes, packed))
        yield array("I", nodes), kept.split(packed)


def add(
    connection: sqlite3.Connection, kept: Kept, nodes: Sequence[int], records: Sequence[Any], most: int
) -> int:
    """Write records, given in the order of time; return by how much the total grows. `most`: see P1."""
    order = sorted(range(len(nodes)), key=nodes.__getitem__)
    nodes, records = ([column[at] for at in order] for column in (nodes, records))
    parts = sorted({node >> PART_BITS for node in nodes})
    select = f"SELECT part, count(*) FROM {kept.table} WHERE part"  # of the index alone
    counted = dict(select_in(connection, select, parts, tail=" GROUP BY part"))
    there = _rows(connection, kept, [part for part in parts if counted.get(part, 0) >= 2 * most])
    gone: list[Row] = []
    made: list[Written] = []
    start = grown = 0
    for part in parts:
        end = bisect_left(nodes, (part + 1) << PART_BITS, start)
        new = _written(kept, part, nodes[start:end], records[start:end])
        if part in there:
            superseded = _superseded(kept, there[part], nodes[start:end], most)
            left = [row for row in there[part] if row not in superseded]
            merged = _newest(left, sum(len(packed) for _, _, packed in new), len(left) - most)
            gone += superseded + merged
            if len(left) - len(merged) > CROWDED * most:
                grown -= _thin(connection, kept, left, nodes[start:end], most, len(merged))
            if merged:
                new = _merged(connection, kept, merged, nodes[start:end], records[start:end], most)
        made += new
        start = end
    return grown + _exchange(connection, kept, gone, made)


def remove(connection: sqlite3.Connection, kept: Kept, nodes: Collection[int]) -> int:
    """Take out all records of these nodes; return what they had added to the total."""
    unwanted = set(nodes)
    parts = sorted({node >> PART_BITS for node in unwanted})
    pieces = (parts[start : start + AT_ONCE] for start in range(0, len(parts), AT_ONCE))
    return sum(_remove(connection, kept, unwanted, piece) for piece in pieces)


def _remove(connection: sqlite3.Connection, kept: Kept, unwanted: set[int], parts: Sequence[int]) -> int:
    there = {row.id: row for several in _rows(connection, kept, parts).values() for row in several}
    concerned = {
        id: row for id, row in there.items() if not unwanted.isdisjoint(_ids(kept, row.id, row.nodes))
    }
    return _take_out(connection, kept, concerned, dict.fromkeys(concerned, unwanted))


def _thin(
    connection: sqlite3.Connection,
    kept: Kept,
    rows: Sequence[Row],
    nodes: Sequence[int],
    most: int,
    merged: int,
) -> int:
    """Take what is too old out of rows, but for the newest, which are merged; return what it had added."""
    newer = Counter(nodes)
    unwanted: dict[int, set[int]] = {}
    for row in reversed(rows):
        ids = _ids(kept, row.id, row.nodes)
        unwanted[row.id] = {node for node in ids if newer[node] >= most}
        newer.update(ids)
    concerned = {row.id: row for row in rows[: len(rows) - merged] if unwanted[row.id]}
    return _take_out(connection, kept, concerned, unwanted)


def _take_out(
    connection: sqlite3.Connection, kept: Kept, rows: dict[int, Row], unwanted: Mapping[int, set[int]]
) -> int:
    """Take nodes out of rows, other ones of each; return what they had added to the total."""
    taken = checksums.added([row.sum for row in rows.values()])
    for id, records in list(_opened(connection, kept, rows)):
        row = rows[id]
        pairs = zip(_ids(kept, row.id, row.nodes), kept.split(records), strict=True)
        left = [(node, one) for node, one in pairs if node not in unwanted[id]]
        if left:
            nodes_left = array("I", [node for node, _ in left]).tobytes()
            taken -= _rewrite(connection, kept, row, nodes_left, kept.join([one for _, one in left]))
        else:
            connection.execute(f"DELETE FROM {kept.table} WHERE id = ?", (id,))
    return taken


def audit(connection: sqlite3.Connection, kept: Kept) -> int:
    """The sum of all checksums; StoreDamaged where a row is not as it was written."""
    total = 0
    for id, part, nodes, sum, packed in connection.execute(f"SELECT * FROM {kept.table}"):
        check(kept.table, id, sum, checksums.part_sum, (kept.table, id, part, nodes, packed))
        total += checksums.added([sum])
    return total


# -- rows ----------------------------------------------------------------------------------------


def _rows_of(connection: sqlite3.Connection, kept: Kept, node: int) -> list[Row]:
    """The rows of the part of a node that have it, and a few others."""
    select = (
        f"SELECT id, part, nodes, length(packed), sum FROM {kept.table} WHERE part = ? AND instr(nodes, ?)"
    )
    found = connection.execute(select, (node >> PART_BITS, array("I", (node,)).tobytes()))
    return [Row(*row) for row in found]


def _rows(connection: sqlite3.Connection, kept: Kept, parts: Sequence[int]) -> dict[int, list[Row]]:
    """The rows of parts without their records, oldest first."""
    result: dict[int, list[Row]] = {}
    select = f"SELECT id, part, nodes, length(packed), sum FROM {kept.table} WHERE part"
    for row in sorted(select_in(connection, select, parts)):
        result.setdefault(row[1], []).append(Row(*row))
    return result


def _ids(kept: Kept, id: int, nodes: bytes) -> array[int]:
    """The nodes of a row, which is not compared with its checksum yet."""
    try:
        return array("I", nodes)
    except (TypeError, ValueError):
        raise StoreDamaged(table=kept.table, row=id) from None


def _opened(connection: sqlite3.Connection, kept: Kept, rows: dict[int, Row]) -> Iterator[tuple[int, bytes]]:
    """The records of rows, in the order of their ids."""
    select = f"SELECT id, packed FROM {kept.table} WHERE id"
    for id, packed in select_in(connection, select, sorted(rows), tail=" ORDER BY id"):
        row = rows[id]
        check(kept.table, id, row.sum, checksums.part_sum, (kept.table, id, row.part, row.nodes, packed))
        yield id, packed


def _rewrite(connection: sqlite3.Connection, kept: Kept, row: Row, nodes: bytes, packed: bytes) -> int:
    """Let a row hold other records; return what it adds to the total."""
    sum = checksums.part_sum(kept.table, row.id, row.part, nodes, packed)
    update = f"UPDATE {kept.table} SET nodes = ?, packed = ?, sum = ? WHERE id = ?"
    connection.execute(update, (nodes, packed, sum, row.id))
    return checksums.added([sum])


def _written(kept: Kept, part: int, nodes: Sequence[int], records: Sequence[Any]) -> list[Written]:
    """Records as rows: one, if it is not too large."""
    rows: list[Written] = []
    start, size = 0, 0
    if sum(map(len, records)) > LARGEST:
        for at, record in enumerate(records):
            size += len(record)
            if size > LARGEST and at > start:
                rows += _written(kept, part, nodes[start:at], records[start:at])
                start, size = at, len(record)
    rows.append((part, array("I", nodes[start:]).tobytes(), kept.join(records[start:])))
    return rows


def _superseded(kept: Kept, there: Sequence[Row], nodes: Sequence[int], most: int) -> list[Row]:
    """Rows of nodes that newer rows have often enough (P2); `nodes`: of the newest of all."""
    newer = Counter(nodes)
    found = []
    for row in reversed(there):
        ids = _ids(kept, row.id, row.nodes)
        if all(newer[node] >= most for node in ids):
            found.append(row)
        newer.update(ids)
    return found


def _newest(there: Sequence[Row], size: int, least: int) -> list[Row]:
    """The rows that are to be made one with the new one: at least so many, and more where none is far larger
    than all after it, so that a record is seldom written again."""
    found: list[Row] = []
    if least > 0:
        for row in reversed(there):
            if size + row.size > LARGEST or (len(found) >= least and row.size > 2 * size):
                break
            found.append(row)
            size += row.size
    return found


def _merged(
    connection: sqlite3.Connection,
    kept: Kept,
    rows: Sequence[Row],
    nodes: Sequence[int],
    records: Sequence[Any],
    most: int,
) -> list[Written]:
    all_nodes, all_records = array("I"), list[Any]()
    by_id = {row.id: row for row in rows}
    for id, packed in _opened(connection, kept, by_id):
        all_nodes.frombytes(by_id[id].nodes)
        all_records += kept.split(packed)
    all_nodes.extend(nodes)
    all_records += records
    order = sorted(range(len(all_nodes)), key=all_nodes.__getitem__)
    left = [at for _, several in groupby(order, all_nodes.__getitem__) for at in [*several][-most:]]
    return _written(kept, rows[0].part, [all_nodes[at] for at in left], [all_records[at] for at in left])


def _exchange(
    connection: sqlite3.Connection, kept: Kept, gone: Sequence[Row], made: Sequence[Written]
) -> int:
    """Delete rows, insert others, let the oldest go (P3); return by how much the total grows."""
    table = kept.table
    (last,) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
    complete = []
    for part, nodes, packed in made:
        last += ROW_BYTES + len(nodes) + len(packed)
        complete.append((last, part, nodes, checksums.part_sum(table, last, part, nodes, packed), packed))
    grown = checksums.added([row[3] for row in complete]) - checksums.added([row.sum for row in gone])
    connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(row.id,) for row in gone])
    bound = zip(*map(bindable, zip(*complete, strict=True)), strict=True)
    connection.executemany(f"INSERT INTO {table} VALUES (?,?,?,?,?)", bound)
    before = last - MOST_BYTES
    if before > 0:
        old = connection.execute(f"SELECT sum FROM {table} WHERE id <= ?", (before,)).fetchall()
        connection.execute(f"DELETE FROM {table} WHERE id <= ?", (before,))
        grown -= checksums.added([sum for (sum,) in old])
    return grown
