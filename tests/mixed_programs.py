"""Mixed programs: random modules in which all that can be defined reads all of it, in threads and processes.

Queries with every choice of `workers=`, limits, timeouts, `batch=` and `persist=`, groups, caught errors,
tables, tables of tables, folds; in some of them queries that need themselves.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

CELLS, FILES, ARGUMENTS = 4, 2, 3
Inputs = tuple[dict[int, int], dict[int, tuple[int, ...]], dict[int, int | None]]  # cells, lists, files

HEAD = """
from __future__ import annotations
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
import engine.code.fingerprint
from engine import Count, CycleError, Durability, Max, Merge, Min, Set, Sum, each, fold, input, query, table
from engine.rules.files import FileError, read_text

HOST, DEADLY = {host}, Path({deadly!r})
if os.getpid() != HOST:
    engine.code.fingerprint.STARTED_NS = 1 << 62  # this file is older than the process

@input(durability=Durability({durability}))
def cell(n: int) -> int:
    return n

@input
def listed(n: int) -> tuple[int, ...]:
    return (0, 1, 2)[: n + 1]

def may_die() -> None:
    if os.getpid() != HOST and DEADLY.exists():  # behind the engine: a death is no value
        DEADLY.unlink()
        os._exit(9)

@query(persist={persist})
def content(n: int) -> int:
    may_die()
    try:
        return int(read_text(f"file{{n}}"))
    except FileError:
        raise ValueError("missing", n) from None

@query(batch={batch}, workers={batched!r}{options})
def tripled(numbers: list[int]) -> list[int]:
    may_die()
    for number in numbers:
        if number % 7 == 5:
            raise ValueError("batch", number)
    return [3 * number % 97 for number in numbers]

def rescue(this: Any, that: Any) -> int:
    try:
        return int(this())
    except (ValueError, CycleError):
        return int(that())

def fail(n: int) -> int:
    if n % 5 == 4:
        raise ValueError(n)
    return n

def number(value: Any) -> int:
    return sum(value) if isinstance(value, (tuple, frozenset, set)) else int(value)

def joined(one: int, other: int) -> int:
    return (one * 10 + other) % 97

class Row(NamedTuple):
    a: int
    b: str

@query
def base() -> tuple[int, ...]:
    return listed(0)
"""
TAIL = """
@query
def everything() -> tuple[Any, ...]:
    return each([{keys}])

@query
def collections() -> tuple[int, ...]:
    return ({values})
"""
PLACES = ["process", "process", "process", "thread", "thread", "inline", "auto"]
INTO = ["Sum()", "Count()", "Min(default=0)", "Max(default=9)", "Set()", "Merge(joined, 0)"]


class Program:
    """A random module. `kinds` and `definitions` are by number: "query", "keys", "table" or "fold"."""

    def __init__(self, chance: random.Random, deadly: Path, *, cyclic: bool, plain: bool) -> None:
        """`cyclic`: queries may need themselves; `plain`: every value is stored."""
        self.chance, self.cyclic, self.plain = chance, cyclic, plain
        others = chance.choices(["query", "keys", "table", "fold"], [4, 1, 2, 1], k=chance.randint(2, 7))
        self.kinds = ["query", *others, "table", "fold"]
        self.definitions = [self._definition(at) for at in range(len(self.kinds))]
        self.head = HEAD.format(
            host=os.getpid(),
            deadly=str(deadly),
            durability=max(0, chance.randint(0, 3) - 1),
            persist=plain or chance.random() < 0.8,
            batch=chance.choice([True, 1, 2, 5]),
            batched=chance.choice(PLACES),
            options=chance.choice(["", "", ", limit='few'", ", timeout=60.0"]),
        )

    def edit(self) -> None:
        """Define something otherwise."""
        at = self.chance.randrange(len(self.kinds))
        self.definitions[at] = self._definition(at)

    def text(self) -> str:
        """The module."""
        queries = self._of_kind("query", len(self.kinds))
        values = [
            f"rescue(lambda: d{at}.count(), lambda: -1)"
            if kind == "table"
            else f"rescue(lambda: number(d{at}()), lambda: -1)"
            for at, kind in enumerate(self.kinds)
            if kind in ("table", "fold")
        ]
        keys = ", ".join(f"d{at}.key({n})" for at in queries for n in range(ARGUMENTS))
        tail = TAIL.format(keys=keys, values=", ".join([*values, ""]))
        return "\n".join([self.head, *self.definitions, tail])

    def _of_kind(self, kind: str, end: int) -> list[int]:
        return [at for at in range(end) if self.kinds[at] == kind]

    def _definition(self, at: int) -> str:
        chance = self.chance
        more = chance.choice(["", "", ", limit='few'", ", timeout=60.0"])
        workers = f"workers={chance.choice(PLACES)!r}{more}"
        if self.kinds[at] == "query":
            persist = "" if self.plain or chance.random() < 0.8 else ", persist=False"
            return f"""
@query({workers}{persist})
def d{at}(n: int) -> int:
    return ({self._expression(at, 3)}) % 97
"""
        if self.kinds[at] == "keys":
            return f"""
@query
def d{at}() -> tuple[int, ...]:
    n = 1
    return (*listed({chance.randint(0, 1)}), ({self._expression(at, 2)}) % 5)
"""
        each = self._each(at)
        if self.kinds[at] == "fold":
            of = chance.choice(self._of_kind("query", at))
            return (
                f"d{at} = fold(each={each}, of=d{of}, into={chance.choice(INTO)}, name=f'{{__name__}}:d{at}')"
            )
        rows = "".join(
            f"    if ({self._expression(at, 1)}) > 0:\n"
            f"        yield Row(({self._expression(at, 2)}) % 3, str(({self._expression(at, 2)}) % 3))\n"
            for _ in range(chance.randint(1, 2))
        )
        identity = chance.choice(["", ", identity=('b',)"])
        return f"""
@table(each={each}, index=('a', 'b'){identity}, {workers})
def d{at}(n: int) -> Iterable[Row]:
{rows}"""

    def _each(self, at: int) -> str:
        tables, keys = self._of_kind("table", at), self._of_kind("keys", at)
        if tables and self.chance.random() < 0.35:
            return f"d{self.chance.choice(tables)}.column('a')"
        return f"d{self.chance.choice(keys)}" if keys else "base"

    def _reach(self, at: int) -> list[int]:
        """What a definition may read. Rings are among queries only: no table and no fold is on one."""
        end = at
        while self.cyclic and end < len(self.kinds) and self.kinds[end] == "query":
            end += 1
        return list(range(end))

    def _expression(self, at: int, depth: int) -> str:
        chance = self.chance

        def part() -> str:
            return self._expression(at, depth - 1)

        kind, reach = chance.randint(0, 15), self._reach(at)
        if depth == 0 or kind < 3 or (kind < 10 and not reach):
            cell, file = chance.randrange(CELLS), chance.randrange(FILES)
            return chance.choice(
                [str(chance.randint(0, 4)), "n", f"cell({cell})", f"cell({cell})", f"content({file})"]
            )
        if kind < 10:
            return self._read(at, chance.choice(reach), part())
        made = [
            f"({part()} + {part()}) % 97",
            f"({part()} + {part()}) % 97",
            f"({part()} if ({part()}) % 2 else {part()})",
            f"fail({part()})",
            f"sum(each(tripled, [{part()}, {part()}]))",
            f"rescue(lambda: {part()}, lambda: {part()})",
        ]
        return made[kind - 10]

    def _read(self, at: int, read: int, argument: str) -> str:
        chance, name = self.chance, f"d{read}"
        if self.kinds[read] == "keys":
            return f"len({name}())"
        if self.kinds[read] == "fold":
            return f"number({name}())"
        if self.kinds[read] == "query":
            queries = [one for one in self._reach(at) if self.kinds[one] == "query"]
            other = f"d{chance.choice(queries)}.key(({argument}) % {ARGUMENTS})"
            return chance.choice(
                [
                    f"{name}(({argument}) % {ARGUMENTS})",
                    f"{name}(({argument}) % {ARGUMENTS})",
                    f"sum(each({name}, range(({argument}) % {ARGUMENTS + 1})))",
                    f"sum(each([{name}.key(0), {other}, d{chance.choice(queries)}.key(1)]))",
                    f"sum(each(tripled, each({name}, range({ARGUMENTS}))))",
                ]
            )
        # The error of a cycle says where it is entered, and of entangled ones there are several.
        failures = [] if self.cyclic else [f"len({name}.failures())"]
        return chance.choice(
            [
                f"{name}.count()",
                f"{name}.count(b=str(({argument}) % 3))",
                f"len({name}.where(a=({argument}) % 3))",
                f"len({name}.where())",
                f"len({name}.of(({argument}) % 4))",
                f"int({name}.exists(a=({argument}) % 3))",
                f"sum(row.a for row in {name}.starting(b='1'))",
                f"number(({name}.first(a=1) or (0,))[:1])",
                *failures,
            ]
        )


def random_inputs(chance: random.Random) -> Inputs:
    """All of them; None is a file that is missing."""
    lists = {n: tuple(chance.randint(0, 4) for _ in range(chance.randint(0, 4))) for n in range(2)}
    cells = {n: chance.randint(0, 5) for n in range(CELLS)}
    return cells, lists, {n: chance.choice([None, 0, 1, 2, 3, 4]) for n in range(FILES)}


def edited(chance: random.Random, inputs: Inputs) -> Inputs:
    """Some of them are others."""
    cells, lists, files = random_inputs(chance)
    return (
        {**inputs[0], **{n: value for n, value in cells.items() if chance.random() < 0.2}},
        {**inputs[1], **{n: numbers for n, numbers in lists.items() if chance.random() < 0.2}},
        {**inputs[2], **{n: content for n, content in files.items() if chance.random() < 0.2}},
    )


def write_files(root: Path, inputs: Inputs) -> None:
    """Make files below a directory what they are to be."""
    for n, content in inputs[2].items():
        if content is None:
            (root / f"file{n}").unlink(missing_ok=True)
        else:
            (root / f"file{n}").write_text(str(content))
