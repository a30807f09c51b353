"""A process killed at any moment of building and editing tables costs at most its unfinished change."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, fold, input, query, table
from engine.tables.accumulate import Sum
from tests.killing import KILLED, KillingStore, directory, possible, run
from tests.table_programs import Row
from tests.trial import small_limits

__all__ = ["directory"]  # a fixture

KEYS = 12
KILLS = 60
WITHIN_MS = 150
STEPS = 15

State = tuple[tuple[int, ...], tuple[int, ...]]  # source keys, and the cell of each key
START: State = ((), (0,) * KEYS)
FAILS = 7


@input
def present() -> tuple[int, ...]:
    return ()


@input
def cell(key: int) -> int:
    return 0


@table(each=present, index=("a", "b"))
def low(key: int) -> Iterable[Row]:
    value = cell(key)
    if value == FAILS:
        raise ValueError(key)
    for n in range(value % 4):
        yield Row((key + n) % 4, "x" * (value % 3))


@table(each=low.column("a"), index=("a", "b"))
def high(a: int) -> Iterable[Row]:
    yield Row(low.count(a=a), "y")


@query
def weight(key: int) -> int:
    return cell(key) * 10


total = fold(each=present, of=weight, into=Sum())


@query
def all_of_it() -> tuple[Any, ...]:
    return (
        tuple(low.count(a=a) for a in range(4)),
        tuple(len(low.starting(b="x" * n)) for n in range(3)),
        tuple(tuple(row) for row in high.where()),
        tuple(low.exists(a=a, b="x") for a in range(4)),
        tuple(one.source for one in low.failures()),
        total(),
    )


def wanted(state: State) -> tuple[Any, ...]:
    """From scratch, in plain Python."""
    keys, cells = sorted(set(state[0])), state[1]
    rows = [
        (key, (key + n) % 4, "x" * (cells[key] % 3))
        for key in keys
        if cells[key] != FAILS
        for n in range(cells[key] % 4)
    ]
    return (
        tuple(sum(a == row[1] for row in rows) for a in range(4)),
        tuple(sum(row[2].startswith("x" * n) for row in rows) for n in range(3)),
        tuple((sum(a == row[1] for row in rows), "y") for a in sorted({row[1] for row in rows})),
        tuple((a, "x") in [row[1:] for row in rows] for a in range(4)),
        tuple(sorted(str(key) for key in keys if cells[key] == FAILS)),
        sum(cells[key] * 10 for key in keys),
    )


def work(db: Engine, seed: int, state: State, tell: Connection, steps: int) -> None:
    """Edit and ask at random; tell each change before it is made and after it is acknowledged."""
    choose = random.Random(seed).randint
    for _ in range(steps):
        if choose(0, 1):
            keys, cells = list(state[0]), list(state[1])
            for _ in range(choose(1, 4)):
                key = choose(0, KEYS - 1)
                if choose(0, 2):
                    cells[key] = choose(0, 9)
                else:
                    keys = [one for one in keys if one != key] + ([key] if key not in keys else [])
            state = tuple(keys), tuple(cells)
            tell.send(("begin", state))
            with db.batch():
                db.set(present.key(), state[0])
                for key, value in enumerate(cells):
                    db.set(cell.key(key), value)
            tell.send(("end", state))
        elif choose(0, 9) == 9:
            db.forget("*:low(*")
        else:
            ask: list[Any] = [
                all_of_it.key(), low.where.key(), high.count.key(), low.where.key(a=choose(0, 3)),
                low.of.key(choose(0, KEYS - 1)),
            ]  # fmt: skip
            try:
                db.get(ask[choose(0, 4)])
            except ValueError:
                continue  # `of` raises the error of its member


def check(directory: Path, states: set[State]) -> State:
    """Inputs are one of the possible states, and everything is as from scratch. Returns the state."""
    with Engine(directory) as db:
        lost = [note for note in db.notes() if "checked and kept" not in note]  # killed while it was closed
        assert not lost, "a killed process damaged nothing"
        state: State = db.get(present), tuple(db.get(cell, key) for key in range(KEYS))
        assert state in states, f"the inputs are {state}, and not one of {states}"
        assert db.get(all_of_it) == wanted(state), state
        for kept in (low, high, total):
            assert db.audit(kept).differences == ()
        db.check_invariants()
        assert db.store is not None
        db.store.check_invariants()
    return state


def begun(directory: Path, seed: int, small: bool, state: State, tell: Connection) -> None:
    tell.send(("end", state))
    with small_limits() if small else nullcontext(), Engine(directory) as db:
        work(db, seed, state, tell, steps=100_000)


def test_kills_at_random_moments_leave_tables_and_folds_as_from_scratch(directory: Path) -> None:
    state, chance = START, random.Random(5)
    for number in range(KILLS):
        seconds = chance.uniform(0, WITHIN_MS / 1000)
        _, told = run(begun, directory / "one", number, number % 2 == 0, state, after=seconds)
        state = check(directory / "one", possible(told, state))


def numbered(directory: Path, point: int, statements: bool, state: State, tell: Connection) -> None:
    with small_limits(), Engine(directory) as db:
        assert db.store is not None
        db._core.store = KillingStore(db.store, point, statements=statements)  # type: ignore[assignment]  # it has what is called
        work(db, 3, state, tell, steps=STEPS)


@pytest.mark.parametrize(("statements", "stride"), [(False, 1), (True, 29)], ids=["writes", "statements"])
def test_a_kill_at_each_numbered_point_of_writing_leaves_tables_as_from_scratch(
    directory: Path, statements: bool, stride: int
) -> None:
    for point in range(1, 20_000, stride):
        code, told = run(numbered, directory / str(point), point, statements, START)
        assert code in (0, KILLED)
        check(directory / str(point), possible(told, START))
        if code == 0:
            assert point > 20, "the points were not passed"
            return
    raise AssertionError("it never survived")
