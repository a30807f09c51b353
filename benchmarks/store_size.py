"""What a node and an edge cost in the file: whole file after a checkpoint, less an empty store.

Two stores of as many nodes and different numbers of edges give the two costs. Keys are one int, values one
int; every edge is stored twice, with the node that reads and with the node that is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Figure, Scale, scratch
from engine import Engine, query

NODES = 100_000
FAN = 8
POOL = 997  # leaves that the readers share


@query
def leaf(number: int) -> int:
    return number


@query
def node(number: int, fan: int) -> int:
    return sum(leaf((number * 31 + other) % POOL) for other in range(fan))


@query
def root(count: int, fan: int) -> int:
    return sum(node(number, fan) for number in range(count))


def file_bytes(count: int, fan: int) -> tuple[int, int]:
    """Size of the store's file after a checkpoint, and once more after compaction."""
    with scratch() as directory, Engine(directory / "store") as db:
        if count:
            db.get(root, count, fan)
        store = db.store
        assert store is not None
        assert store.checkpoint()
        written = store.path.stat().st_size
        store.compact()
        return written, store.path.stat().st_size


def measure(scale: Scale) -> Iterator[Figure]:
    count = scale.size(NODES)
    empty, _ = file_bytes(0, 0)
    few = [size - empty for size in file_bytes(count, 0)]
    many = [size - empty for size in file_bytes(count, FAN)]
    half = [size - empty for size in file_bytes(count // 2, FAN)]
    for index, name in enumerate(("as written", "compacted")):
        edge = (many[index] - few[index]) / (count * FAN)
        # every node has one edge to the root
        node_bytes = few[index] / count - edge
        predicted = (count // 2 + POOL) * node_bytes + count // 2 * (FAN + 1) * edge
        goals = {"node": 200, "edge": 16} if index == 0 else {}
        off = f"predicts {predicted / half[index]:.2f} of a store half the size"
        yield Figure(name=f"a node, {name}", value=node_bytes, unit="B", goal=goals.get("node"), note=off)
        yield Figure(name=f"an edge, {name}", value=edge, unit="B", goal=goals.get("edge"))
    yield Figure(name="an empty store", value=empty, unit="B")
