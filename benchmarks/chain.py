"""A chain of 10,000 queries, each reading the one before: depth must cost time in proportion, and no stack.

"cut off": the value at level 1 is equal after the edit, so level 1 runs and nothing above it is walked.
"verified": two inputs change, both to be cut off, and `strict` forbids to try them first: every link is
marked and verified. "re-run": the value at level 1 differs, and so does every one above.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as count_up

from benchmarks.harness import Figure, Scale, counted, interleaved, stopwatch
from engine import Counts, Engine, input, query

LINKS = 10_000


@input
def left() -> int:
    return 0


@input
def right() -> int:
    return 0


@query
def low_left() -> int:
    return left() // 1000


@query
def low_right() -> int:
    return right() // 1000


@query
def link(number: int) -> int:
    if number == 0:
        return low_left() + low_right()
    return link(number - 1) + 1


class Chain:
    """A built chain and edits at its bottom."""

    def __init__(self, length: int, *, strict: bool = False) -> None:
        self.db = Engine(None, strict=strict)
        self.length = length
        self.small, self.large = count_up(1), count_up(1000, 1000)
        self.last = Counts(0, 0, 0, 0, 0, 0, 0, 0)
        watch = stopwatch()
        self.db.get(link, length)
        self.built = watch()

    def one_equal(self) -> float:
        return self._edit(next(self.small) % 1000, None)

    def two_equal(self) -> float:
        value = next(self.small) % 1000
        return self._edit(value, value)

    def different(self) -> float:
        return self._edit(next(self.large), None)

    def _edit(self, left_value: int, right_value: int | None) -> float:
        before = self.db.counts()
        watch = stopwatch()
        with self.db.batch():
            self.db.set(left.key(), left_value)
            if right_value is not None:
                self.db.set(right.key(), right_value)
        self.db.get(link, self.length)
        taken = watch()
        self.last = self.db.counts() - before
        return taken


def cold(length: int) -> float:
    chain = Chain(length)
    chain.db.close()
    return chain.built


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.size(LINKS)
    quiet, strict, noisy = Chain(size), Chain(size, strict=True), Chain(size)
    found = interleaved(
        {
            "cold": lambda: cold(size),
            "cut off": quiet.one_equal,
            "verified": strict.two_equal,
            "re-run": noisy.different,
        },
        scale.runs,
    )
    yield counted("executed, cut off at level 1", quiet.last.executed, goal=1)
    yield counted("visited, cut off at level 1", quiet.last.visited, note="a climb to the top, then one")
    yield counted("executed, verified", strict.last.executed, goal=2)
    yield counted("verified, verified", strict.last.verified)
    yield counted("executed, re-run", noisy.last.executed, goal=size + 2)
    yield found.figure("cold", "cold, a link", "us", per=size)
    yield found.figure("cut off", "cut off at level 1: set and get", "us")
    yield found.figure("verified", "marked and verified, a link", "us", per=size)
    yield found.figure("re-run", "re-run, a link", "us", per=size)
    for chain in (quiet, strict, noisy):
        chain.db.close()
