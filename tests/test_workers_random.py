"""Random programs: with processes and without, all values and all that is stored are the same."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine.parallel.held as held
import engine.parallel.shared as shared
from engine import Durability, Engine
from engine.parallel import dispatch, exchange, stored
from engine.parallel.dispatch import Dispatch
from engine.parallel.processes import Processes
from engine.parallel.units import Setup, encode
from tests.expressions import outcome_of
from tests.programs import ARGUMENTS, CELLS, FILES, random_expression
from tests.workers import Rules, graph_of, let_go

PROGRAM = """
import json
from typing import Any
from engine import Durability
from tests.programs import evaluate

CODE = json.loads({code!r})
HOST, DEADLY = {host}, Path({deadly!r})

@input(durability={durability})
def cell(n: int) -> int:
    return n

def near(one: int, other: int) -> bool:
    return abs(one - other) < 2

@query
def content(n: int) -> int:
    if os.getpid() != HOST and DEADLY.exists():  # behind the engine: a death is no value
        DEADLY.unlink()
        os._exit(9)
    return int(read_text(f"file{{n}}"))

@query(batch=3, workers={batched!r})
def tripled(numbers: list[int]) -> list[int]:
    return [3 * number for number in numbers]

class Reads:
    def read(self, node: Any) -> int:
        kind, n = node
        return cell(n) if kind == "cell" else content(n) if kind == "file" else QUERIES[kind](n)

    def group(self, nodes: Any) -> list[int]:
        found = each([QUERIES[kind].key(n) for kind, n in nodes])
        return [number // 3 for number in each(tripled, found)]

READS = Reads()

class Own(ValueError):  # of which a worker can tell the fingerprint alone
    pass

def made(q: int) -> Any:
    return QUERIES[q]

{queries}
QUERIES = [{names}]

@query
def numbers() -> tuple[int, ...]:
    return tuple(range(1 + cell(0) % {arguments}))

class Row(NamedTuple):
    n: int
    value: int
    text: str

def row(n: int, value: int) -> Row:
    return Row(n, value, str(value))

@table(each=numbers, index=("value", "text"))
def rows(n: int) -> list[Row]:
    return [row(n, QUERIES[-1](n)), row(n, cell(n))]

total = fold(each=numbers, of=QUERIES[-1], into=Sum())

@query
def of_the_collections(n: int) -> tuple[int, int]:
    return len(rows.where(value=n)), total()

@query(workers="process")
def looks(n: int) -> Any:
    several = rows.where(value=n), rows.starting(text=str(n)), rows.of(n)
    return *several, rows.first(text=str(n)), rows.exists(value=n), rows.count(value=n, text=str(n))

@query
def all_looks() -> tuple[Any, ...]:
    return each(looks, range(-1, 6))

@query
def everything() -> tuple[int, ...]:
    return each([one.key(n) for one in QUERIES for n in range({arguments})])
"""
QUERY = """
@query(workers={workers!r}, persist={persist}{eq})
def q{q}(n: int) -> int:
    try:
        return evaluate(CODE[{q}], n, READS)
    except ValueError as error:
        raise {failure}(*error.args) from None
"""


def program(pick: Callable[[int, int], int], place: Path) -> tuple[str, int]:
    """The text of a random program, and how many queries it has."""
    size = pick(2, 8)
    code = [random_expression(pick, range(q), pick(1, 3), "cells and files") for q in range(size)]
    places = ["process", "process", "process", "inline", "auto"]
    equals = ["", "", "", "", ", eq=near"] if pick(0, 1) else [""] * 5
    failures = ["ValueError", "ValueError", "Own"] if pick(0, 1) else ["ValueError"] * 3
    queries = [
        QUERY.format(
            q=q,
            workers=places[pick(0, 4)],
            persist=pick(0, 4) > 0,
            eq=equals[pick(0, 4)],
            failure=failures[pick(0, 2)],
        )
        for q in range(size)
    ]
    names = ", ".join(f"q{q}" for q in range(size))
    text = PROGRAM.format(
        code=json.dumps(code),
        queries="".join(queries),
        names=names,
        arguments=ARGUMENTS,
        batched=places[pick(0, 4)],
        host=os.getpid(),
        deadly=str(place / "die"),
        durability=f"Durability({max(0, pick(0, 3) - 1)})",
    )
    return text, size


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of all programs."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def executor(root: Path) -> Iterator[Processes]:
    """Two workers for all programs: starting them takes longer than a program."""
    made = Processes(2)
    made.open(encode(Setup(str(root).encode(), 1_000, ())))
    yield made
    made.close()


class Timeline:
    """A random timeline over one program, with workers or without; `seen` is everything that can be seen."""

    def __init__(self, seed: int, rules: Rules, size: int, place: Path, executor: Processes | None) -> None:
        self.pick = random.Random(seed).randint
        self.rules, self.size, self.place, self.executor = rules, size, place, executor
        self.store = place / f"store{executor is not None}{seed}"
        self.history = (0, 2, 64)[self.pick(0, 2)]
        self.cells: dict[int, int] = {}  # what they are set to
        self.seen: list[Any] = []
        for n in range(FILES):
            (place / f"file{n}").write_text(str(n))
        self.db = self.opened()

    def opened(self) -> Engine:
        db = Engine(self.store, root=self.place, depth_limit=1_000, history=self.history, processes=0)
        if self.executor is not None:
            made = self.executor
            db._core.dispatch = Dispatch(db._core, lambda: made)
            exchange = db._core.dispatch.exchange
            exchange.close = partial(let_go, exchange)  # type: ignore[method-assign]  # they serve others too
        return db

    def run(self, steps: int = 12) -> list[Any]:
        for _ in range(steps):
            self.step()
            self.look()
        assert self.db.store is not None
        self.db.store.check_invariants()
        self.db.close()
        return self.seen

    def step(self) -> None:
        pick = self.pick
        match pick(0, 11):
            case 0 | 1 | 2 | 3:
                with self.db.batch():
                    for _ in range(pick(1, 2)):
                        self.set(pick(0, CELLS - 1), pick(0, 4), (None, None, None, *Durability)[pick(0, 5)])
            case 4 | 5 | 6:
                (self.place / f"file{pick(0, FILES - 1)}").write_text(str(pick(0, 4)))
                self.db.sync()
            case 7:
                self.db.forget(f"*:q{pick(0, self.size - 1)}(*")
            case 8:
                self.db.close()
                self.db = self.opened()
            case 9:
                self.kill()
            case 10:
                (self.place / "die").touch()  # the next worker that reads a file dies
                (self.place / f"file{pick(0, FILES - 1)}").write_text(str(pick(0, 4)))
                self.db.sync()
            case _:
                cell = pick(0, CELLS - 1)
                self.db.reset(self.rules.cell.key(cell))
                self.cells.pop(cell, None)

    def set(self, cell: int, value: int, durability: Durability | None) -> None:
        self.db.set(self.rules.cell.key(cell), value, durability=durability)
        self.cells[cell] = value

    def kill(self) -> None:
        """Go on with what a killed process would leave."""
        left = self.store.with_name(f"{self.store.name}x")
        shutil.copytree(self.store, left, ignore=shutil.ignore_patterns("*-shm"))
        self.db.close()
        self.store = left
        self.db = self.opened()
        assert not self.db.notes(), "the store was not taken as it is"

    def look(self) -> None:
        db, before = self.db, self.db.counts().executed
        keys = [one.key(n) for one in self.rules.QUERIES for n in range(ARGUMENTS)]
        keys += [*[self.rules.of_the_collections.key(n) for n in range(4)], self.rules.all_looks.key()]
        self.seen.append(outcome_of(partial(db.get, self.rules.everything)))
        self.seen.append([outcome_of(partial(db.get, key)) for key in keys])
        self.seen.append(("executed", db.counts().executed - before))
        db.check_invariants()
        self.seen.append(graph_of(db))
        (self.place / "die").unlink(missing_ok=True)
        if self.executor is None and "eq=near" not in self.rules.file.read_text():
            with Engine(None, root=self.place, depth_limit=1_000, processes=0) as fresh:
                with fresh.batch():
                    for cell, value in self.cells.items():
                        fresh.set(self.rules.cell.key(cell), value)
                assert self.seen[-3] == [outcome_of(partial(fresh.get, key)) for key in keys]


PROGRAMS = int(os.environ.get("WORKERS_PROGRAMS", "3"))  # of each group


@pytest.mark.parametrize("group", range(4))
def test_random_programs_do_not_show_where_they_ran(
    group: int, tmp_path: Path, root: Path, executor: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "ASK_US", 0 if group % 2 else 10**9)
    monkeypatch.setattr(stored, "MANY", 0 if group % 2 else 10**9)  # they look into tables, or ask
    if group % 2:  # members are looked at one or two at a time while others are out
        monkeypatch.setattr(dispatch, "PIECE", 1 + group // 2)
        monkeypatch.setattr(exchange, "FEW", 1 + group // 2)
        monkeypatch.setattr(exchange, "COMMIT_ROWS", 2)
    if group // 2 % 2:  # whatever can be given is given
        for name, value in (("GIVE_US", 0), ("LOAD_US", 0), ("AGAIN", -1.0)):
            monkeypatch.setattr(shared, name, value)
    for seed in range(group * PROGRAMS, (group + 1) * PROGRAMS):
        text, size = program(random.Random(seed).randint, root)
        rules = Rules(tmp_path, text)
        here = Timeline(seed, rules, size, root, None).run()
        there = Timeline(seed, rules, size, root, executor).run()
        for at, (one, other) in enumerate(zip(here, there, strict=True)):
            if at % 4 == 2 and ("persist=False" in text or "raise Own" in text):
                continue  # what is not stored is not sent, but for members: it runs here where it is read
            if isinstance(one, dict):
                assert one.keys() == other.keys(), f"seed {seed}, step {at // 4}"
                for name in one:
                    assert one[name] == other[name], f"seed {seed}, step {at // 4}: {name}"
            assert one == other, f"seed {seed}, step {at // 4}"
