"""Several threads on one engine: one execution a key, whole revisions, no hang."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from engine import CycleError, Engine, each, input, query
from engine.core import Core
from tests.patience import PATIENCE
from tests.threads import run_all


@pytest.fixture
def db() -> Iterator[Engine]:
    with Engine(None) as engine:
        yield engine


@pytest.fixture
def often() -> Iterator[None]:
    """Let threads switch as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@input
def cell(number: int) -> int:
    return number


def test_sixteen_threads_that_want_one_key_run_it_once(db: Engine) -> None:
    runs = []

    @query
    def slow(number: int) -> int:
        runs.append(number)
        time.sleep(0.02)
        return number

    barrier = threading.Barrier(16)

    def ask() -> int:
        barrier.wait()
        return db.get(slow, 7)

    assert run_all(*[ask] * 16) == [7] * 16
    assert runs == [7]


def test_sixteen_threads_get_the_one_error(db: Engine) -> None:
    runs = []

    @query
    def slow() -> int:
        runs.append(1)
        time.sleep(0.02)
        raise ValueError("no")

    outcomes = run_all(*[lambda: db.get(slow)] * 16)
    assert {type(outcome) for outcome in outcomes} == {ValueError}
    assert len(runs) == 1


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_ring_over_several_threads_is_a_cycle_not_a_deadlock(db: Engine, size: int) -> None:
    started = threading.Barrier(size, timeout=PATIENCE)
    meet = [True] * size

    @query
    def member(number: int) -> int:
        if meet[number]:
            meet[number] = False
            started.wait()  # every thread runs one member before any asks for the next
        return member((number + 1) % size)

    outcomes = run_all(*[lambda number=number: db.get(member, number) for number in range(size)])
    assert {type(outcome) for outcome in outcomes} == {CycleError}
    paths = {outcome.path for outcome in outcomes if isinstance(outcome, CycleError)}
    assert len(paths) == 1, "the path depends on the thread"
    assert len(paths.pop()) == size + 1
    db.check_invariants()


def test_readers_and_a_writer_never_see_a_mixture(db: Engine, often: None) -> None:
    @query
    def part(number: int) -> int:
        return cell(number) * 2

    @query
    def all_equal() -> tuple[int, ...]:
        return tuple(part(number) for number in range(8))

    with db.batch():
        for number in range(8):
            db.set(cell.key(number), 0)
    stop = threading.Event()

    def write() -> None:
        for value in range(1, 60):
            with db.batch():
                for number in range(8):
                    db.set(cell.key(number), value)
        stop.set()

    def read() -> int:
        seen = 0
        while not stop.is_set():
            values = db.get(all_equal)
            assert len(set(values)) == 1, f"a mixture of revisions: {values}"
            assert values[0] >= seen, "went back in time"
            seen = values[0]
        return seen

    outcomes = run_all(write, read, read, read)
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)], outcomes
    assert db.get(all_equal) == (118,) * 8
    db.check_invariants()


def test_eight_threads_agree_with_a_plain_computation(db: Engine, often: None) -> None:
    @query
    def node(number: int) -> int:
        if number < 20:
            return cell(number)
        return node(number // 2) + node(number - 20) % 7

    def plain(number: int, cells: dict[int, int]) -> int:
        if number < 20:
            return cells.get(number, number)
        return plain(number // 2, cells) + plain(number - 20, cells) % 7

    cells: dict[int, int] = {}
    chance = random.Random(5)
    for _ in range(6):
        change = chance.randrange(20)
        cells[change] = chance.randrange(100)
        db.set(cell.key(change), cells[change])

        def ask(seed: int) -> None:
            mine = random.Random(seed)
            for _ in range(60):
                number = mine.randrange(160)
                assert db.get(node, number) == plain(number, cells)

        outcomes = run_all(*[lambda seed=seed: ask(seed) for seed in range(8)])
        assert outcomes == [None] * 8
        db.check_invariants()


def test_an_input_that_changes_while_a_query_runs_restarts_it(db: Engine) -> None:
    entered, go_on = threading.Event(), threading.Event()
    seen: list[tuple[int, int]] = []

    @query
    def pair() -> tuple[int, int]:
        first = cell(0)
        entered.set()
        go_on.wait(PATIENCE)
        second = cell(1)
        seen.append((first, second))
        return first, second

    def change() -> None:
        entered.wait(PATIENCE)
        with db.batch():
            db.set(cell.key(0), 100)
            db.set(cell.key(1), 100)
        go_on.set()

    outcomes = run_all(lambda: db.get(pair), change)
    assert outcomes[0] == (100, 100)
    assert all(pair in ((0, 1), (100, 100)) for pair in seen), "a query went on with a mixture"


def test_a_request_that_is_always_overtaken_comes_through(db: Engine) -> None:
    stop = threading.Event()

    @query
    def slow() -> int:
        value = cell(0)
        time.sleep(0.005)
        return value + cell(1)

    def write() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            db.set(cell.key(0), value)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        outcome = run_all(lambda: db.get(slow))
    finally:
        stop.set()
        writer.join(PATIENCE)
    assert isinstance(outcome[0], int)


@pytest.mark.parametrize("between", [False, True])
def test_closing_ends_waiting_requests(db: Engine, between: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that begin between the first sign of the end and the end."""
    from engine import Closed

    if between:
        outdate = Core.outdate

        def lasting(core: Core) -> None:
            outdate(core)
            time.sleep(0.1)

        monkeypatch.setattr(Core, "outdate", lasting)
    entered = threading.Event()

    @query
    def slow(number: int) -> int:
        entered.set()
        for step in range(10_000):  # a minute: longer than it takes to close
            time.sleep(0.005)
            cell(step)
        return number

    def close() -> None:
        entered.wait(PATIENCE)
        db.close()

    outcomes = run_all(*[lambda number=number: db.get(slow, number) for number in range(4)], close)
    assert {type(outcome) for outcome in outcomes[:4]} == {Closed}


def test_a_group_on_workers_runs_members_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    @query
    def waits(number: int) -> int:
        together.wait()  # passes only if three members run at once
        return number

    @query
    def total() -> int:
        return sum(each(waits, range(3)))

    with Engine(None, workers=3) as db:
        assert db.get(total) == 3


def test_a_frame_does_not_reach_threads_that_a_query_starts(db: Engine) -> None:
    @query
    def inner() -> int:
        return cell(3)

    @query
    def outer() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(inner()))
        thread.start()
        thread.join()
        return found[0]

    assert db.get(outer) == 3
    assert db.dependencies(outer) == [], "a read of a foreign thread was attached"
