"""A process killed at any moment costs at most its unfinished change, and never a wrong answer."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from contextlib import closing, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from engine import Engine
from tests.expressions import Choose, Outcome, value_of
from tests.killing import KILLED, KillingStore, directory, possible, run
from tests.live import WORLD, Live, Program
from tests.oracle import Oracle
from tests.programs import ARGUMENTS, CELLS, Node
from tests.timelines import random_program
from tests.trial import small_limits
from tests.worlds import Settings

__all__ = ["directory"]  # a fixture

KILLS = 100
WITHIN_MS = 150  # after the session began
FLIPS = 100
STEPS = 20  # of the session that is killed at each numbered point

Cells = tuple[int, ...]


def program() -> Program:
    """Twelve queries, with errors, groups and branches; the same in every process."""
    return max(
        (random_program(random.Random(seed).randint, Settings()) for seed in range(200)),
        key=lambda program: len(str(program.expressions)),
    )


LIVE = Live(program(), "kill")
KEYS: list[Node] = [(q, n) for q in range(len(LIVE.queries)) for n in range(ARGUMENTS)]


def work(db: Engine, choose: Choose, cells: Cells, tell: Connection, steps: int) -> None:
    """Set and get at random; tell each change before it is made and after it is acknowledged."""
    WORLD.set(LIVE)
    for _ in range(steps):
        if choose(0, 1):
            changes = {choose(0, CELLS - 1): choose(0, 9) for _ in range(choose(1, CELLS))}
            cells = tuple(changes.get(i, cell) for i, cell in enumerate(cells))
            tell.send(("begin", cells))
            with db.batch():
                for i, value in changes.items():
                    db.set(LIVE.cell.key(i), value)
            tell.send(("end", cells))
        elif choose(0, 9) == 9:
            db.forget(f"kill:q{choose(0, 11)}(*")
        else:
            q, n = KEYS[choose(0, len(KEYS) - 1)]
            LIVE.ask(db, (q, n))


def wanted(cells: Cells, node: Node) -> Outcome:
    def inputs(node: Node) -> int:
        return cells[node[1]] if node[0] == "cell" else int(value_of(LIVE.look(node)))

    return Oracle(LIVE.expressions, inputs).outcome(node)


def check(db: Engine, states: set[Cells]) -> Cells:
    """Inputs are one of the possible states, answers are those of the oracle. Returns the state."""
    WORLD.set(LIVE)
    cells = tuple(db.get(LIVE.cell, i) for i in range(CELLS))
    assert cells in states, f"the inputs are {cells}, and not one of {states}"
    for node in KEYS:
        assert LIVE.ask(db, node) == wanted(cells, node), f"{node} with {cells}"
    db.check_invariants()
    assert db.store is not None
    db.store.check_invariants()
    return cells


def begun(directory: Path, seed: int, small: bool, cells: Cells, tell: Connection) -> None:
    tell.send(("end", cells))
    with small_limits() if small else nullcontext(), Engine(directory) as db:
        work(db, random.Random(seed).randint, cells, tell, steps=100_000)


def lives(directory: Path, first: int, count: int) -> None:
    """One store that is killed again and again, and looked at in between."""
    cells: Cells = (0,) * CELLS
    chance = random.Random(first)
    for number in range(first, first + count):
        seconds = chance.uniform(0, WITHIN_MS / 1000)
        _, told = run(begun, directory, number, number % 2 == 0, cells, after=seconds)
        with Engine(directory) as db:
            cells = check(db, possible(told, cells))
            assert not db.notes(), "a killed process damaged nothing"
        if number % 20 == 0:
            with closing(sqlite3.connect(directory / "store.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_hundred_kills_at_random_moments_give_no_wrong_answer(directory: Path) -> None:
    failures: list[BaseException] = []

    def live(number: int) -> None:
        try:
            lives(directory / str(number), number * 1_000, KILLS // 2)
        except BaseException as failure:  # raised again by the test
            failures.append(failure)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def numbered(directory: Path, point: int, statements: bool, cells: Cells, tell: Connection) -> None:
    with small_limits(), Engine(directory) as db:
        assert db.store is not None
        db._core.store = KillingStore(db.store, point, statements=statements)  # type: ignore[assignment]  # it has what is called
        work(db, random.Random(3).randint, cells, tell, steps=STEPS)


@pytest.mark.parametrize(("statements", "stride"), [(False, 1), (True, 13)], ids=["writes", "statements"])
def test_a_kill_at_each_numbered_point_of_writing_gives_no_wrong_answer(
    directory: Path, statements: bool, stride: int
) -> None:
    cells: Cells = (0,) * CELLS
    for point in range(1, 10_000, stride):
        code, told = run(numbered, directory / str(point), point, statements, cells)
        assert code in (0, KILLED)
        with Engine(directory / str(point)) as db:
            check(db, possible(told, cells))
        if code == 0:
            assert point > 20, "the points were not passed"
            return
    raise AssertionError("it never survived")


def built(directory: Path) -> Cells:
    """A store with a few revisions, values, errors and suspects in it."""
    choose = random.Random(1).randint
    WORLD.set(LIVE)
    cells: Cells = ()
    with Engine(directory) as db:
        for _ in range(3):
            cells = tuple(choose(1, 9) for _ in range(CELLS))
            with db.batch():
                for i, value in enumerate(cells):
                    db.set(LIVE.cell.key(i), value)
            for node in KEYS:
                LIVE.ask(db, node)
    return cells


def flip(file: Path, chance: random.Random) -> None:
    with file.open("r+b", buffering=0) as opened:
        place = chance.randrange(file.stat().st_size)
        byte = os.pread(opened.fileno(), 1, place)[0]
        os.pwrite(opened.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), place)


@pytest.mark.parametrize("under", [False, True], ids=["closed", "open"])
def test_a_flipped_bit_in_the_store_gives_right_answers_or_a_rebuild_with_a_note(
    directory: Path, under: bool
) -> None:
    cells = built(directory / "whole")
    for number in range(FLIPS // 2):
        chance = random.Random(number)
        damaged = directory / str(number)
        shutil.copytree(directory / "whole", damaged)
        notes: list[str] = []
        if not under:
            flip(damaged / "store.db", chance)
        with Engine(damaged) as db:
            if under:
                flip(damaged / "store.db", chance)
            right_or_told(db, cells, notes)
        with Engine(damaged) as db:
            right_or_told(db, cells, notes)


def right_or_told(db: Engine, cells: Cells, notes: list[str]) -> None:
    """All answers belong to the inputs as set; or the engine said that it started over, without them."""
    found = {node: LIVE.ask(db, node) for node in KEYS}
    seen = tuple(db.get(LIVE.cell, i) for i in range(CELLS))
    notes += db.notes()
    if seen != cells:
        assert notes, "inputs were lost without a word"
        found = {node: LIVE.ask(db, node) for node in KEYS}
    for node, outcome in found.items():
        assert outcome == wanted(seen, node), f"{node} with {seen}, notes: {notes}"
