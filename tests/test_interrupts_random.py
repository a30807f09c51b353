"""Interrupts, and no memory, at random lines of the engine: answers stay those from scratch, batches whole.

A random program of requests over tables and folds, in a store or without one. About every second request is
struck at some line of the engine that it runs through; what it was asked for is asked again then, and
compared with an engine that begins with nothing. `INTERRUPTED_PROGRAMS=300` makes more of them.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

import engine
import engine.collector as collector
import engine.unentered as unentered
from engine import Engine, Key, Max, SnapshotLost, Sum, each, fold, input, query, table
from tests.expressions import Outcome, outcome_of

CELLS = 5
PROGRAMS = int(os.environ.get("INTERRUPTED_PROGRAMS", "8"))
FOLDERS = tuple(os.path.realpath(Path(engine.__file__).parent / name) for name in ("", "store"))


@input
def cell(number: int) -> int:
    return number


@input
def listed() -> tuple[int, ...]:
    return (0, 1, 2)


@query
def keys() -> tuple[int, ...]:
    return listed()


@query
def pair(number: int) -> int:
    return cell(number) + cell((number + 1) % CELLS)


@query(persist=False)
def twice(number: int) -> int:
    return pair(number) * 2


@query
def odd(number: int) -> int:
    if cell(number) == 4:
        raise ValueError(number)
    return cell(number)


class Row(NamedTuple):
    column: int
    key: int


@table(each=keys, index=("column",))
def rows(key: int) -> Iterable[Row]:
    return Row(twice(key) % 3, key), Row(odd(key) % 3, key)


@table(each=rows.column("column"), index=("key",))
def over(column: int) -> Iterable[Row]:
    return (Row(rows.count(column=column), column),)


total = fold(each=keys, of=twice, into=Sum())
most = fold(each=keys, of=pair, into=Max(default=0))


@query
def top(number: int) -> tuple[int, ...]:
    return total(), rows.count(column=number), most(), len(over.where()), *each(pair, range(CELLS))


ASKED: list[Key[Any]] = [
    *(top.key(n) for n in range(3)),
    *(rows.where.key(column=n) for n in range(3)),
    *(twice.key(n) for n in range(3)),
    *(odd.key(n) for n in range(3)),
    *(rows.where.key(), rows.failures.key(), over.where.key(), total.key(), most.key()),
]


class Strike:
    """Raises an error at a line of the engine, so many lines from now."""

    def __init__(self, lines: int, error: type[BaseException]) -> None:
        self.lines, self.error = lines, error
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if self.error is MemoryError and frame.f_code.co_name == "regain":
            return None  # taking a lock needs no memory
        if frame.f_code.co_filename == collector.__file__:
            return None  # its lock is of the process, and a tracer would leave it held: see test_collector
        if frame.f_code.co_filename == unentered.__file__:
            return None  # what is struck before it is entered warns, and that is an error here
        return self._at_line if os.path.realpath(frame.f_code.co_filename).startswith(FOLDERS) else None

    def _at_line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.lines -= event == "line"
        if self.lines < 0:
            sys.settrace(None)
            self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            raise self.error("struck")
        return self._at_line


class Program:
    """Random requests of one engine; `told` is what was asked, and where it was struck."""

    def __init__(self, seed: int, error: type[BaseException], store: Path | None) -> None:
        self.random, self.error, self.store = random.Random(seed), error, store
        self.options: dict[str, Any] = {"history": self.random.choice([0, 4])}
        if store is not None:
            self.options["max_memory"] = self.random.choice([None, 1])
        self.cells = list(range(CELLS))
        self.listed: tuple[int, ...] = (0, 1, 2)
        self.told: list[str] = [f"{seed} {self.options}"]
        self.strikes = 0
        self.db = Engine(store, **self.options)

    def run(self, steps: int = 20) -> None:
        for _ in range(steps):
            try:
                self.step()
                if not self.db._core.torn:
                    self.db.check_invariants()
            except BaseException as failure:
                failure.add_note("\n".join(self.told))
                raise
        for one in (rows, over, total, most):
            assert not self.db.audit(one).differences, self.told
        self.db.close()

    def step(self) -> None:
        match self.random.randint(0, 9):
            case 0 | 1 | 2:
                self.change()
            case 3 | 4 | 5:
                self.ask()
            case 6:
                self.follow()
            case 7:
                self.hold()
            case 8 if self.store is not None:
                self.told.append("gc and restart")
                self.struck(self.db.gc)
                self.db.close()
                self.db = Engine(self.store, **self.options)
                assert not self.db.notes()
            case _:
                self.db.forget(self.random.choice(["*pair(*", "*rows*", "*over*", "*"]))

    def struck(self, work: Callable[[], object]) -> bool:
        """Whether some work was cut short. It is not always tried."""
        strike = Strike(int(10 ** self.random.uniform(0, 3.8)), self.error)
        if self.random.random() < 0.4:
            work()
            return False
        before = sys.gettrace()
        sys.settrace(strike)
        try:
            work()
        except self.error:
            assert strike.where
            self.told.append(f"    struck at {strike.where}")
            self.strikes += 1
            return True
        finally:
            sys.settrace(before)
        return False

    def change(self) -> None:
        cells, listed_now = [*self.cells], self.listed
        with_key = self.random.random() < 0.4
        for number in self.random.sample(range(CELLS), self.random.randint(1, 2)):
            cells[number] = self.random.randint(0, 5)
        if with_key:
            listed_now = tuple(self.random.randint(0, CELLS - 1) for _ in range(self.random.randint(0, 4)))
        self.told.append(f"set {cells} {listed_now}")

        def set_all() -> None:
            with self.db.batch():
                for number, value in enumerate(cells):
                    self.db.set(cell.key(number), value)
                self.db.set(listed, listed_now)

        if self.struck(set_all):
            found = [self.db.get(cell, number) for number in range(CELLS)], self.db.get(listed)
            assert found in ((self.cells, self.listed), (cells, listed_now)), "half a batch"
            self.cells, self.listed = found
        else:
            self.cells, self.listed = cells, listed_now

    def ask(self) -> None:
        key = self.random.choice(ASKED)
        self.told.append(f"get {key}")
        self.struck(partial(outcome_of, partial(self.db.get, key)))
        assert outcome_of(partial(self.db.get, key)) == self.from_scratch(key)

    def follow(self) -> None:
        self.told.append("changes")
        have: set[Row] = set()

        def all_of_it() -> None:
            for delta in self.db.changes(rows, since="me"):
                have.difference_update(delta.removed)
                have.update(delta.added)

        self.struck(all_of_it)
        have.clear()
        self.db.changes(rows, since="me").close()
        all_of_it()
        self.db.changes(rows, since="me").close()
        assert have == set(self.from_scratch(rows.where.key())[1])

    def hold(self) -> None:
        asked = self.random.sample(ASKED, 3)
        wanted = {key: self.from_scratch(key) for key in asked}
        with self.db.snapshot() as old:
            self.change()
            for key in asked:
                self.told.append(f"snapshot {key}")
                try:
                    if self.error is KeyboardInterrupt:  # a member that lacks memory has no rows for a moment
                        self.struck(partial(outcome_of, partial(old.get, key)))
                    assert outcome_of(partial(old.get, key)) == wanted[key]
                except SnapshotLost:
                    continue
                assert outcome_of(partial(self.db.get, key)) == self.from_scratch(key)

    def from_scratch(self, key: Key[Any]) -> Outcome:
        with Engine(None) as fresh:
            with fresh.batch():
                for number, value in enumerate(self.cells):
                    fresh.set(cell.key(number), value)
                fresh.set(listed, self.listed)
            return outcome_of(partial(fresh.get, key))


@pytest.fixture
def alone() -> Iterator[None]:
    """Garbage of other tests is not collected meanwhile: what its finalizers raise would reach nobody."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("stored", [False, True])
def test_wherever_the_engine_is_struck_answers_stay_those_from_scratch(
    stored: bool, error: type[BaseException], tmp_path: Path
) -> None:
    strikes = 0
    for seed in range(PROGRAMS):
        program = Program(seed, error, tmp_path / f"store{seed}" if stored else None)
        program.run()
        strikes += program.strikes
    assert strikes > 3 * PROGRAMS
