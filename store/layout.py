"""Layout: the SQL table of its own in which the rows of one collection lie.

Invariants
    L1  The text of the table and of its indexes follows from the collection's row alone, so that a file
        can be compared with it (schema S1).
    L2  No two collections share a name: a table's ends in the id, and an index's begins with the table's.
    L3  A column has no declared type, so a value comes back as what it was, also 1.0, -0.0 or b"".
    L4  The checksum of a row covers the collection, the row's id and every column, each with its type.
    L5  A row with a value that cannot be packed (UnicodeEncodeError: damaged text) has no checksum.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from attrs import frozen

from engine.errors import StoreDamaged
from engine.store import checksums, rows
from engine.store.checking import check

MAX_SLUG = 40  # characters of a collection's name that its table shows
_OURS = ("_id", "_member", "_source", "_sum")

_TABLE = """CREATE TABLE {} (
  _id INTEGER PRIMARY KEY,
  _member INTEGER NOT NULL,  -- node.id of the member whose row this is
  _source,                   -- what the member was made of, such as a path
{}  _sum BLOB NOT NULL         -- checksum of all columns
)"""

pack = msgspec.msgpack.Encoder().encode  # of plain values: one form for each, which tells 1 from 1.0


@frozen
class Layout:
    """The table of one collection: its SQL, and the checksums of its rows.

    A stored row is (_id, _member, _source, *columns, _sum); the parts of it are called as they stand there.
    """

    collection: int
    table: str
    columns: dict[str, str]  # as the collection calls it -> quoted, as SQL does
    indexed: tuple[str, ...]  # names of columns
    statement: str  # that makes the table
    indexes: tuple[str, ...]  # statements that make them: see row_index
    select: str  # all columns of all rows
    insert: str  # without the values
    head: bytes  # of what is hashed

    def sums(self, found: Iterable[tuple[Any, ...]]) -> list[bytes]:
        """Checksums of rows without theirs."""
        return checksums.digests(map(self.head.__add__, map(pack, found)))

    def checked(self, found: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """The rows of `select`, when each is as it was written."""
        try:
            agree = self.sums([row[:-1] for row in found]) == [row[-1] for row in found]
        except (TypeError, OverflowError, UnicodeEncodeError):
            agree = False
        if not agree:  # which one? again, one by one
            for row in found:
                check(self.table, row[0], row[-1], lambda *columns: self.sums([columns])[0], row[:-1])
        return found


def layout_of(row: rows.CollectionRow) -> Layout | None:
    """The table of a collection, None if it has none. ValueError: a shape that says nothing sensible."""
    return _layout(*row[:4])


@lru_cache(maxsize=256)
def _layout(id: int, name: str, kind: str, described: str) -> Layout | None:
    if kind not in ("table", "fold"):
        raise ValueError(f"a collection is a table or a fold, not {kind!r}")
    shape = json.loads(described)
    if not isinstance(shape, dict):
        raise ValueError("a shape is a JSON object")
    names, indexed = (_names(shape.get(part, [])) for part in ("columns", "index"))
    if kind == "fold" or not names:
        return None
    if missing := [one for one in indexed if one not in names]:
        raise ValueError(f"an index on {missing[0]!r}, which is no column")
    table = f"rows_{_slug(name)}_{id}"
    columns = _quoted(names)
    by_column = [f'CREATE INDEX "{table} by {columns[one][1:]} ON {table}({columns[one]})' for one in indexed]
    listed = ", ".join(("_id", "_member", "_source", *columns.values(), "_sum"))
    return Layout(
        collection=id,
        table=table,
        columns=columns,
        indexed=indexed,
        statement=_TABLE.format(table, "".join(f"  {column},\n" for column in columns.values())),
        indexes=(f'CREATE INDEX "{table} by _member" ON {table}(_member)', *by_column),
        select=f"SELECT {listed} FROM {table}",
        insert=f"INSERT INTO {table}",
        head=pack(("rows", id)),
    )


def layouts(connection: sqlite3.Connection) -> list[Layout]:
    """The tables of all collections."""
    return [made for row in collection_rows(connection) if (made := _layout_of_stored(row)) is not None]


def find_layout(connection: sqlite3.Connection, collection: int) -> Layout | None:
    """The table of this collection. None: it has none, or there is no such collection."""
    for row in collection_rows(connection, collection):
        return _layout_of_stored(row)
    return None


def collection_rows(connection: sqlite3.Connection, id: int | None = None) -> list[rows.CollectionRow]:
    """All collections in the order of their ids, or the one with this id. No index is believed."""
    select = "SELECT id, name, kind, shape, patterns, sum FROM collection NOT INDEXED"
    if id is None:
        found = connection.execute(f"{select} ORDER BY id").fetchall()
    else:
        found = connection.execute(f"{select} WHERE id = ?", (id,)).fetchall()
    for row in found:
        check("collection", row[0], row[5], checksums.collection_sum, row[:5])
    return [rows.CollectionRow(*row[:5]) for row in found]


def _layout_of_stored(row: rows.CollectionRow) -> Layout | None:
    try:
        return layout_of(row)
    except ValueError as error:  # the checksum is right, so somebody has made it
        raise StoreDamaged(table="collection", row=row.id, found=error) from error


def _names(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("the columns of a shape are a list of names")
    if len(set(found)) != len(found):
        raise ValueError("a name of a column stands in a shape twice")
    return tuple(found)


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9_]+", "_", name.rpartition(":")[2].lower())[:MAX_SLUG]


def _quoted(names: Iterable[str]) -> dict[str, str]:
    """SQL takes `Name` and `name` for one, and some names are ours: those get a number."""
    taken = set[str](_OURS)
    result = {}
    for name in names:
        unique, number = name, 2
        while unique.lower() in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.lower())
        escaped = unique.replace('"', '""')
        result[name] = f'"{escaped}"'
    return result
