"""Statements: rows in and out of any table, many at a time, and what that does to the total.

Invariants
    T1  Each function returns the sum of the checksums that it has put in or taken out.
    T2  What is not there is not looked for one by one: ids above the highest one cost no statement.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from engine.store import checksums
from engine.store.reading import select_in


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
    sums = [compute(*row) for row in found]
    return insert_columns(connection, table, list(zip(*found, strict=True)), sums, verb)


def insert_columns(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[Sequence[Any]],
    sums: Sequence[bytes],
    verb: Literal["INSERT", "REPLACE"] = "INSERT",
) -> int:
    """Insert rows that are given by column; return what they add to the total.

    By column, because loops in C cost a third of one in Python.
    """
    if not sums:
        return 0
    marks = ",".join("?" * (len(columns) + 1))
    bound = zip(*bindable((*columns, sums)), strict=True)
    connection.executemany(f"{verb} INTO {table} VALUES ({marks})", bound)
    return checksums.added(sums)


def bindable(columns: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Columns of one type each, as they are bound quickly: the sqlite3 module looks for an adapter of every
    `bytes`, 0.3 us each, and of no `bytearray`. A column with NULL in it stays."""
    return [
        list(map(bytearray, one)) if type(one[0]) is bytes and None not in one else one for one in columns
    ]


def take(connection: sqlite3.Connection, table: str, where: str, *bound: Any) -> int:
    """Delete the rows of a condition; return what they had added to the total."""
    old = connection.execute(f"SELECT sum FROM {table} WHERE {where}", bound).fetchall()
    if old:
        connection.execute(f"DELETE FROM {table} WHERE {where}", bound)
    return checksums.added(sum for (sum,) in old)
