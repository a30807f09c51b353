"""Index: how a node is found by its key, and by what it read. A first build makes it once, at its end.

Keys come in no order, and popular nodes get readers in every commit: to keep both up to date through all
commits of a first build takes as long as to write its nodes. So they are put off, and made when the build
ends, or at the latest when the store is opened the next time.

Invariants
    X1  The key index and the readers are there, or neither: then there is no `node_key`, and no readers row.
    X2  Both follow from the rows of `node`: who reads while they are not there gets the same answers, slowly.
    X3  A store that is open for writing has them, but for the time of its own first build.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection
from itertools import islice

from engine.store import checksums, reading, repair, schema
from engine.store.layout import collection_rows
from engine.store.statements import insert_columns, take

AT_ONCE = 10_000  # rows: a MB or two

Given = Collection[tuple[int, bytes]]  # as in `Batch.readers`


def put_off(connection: sqlite3.Connection) -> int:
    """Take it away where it is; return by how much the total grows."""
    if not repair.is_indexed(connection):
        return 0
    connection.execute("DROP INDEX node_key")
    return -take(connection, "readers", "dependency > ?", 0)


def make(connection: sqlite3.Connection, given: Given | None = None) -> int:
    """Make it; return by how much the total grows.

    given   all readers, where the caller knows them; best in the order of their nodes
    """
    found = iter(given if given is not None else sorted(readers(connection).items()))
    grown = 0
    while some := list(islice(found, AT_ONCE)):
        rows = [row for row in some if row[1]]
        columns = list(zip(*rows, strict=True)) or [(), ()]
        grown += insert_columns(connection, "readers", columns, checksums.readers_sums)
    connection.execute(schema.NODE_KEY)
    return grown


def readers(connection: sqlite3.Connection) -> dict[int, bytes]:
    """The packed readers of all nodes, as they follow from the rows. Reads every node: about 3 us each."""
    silent = {row.id for row in collection_rows(connection)}  # nobody is listed as their reader
    found: dict[int, list[int]] = {}
    for collection, node in reading.members(connection):
        found.setdefault(node, []).append(collection)  # first of all: see engine.tables.collection C1
    rows = reading.checked(connection.execute(f"SELECT {reading.NODE_COLUMNS} FROM node ORDER BY id"))
    for node, above in repair.transposed((row.id, row.dependencies) for row in rows).items():
        if node not in silent:
            found.setdefault(node, []).extend(above)
    return {node: array("I", above).tobytes() for node, above in found.items()}
