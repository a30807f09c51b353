"""Half a ring: what was computed of a cycle when something came in between is neither believed nor stored."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

from engine import CycleError, Engine, each, input, query, table
from tests.patience import PATIENCE
from tests.rings import FAILS, told


@pytest.mark.parametrize("stored", [False, True])
def test_a_ring_that_a_revision_overtook_is_not_believed(tmp_path: Path, stored: bool) -> None:
    """The other one on it has no memo yet, so nothing leads from what changed to the one that has."""
    entered, go_on = threading.Event(), threading.Event()

    @input
    def cell() -> int:
        return 0

    @query
    def first() -> int:
        return second() + 1

    @query
    def second() -> int:
        if cell():
            return 7
        try:
            return first()
        finally:
            entered.set()
            go_on.wait(0.5)  # outdated, and still at it when the other one is asked for

    with Engine(tmp_path / "store" if stored else None) as db:
        thread = threading.Thread(target=told, args=(db, second), daemon=True)
        thread.start()
        assert entered.wait(PATIENCE)
        db.set(cell.key(), 1)
        assert told(db, first) == 8
        go_on.set()
        thread.join(PATIENCE)
        assert (told(db, first), told(db, second)) == (8, 7)
        db.check_invariants()


def test_what_saw_a_ring_is_stored_with_it_or_not_at_all(tmp_path: Path) -> None:
    """Also where the engine is closed while something else runs."""
    entered, go_on = threading.Event(), threading.Event()

    @input
    def cell() -> int:
        return 0

    @query
    def slow() -> int:
        entered.set()
        go_on.wait(PATIENCE)
        return cell()

    @query
    def first() -> int:
        return 1 if cell() else second() + 1

    @query
    def second() -> int:
        return first()

    @query
    def outside() -> int:
        try:
            return first()
        except CycleError:
            return 5

    db = Engine(tmp_path / "store")
    ended: list[str] = []

    def run() -> None:
        try:
            db.get(slow)
        except Exception as error:  # whatever it is: the test looks at it
            ended.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert entered.wait(PATIENCE)
    assert db.get(outside) == 5
    db.close()
    go_on.set()
    thread.join(PATIENCE)
    assert ended == ["Closed"]
    with Engine(tmp_path / "store") as db:
        assert db.store is not None
        db.store.check_invariants()
        assert db.notes() == ()
        db.set(cell.key(), 1)
        assert db.get(outside) == 1


@frozen
class Row:
    n: int


def test_a_ring_that_rests_on_a_table_is_settled_with_it() -> None:
    """Whoever read one of its keys while that ran rests on the table as well."""

    @input
    def numbers() -> tuple[int, ...]:
        return (1, 2)

    @table(each=numbers, index=("n",))
    def rows(n: int) -> Iterable[Row]:
        yield Row(n)

    @query
    def first() -> int:
        return second() if rows.count(n=2) else 7

    @query
    def second() -> int:
        return first() + 1

    @query
    def outside() -> int:
        return second() + 1

    for start in (first, second, outside):
        for wanted, value in ((first, 7), (second, 8), (outside, 9)):
            with Engine(None) as db:
                assert told(db, start) == FAILS
                db.set(numbers.key(), (1,))
                assert told(db, wanted) == value
                assert [told(db, one) for one in (first, second, outside)] == [7, 8, 9]
                db.set(numbers.key(), (1, 2))
                assert [told(db, one) for one in (first, second, outside)] == [FAILS] * 3
                db.check_invariants()


def test_a_ring_that_rests_on_a_passing_failure_passes_with_it() -> None:
    fails = True

    @query(code="none")
    def flaky() -> int:
        if fails:
            raise OSError("not now")
        return 1

    @query
    def first() -> int:
        try:
            flaky()
        except OSError:
            return second()
        return 3

    @query
    def second() -> int:
        return first() + 10

    @query
    def outside() -> int:
        try:
            return second()
        except CycleError:
            return -1

    for start in (first, second, outside):
        for wanted in (first, second, outside):
            fails = True
            with Engine(None) as db:
                told(db, start)
                fails = False
                told(db, wanted)
                assert [told(db, one) for one in (first, second, outside)] == [3, 13, 13]
                db.check_invariants()


def test_a_key_that_another_thread_finds_on_a_ring_before_it_reads_is_right_when_the_ring_is_gone() -> None:
    """As a loop among old memos is taken for one that is still there, and each on it runs anew."""
    pause = threading.Event()  # nobody sets it: it is to give the other threads time

    @input
    def size() -> int:
        return 0

    @query
    def many() -> int:
        return sum(each(through, range(size())))

    @query
    def through(number: int) -> int:
        return back(number) + 1

    @query
    def back(number: int) -> int:
        pause.wait(0.005)
        return many() + number

    for _ in range(8):
        with Engine(None, workers=3) as db:
            for members, answer in (3, FAILS), (1, FAILS), (3, FAILS), (0, 0):
                db.set(size.key(), members)
                assert told(db, back, 0) == answer
            assert [told(db, through, number) for number in range(3)] == [1, 2, 3]
            db.check_invariants()
