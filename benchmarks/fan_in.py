"""One change under a fan-in of 100,000: an input, a firewall query, 100,000 readers, one root.

A comment edit leaves the firewall's value equal, so one query runs; a signature edit changes it, and all run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path

from benchmarks.harness import Figure, Scale, counted, interleaved, scratch, stopwatch
from engine import Counts, Engine, input, query

READERS = 100_000
EDITS = 20  # in a run: one alone measures a cold cache of the processor


@input
def text() -> str:
    return "def f(): pass"


@query
def signature() -> str:
    """The firewall: what of the text the readers care for."""
    return text().partition("#")[0].strip()


@query
def reader(number: int) -> int:
    return len(signature()) + number


@query
def root(count: int) -> int:
    return sum(map(reader, range(count)))


class Graph:
    """The built graph, and two kinds of edits."""

    def __init__(self, path: Path | None, count: int) -> None:
        self.path = path
        self.count = count
        self.numbers = count_up(2)
        self.signature = "def f(): pass"
        self.difference: dict[str, Counts] = {}
        self.db = Engine(path)
        self.db.get(root, count)

    def comment(self) -> float:
        """One comment edit, on average over some."""
        return sum(self._edit("comment") for _ in range(EDITS)) / EDITS

    def change(self) -> float:
        self.signature += "x"
        return self._edit("signature")

    def restarted(self, edit: str) -> float:
        """The first request of a new engine on the store; it has nothing in memory."""
        self.db.close()
        self.db = Engine(self.path)
        self.signature += "x" if edit == "signature" else ""
        return self._edit(f"{edit}, restarted")

    def _edit(self, name: str) -> float:
        """Seconds from the setting of the text to the answer of the root."""
        value = f"{self.signature}  # {next(self.numbers)}"
        before = self.db.counts()
        watch = stopwatch()
        self.db.set(text.key(), value)
        self.db.get(root, self.count)
        taken = watch()
        self.difference[name] = self.db.counts() - before
        return taken


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.size(READERS)
    with scratch() as directory:
        memory, stored, again = Graph(None, size), Graph(directory / "1", size), Graph(directory / "2", size)
        found = interleaved(
            {
                "comment": memory.comment,
                "signature": memory.change,
                "comment stored": stored.comment,
                "signature stored": stored.change,
                "comment restarted": lambda: again.restarted("comment"),
                "signature restarted": lambda: again.restarted("signature"),
            },
            scale.runs,
        )
        for graph in (memory, stored, again):
            graph.db.close()
    for name, counts in (
        ("comment", memory.difference["comment"]),
        ("comment, after a restart", again.difference["comment, restarted"]),
    ):
        yield counted(f"executed, {name}", counts.executed, goal=1)
        yield counted(f"visited, {name}", counts.visited, goal=5)
    yield counted("executed, signature", memory.difference["signature"].executed, goal=size + 2)
    yield found.figure("comment", "comment edit: set and get", "us")
    yield found.figure("comment stored", "comment edit: set and get, stored", "us")
    yield found.figure("comment restarted", "comment edit: set and get, after a restart", "ms")
    yield found.figure("signature", "signature edit, a node", "us", per=size)
    yield found.figure("signature stored", "signature edit, a node, stored", "us", per=size)
    yield found.figure("signature restarted", "signature edit, a node, after a restart", "us", per=size)
