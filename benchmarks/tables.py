"""A table and folds of 100,000 members: one changes, one comes, in one process and after a restart.

Members are trivial, and their rows found by a column of their own: what is left is the engine. The limit is
the loop over all members that an aggregate without a table would be: here the bare sum of 100,000 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count as count_up
from pathlib import Path

from attrs import frozen

from benchmarks.harness import Figure, Scale, counted, interleaved, scratch, stopwatch
from engine import Engine, Max, Sum, fold, input, query, table

MEMBERS = 100_000
IN_GROUP = 100  # members that one listing gives, as a directory does
ROWS = 10  # of a member
EDITS = 20  # in a run


@input
def groups() -> tuple[int, ...]:
    return ()


@input
def listing(group: int) -> tuple[int, ...]:
    return tuple(range(group * IN_GROUP, (group + 1) * IN_GROUP))


@input
def size(member: int) -> int:
    return member


@frozen
class Member:
    number: int


@frozen
class Part:
    name: str
    member: int


@table(each=groups, index=("number",))
def members(group: int) -> Iterable[Member]:
    return map(Member, listing(group))


@query
def length(member: int) -> int:
    return size(member)


@table(each=members.column("number"), index=("name",))
def parts(member: int) -> Iterable[Part]:
    return [Part(f"{length(member)}/{number}", member) for number in range(ROWS)]


total = fold(each=members.column("number"), of=length, into=Sum())
longest = fold(each=members.column("number"), of=length, into=Max(default=0))


@query
def found() -> tuple[int, int]:
    """Who looks for two names, one of which is there."""
    return parts.count(name="7/3"), parts.count(name="nowhere")


class World:
    """An engine with everything computed, and edits of it."""

    def __init__(self, path: Path | None, members: int) -> None:
        self.path = path
        self.db = Engine(path)
        self.db.set(groups.key(), tuple(range(members // IN_GROUP)))
        self.sizes = count_up(members * 2)
        self.executed = 0

    def ask(self) -> None:
        self.db.get(found)
        self.db.get(total)
        self.db.get(longest)

    def change(self, ask: Callable[[], object]) -> float:
        """Seconds from a changed member to the answer, on average over some edits."""
        watch = stopwatch()
        for _ in range(EDITS):
            before = self.db.counts()
            self.db.set(size.key(11), next(self.sizes))
            ask()
            self.executed = (self.db.counts() - before).executed
        return watch() / EDITS

    def add(self) -> float:
        """One member more, in a table of members."""
        known = self.db.get(listing, 0)
        watch = stopwatch()
        self.db.set(listing.key(0), (*known, -next(self.sizes)))
        self.ask()
        return watch()

    def restarted(self) -> float:
        """The first request of a new engine after an edit."""
        self.db.close()
        self.db = Engine(self.path)
        watch = stopwatch()
        self.db.set(size.key(11), next(self.sizes))
        self.ask()
        return watch()


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.size(MEMBERS)
    with scratch() as directory:
        worlds = {"memory": World(None, size), "stored": World(directory / "1", size)}
        again = World(directory / "2", size)
        cold: dict[str, float] = {}
        for name, world in (*worlds.items(), ("again", again)):
            watch = stopwatch()
            world.ask()
            cold[name] = watch()
        numbers = list(range(size))
        cases: dict[str, Callable[[], float]] = {"sum": lambda: _bare(numbers)}
        for name, world in worlds.items():
            cases[f"lookup {name}"] = partial(world.change, partial(world.db.get, found))
            cases[f"sum {name}"] = partial(world.change, partial(world.db.get, total))
            cases[f"max {name}"] = partial(world.change, partial(world.db.get, longest))
            cases[f"add {name}"] = world.add
        cases["restarted"] = again.restarted
        timings = interleaved(cases, scale.runs)
        executed = {name: world.executed for name, world in worlds.items()}
        for world in (*worlds.values(), again):
            world.db.close()
    yield counted("executed, one member changes, fold", executed["memory"], goal=2)
    for name in worlds:
        made = size * (2 + ROWS)
        yield Figure(
            name=f"cold, a member with {ROWS} rows and two folds, {name}",
            value=cold[name] / size * 1e6,
            unit="us",
        )
        yield Figure(name=f"the same, a node or row, {name}", value=cold[name] / made * 1e6, unit="us")
        shown = "the bare sum of all members"
        yield timings.figure(
            f"lookup {name}",
            f"a member changes, lookups of others hold, {name}",
            "us",
            limit="sum",
            shown=shown,
        )
        yield timings.figure(f"sum {name}", f"a member changes, Sum, {name}", "us", limit="sum", shown=shown)
        yield timings.figure(f"max {name}", f"a member changes, Max, {name}", "us", limit="sum", shown=shown)
        yield timings.figure(
            f"add {name}", f"a member comes, everything, {name}", "us", limit="sum", shown=shown
        )
    yield timings.figure("restarted", "a member changed, everything, after a restart", "ms")


def _bare(numbers: list[int]) -> float:
    watch = stopwatch()
    for _ in range(EDITS):
        sum(map(int, numbers))
    return watch() / EDITS
