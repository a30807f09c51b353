"""A clean graph of 100,000 nodes after a change that does not concern it: nothing of it may be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path

from benchmarks.harness import Figure, Scale, counted, interleaved, scratch, stopwatch
from engine import Counts, Engine, input, query

NODES = 100_000
EDITS = 20  # in a run: one alone measures a cold cache of the processor


@input
def source() -> int:
    return 1


@input
def elsewhere() -> int:
    return 1


@input
def unread() -> int:
    return 1


@query
def leaf(number: int) -> int:
    return source() + number


@query
def root(count: int) -> int:
    return sum(map(leaf, range(count)))


@query
def other_root() -> int:
    return elsewhere() + 1


class Graph:
    """The built graph, and how to disturb it somewhere else."""

    def __init__(self, path: Path | None, count: int) -> None:
        self.db = Engine(path)
        self.count = count
        self.numbers = count_up(2)
        self.difference: dict[str, Counts] = {}
        self.db.get(root, count)
        self.db.get(other_root)
        for key in (source, elsewhere, unread):
            self.db.set(key.key(), 0)
        self.db.get(root, count)
        self.db.get(other_root)

    def disturbed(self, name: str) -> float:
        """Seconds from the setting of an input to the answer of the root, on average over some times."""
        return sum(self._disturbed(name) for _ in range(EDITS)) / EDITS

    def _disturbed(self, name: str) -> float:
        key = {"unread": unread, "elsewhere": elsewhere}[name].key()
        value = next(self.numbers)
        before = self.db.counts()
        watch = stopwatch()
        self.db.set(key, value)
        self.db.get(root, self.count)
        taken = watch()
        self.difference[name] = self.db.counts() - before
        self.db.get(other_root)
        return taken


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.size(NODES)
    with scratch() as directory:
        memory, stored = Graph(None, size), Graph(directory / "store", size)
        with memory.db, stored.db:
            found = interleaved(
                {
                    "unread": lambda: memory.disturbed("unread"),
                    "elsewhere": lambda: memory.disturbed("elsewhere"),
                    "stored": lambda: stored.disturbed("elsewhere"),
                },
                scale.runs,
            )
    unrelated, elsewhere_read = memory.difference["unread"], memory.difference["elsewhere"]
    yield counted("visited, an input that nobody reads", unrelated.visited, goal=0)
    yield counted("visited, an input of another root", elsewhere_read.visited, note="that root and its path")
    yield counted("executed, both", unrelated.executed + elsewhere_read.executed, goal=0)
    yield found.figure("unread", "set and get, an input that nobody reads", "us")
    yield found.figure("elsewhere", "set and get, an input of another root", "us")
    yield found.figure("stored", "set and get, an input of another root, stored", "us")
