"""Opening a store of 300,000 nodes in a new process, until the first value of a clean root.

As a program (`python -m benchmarks.opening build|open|sqlite STORE COUNT`) it is the measured child.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, Scale, in_child, interleaved, resident_bytes, scratch
from engine import Engine, query

NODES = 300_000
GROUP = 1000


@query(name="benchmarks:opening.leaf")
def leaf(number: int) -> int:
    return number + 1


@query(name="benchmarks:opening.branch")
def branch(number: int) -> int:
    return sum(leaf(number * GROUP + other) for other in range(GROUP))


@query(name="benchmarks:opening.root")
def root(count: int) -> int:
    return sum(branch(number) for number in range(count // GROUP))


def measure(scale: Scale) -> Iterator[Figure]:
    count = scale.size(NODES)
    with scratch() as directory:
        store = directory / "store"
        in_child("opening", "build", store, count)
        memory: list[float] = []

        def opened() -> float:
            found = in_child("opening", "open", store, count)
            assert found["executed"] == 0, "the root was not clean"
            memory.append(found["memory"])
            return float(found["seconds"])

        found = interleaved(
            {
                "SQLite alone": lambda: float(in_child("opening", "sqlite", store, count)["seconds"]),
                "open": opened,
            },
            scale.runs,
        )
    name = f"open and get a clean root, {count:,} nodes"
    yield found.figure("open", name, "s", limit="SQLite alone", goal=0.3)
    yield found.figure("SQLite alone", "limit: connect to that file, read one row", "s")
    grown = sorted(memory)[len(memory) // 2]
    yield Figure(name="memory that this takes, a node", value=grown / count, unit="B")


def child(what: str, store: Path, count: int) -> dict[str, float]:
    before = resident_bytes()
    started = time.perf_counter()
    if what == "sqlite":
        connection = sqlite3.connect(store / "store.db")
        connection.execute("SELECT * FROM node WHERE id = 1").fetchall()
        return {"seconds": time.perf_counter() - started}
    with Engine(store) as db:
        db.get(root, count)
        taken = time.perf_counter() - started
        grown = resident_bytes() - before
        return {"seconds": taken, "memory": grown, "executed": db.counts().executed}


if __name__ == "__main__":
    import json

    print(json.dumps(child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
