"""Memory of a built graph: what the process grew by, per node, 300,000 nodes with int keys and values.

As a program (`python -m benchmarks.memory memory|stored COUNT`) it is the child of the measurement.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.harness import Figure, Scale, in_child, interleaved, resident_bytes, scratch
from benchmarks.opening import root
from engine import Engine

NODES = 300_000


def measure(scale: Scale) -> Iterator[Figure]:
    count = scale.size(NODES)
    kinds = {"memory": "engine in memory", "stored": "engine with a store", "cache": "limit: a dict of ints"}

    def bytes_of(kind: str) -> float:
        return float(in_child("memory", kind, count)["bytes"])

    found = interleaved({kind: partial(bytes_of, kind) for kind in kinds}, min(scale.runs, 3))
    for kind, name in kinds.items():
        yield found.figure(kind, f"{name}, a node", "B", per=count, limit="" if kind == "cache" else "cache")


def child(kind: str, count: int) -> int:
    """Bytes that the process grew by; the engine is still open."""
    gc.collect()
    before = resident_bytes()
    if kind == "cache":
        cache = {number: number + 1 for number in range(count)}
        return resident_bytes() - before + 0 * len(cache)
    with scratch() as directory, Engine(directory / "store" if kind == "stored" else None) as db:
        db.get(root, count)
        gc.collect()
        return resident_bytes() - before


if __name__ == "__main__":
    print(json.dumps({"bytes": child(sys.argv[1], int(sys.argv[2]))}))
