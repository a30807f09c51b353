"""What executing a trivial query costs: 100,000 of them under one root, cold, in memory and stored.

The cost of the function itself (a bare loop over it) is subtracted. The limits are a `functools.cache` that
fills, and SQLite writing 100,000 rows of 60 bytes in one transaction.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Figure, Scale, interleaved, scratch, stopwatch
from engine import Engine, each, query

NODES = 100_000


def plain(number: int) -> int:
    return number + 1


@query
def successor(number: int) -> int:
    return number + 1


@query
def in_turn(count: int) -> int:
    return sum(map(successor, range(count)))


@query
def together(count: int) -> int:
    return sum(each(successor, range(count)))


def measure(scale: Scale) -> Iterator[Figure]:
    count = scale.size(NODES)
    found = interleaved(
        {
            "bare": lambda: bare(plain, count),
            "functools.cache filling": lambda: bare(functools.cache(plain), count),
            "sqlite rows": lambda: rows(count),
            "memory": lambda: in_memory(in_turn, count),
            "memory each": lambda: in_memory(together, count),
            "stored": lambda: stored(in_turn, count),
            "stored each": lambda: stored(together, count),
            "whole": lambda: stored(in_turn, count, whole=True),
        },
        scale.runs,
    )
    memory: dict[str, Any] = {"per": count, "less": "bare", "limit": "functools.cache filling"}
    on_disk: dict[str, Any] = {"per": count, "less": "bare", "limit": "sqlite rows"}
    yield found.figure("memory", "in memory, called one after another", "us", **memory)
    yield found.figure("memory each", "in memory, by each()", "us", **memory)
    yield found.figure("stored", "stored, called one after another", "us", goal=25, note="aim 12", **on_disk)
    yield found.figure("stored each", "stored, by each()", "us", goal=25, note="aim 12", **on_disk)
    yield found.figure("whole", "stored, with opening, merging the log and closing", "us", **on_disk)
    yield found.figure("bare", "the function itself, subtracted above", "us", per=count)
    yield found.figure("sqlite rows", "limit: SQLite, one row of 60 bytes", "us", per=count)


def bare(function: Any, count: int) -> float:
    watch = stopwatch()
    sum(map(function, range(count)))
    return watch()


def rows(count: int) -> float:
    with scratch() as directory:
        connection = sqlite3.connect(directory / "rows.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE node (id INTEGER PRIMARY KEY, data BLOB)")
        batch = [(number, bytearray(60)) for number in range(count)]
        watch = stopwatch()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO node VALUES (?, ?)", batch)
        connection.execute("COMMIT")
        taken = watch()
        connection.close()
    return taken


def in_memory(root: Any, count: int) -> float:
    with Engine(None) as db:
        watch = stopwatch()
        db.get(root, count)
        return watch()


def stored(root: Any, count: int, *, whole: bool = False) -> float:
    """Until everything is committed (the end of `get`); `whole`: from opening to the end of closing."""
    with scratch() as directory:
        opening = stopwatch()
        with Engine(directory / "store") as db:
            getting = stopwatch()
            db.get(root, count)
            committed = getting()
        return opening() if whole else committed
