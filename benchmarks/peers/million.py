"""A million nodes, in memory and stored: built, opened again, and one of them changed.

As a program (`python -m benchmarks.peers.million KIND STORE COUNT`) it is the measured child.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import in_child, resident_bytes, scratch
from benchmarks.peers.scenarios import size_of
from engine import Engine, input, query

NODES = 1_000_000
GROUP = 1_000


@input(name="benchmarks:million.given")
def given(number: int) -> int:
    return 0


@query(name="benchmarks:million.leaf")
def leaf(number: int) -> int:
    return number + given(number // GROUP)


@query(name="benchmarks:million.branch")
def branch(number: int) -> int:
    return sum(leaf(number * GROUP + other) for other in range(GROUP)) % 1_000


@query(name="benchmarks:million.root")
def root(count: int) -> int:
    return sum(branch(number) for number in range(count // GROUP))


def measure(count: int = NODES) -> dict[str, dict[str, float]]:
    """What each step took, by kind: seconds, and bytes a node."""
    found: dict[str, dict[str, float]] = {}
    with scratch() as place:
        store = place / "store"
        found["in memory"] = in_child("peers.million", "memory", store, count)
        found["stored"] = in_child("peers.million", "stored", store, count)
        found["stored"]["size"] = size_of(store) / count
        found["opened again"] = in_child("peers.million", "stored", store, count)
    return found


def lines(found: dict[str, dict[str, float]], count: int) -> Iterator[str]:
    """The table."""
    changed = f"one of {count // GROUP:,} inputs changed"
    yield f"| {count:,} nodes | first answer | a node | {changed} | memory a node |"
    yield "|---|--:|--:|--:|--:|"
    for kind, one in found.items():
        yield (
            f"| {kind} | {one['answer']:.2f} s | {one['answer'] / count * 1e6:.1f} us "
            f"| {one['changed'] * 1e3:.1f} ms, {one['executed']:,.0f} ran | {one['memory'] / count:.0f} B |"
        )
    yield f"\nOn the disk {found['stored']['size']:.0f} B a node."


def child(kind: str, store: Path, count: int) -> dict[str, Any]:
    """Open, ask, change one input, ask again."""
    gc.collect()
    before = resident_bytes()
    began = time.perf_counter()
    with Engine(store if kind == "stored" else None) as db:
        db.get(root, count)
        answered = time.perf_counter() - began
        gc.collect()
        memory = resident_bytes() - before
        counts = db.counts()
        began = time.perf_counter()
        db.set(given.key(count // GROUP // 2), db.get(given, count // GROUP // 2) + 1)
        db.get(root, count)
        changed = time.perf_counter() - began
        executed = (db.counts() - counts).executed
    return {"answer": answered, "memory": memory, "changed": changed, "executed": executed}


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
