"""Statements: rows in and out of any table, many at a time, and what that does to the total.

Invariants
    T1  Each function returns the sum of the checksums that it has put in or taken out.
    T2  What is not there is not looked for one by one: ids above the highest one cost no statement.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, Literal

from engine.store import checksums
from engine.store.reading import select_in

_PIECE: Final = 500  # rows: some 200 KB of what is bound
_AT_ONCE: Final = 20  # rows; with 14 columns each, less than the 999 values that an older SQLite takes


def existing(
    connection: sqlite3.Connection, table: str, column: str, ids: Sequence[int]
) -> Iterable[tuple[int, bytes]]:
    """Id and checksum of those of the sorted `ids` that have a row."""
    (highest,) = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
    known = ids[: bisect_right(ids, highest)] if highest is not None else ()
    return select_in(connection, f"SELECT {column}, sum FROM {table} WHERE {column}", known)


def delete(connection: sqlite3.Connection, table: str, column: str, ids: Collection[int]) -> int:
    """Delete rows; return what they had added to the total."""
    old = list(existing(connection, table, column, sorted(ids)))
    connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(id,) for id, _ in old])
    return checksums.added(sum for _, sum in old)


def insert(
    connection: sqlite3.Connection,
    table: str,
    found: Sequence[tuple[Any, ...]],
    compute: Callable[..., bytes],
    verb: Literal["INSERT", "REPLACE"] = "INSERT",
) -> int:
    """Insert rows with their checksums; return what they add to the total."""
    if not found:
        return 0
    columns = list(zip(*found, strict=True))
    return insert_columns(connection, table, columns, lambda *some: list(map(compute, *some)), verb)


def insert_columns(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[Sequence[Any]],
    compute: Callable[..., list[bytes]],
    verb: Literal["INSERT", "REPLACE"] = "INSERT",
) -> int:
    """Insert rows that are given by column; return what they add to the total.

    By column, because loops in C cost a third of one in Python.
    """
    grown = 0
    for some in pieces(columns):
        sums = compute(*some)
        put(connection, f"{verb} INTO {table}", zip(*map(bindable, (*some, sums)), strict=True))
        grown += checksums.added(sums)
    return grown


def put(connection: sqlite3.Connection, into: str, found: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows, many in a statement: those of a narrow table take half the time."""
    rows = iter(found)
    count, statement = 0, ""
    while some := list(islice(rows, _AT_ONCE)):
        if len(some) != count:
            count = len(some)
            marks = f"({','.join('?' * len(some[0]))})"
            statement = f"{into} VALUES {','.join([marks] * count)}"
        connection.execute(statement, list(chain.from_iterable(some)))


def pieces(columns: Sequence[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """The same rows, a few at a time: what is hashed is in the processor's cache still when it is bound."""
    for at in range(0, len(columns[0]), _PIECE):
        yield [column[at : at + _PIECE] for column in columns]


def bindable(column: Sequence[Any]) -> Iterable[Any]:
    """A column of one type as it is bound quickly: the sqlite3 module looks for an adapter of every `bytes`,
    0.3 us each, and of no `bytearray`. A column with NULL in it stays.

    They are made one by one while rows are bound, so that they take no memory.
    """
    return map(bytearray, column) if type(column[0]) is bytes and None not in column else column


def take(connection: sqlite3.Connection, table: str, where: str, *bound: Any) -> int:
    """Delete the rows of a condition; return what they had added to the total."""
    old = connection.execute(f"SELECT sum FROM {table} WHERE {where}", bound).fetchall()
    if old:
        connection.execute(f"DELETE FROM {table} WHERE {where}", bound)
    return checksums.added(sum for (sum,) in old)
