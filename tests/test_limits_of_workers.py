"""What a worker process asks for, and what it does for nobody, takes no place in a limit for good."""

from __future__ import annotations

from typing import Any

from engine import Engine
from tests.limited import Make, together
from tests.patience import until
from tests.workers import make, others

__all__ = ["make", "others"]


def test_what_a_worker_asks_for_waits_for_no_limit_of_another_worker(make: Make) -> None:
    """Two threads are not needed: what is asked for runs here, and who runs it is who hears of the other."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="inline")
def below() -> int:
    return cell() // 10

@query(workers="inline", limit="one")
def asked_for() -> int:
    time.sleep(0.001)
    return below()

@query(workers="process", limit="one")
def limited(n: int) -> int:
    time.sleep(0.2)
    return n * cell()

@query(workers="process")
def asking(n: int) -> int:
    factor = cell()
    time.sleep(0.1)  # until the other one runs
    return asked_for() + n * factor

@query
def total() -> int:
    return sum(each([asking.key(1), limited.key(2)]))
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:
        db.get(rules.asked_for)
        db.get(rules.total)
        db.set(rules.cell.key(), 10)
        assert together(lambda: db.get(rules.total)) == [31]
        assert db._core.limits.is_free


def test_a_worker_that_asked_goes_on_when_there_is_room_again(make: Make) -> None:
    rules = make("""
def alone() -> None:
    mine = LOG.with_name("lock")
    if mine.exists():
        note("another one is there")
    mine.touch()
    time.sleep(0.2)
    mine.unlink(missing_ok=True)

@input
def cell() -> int:
    return 1

@query(workers="inline")
def below() -> int:
    time.sleep(0.1)
    return cell() // 10

@query(workers="inline")
def asked_for() -> int:
    time.sleep(0.001)
    return below()

@query(workers="process", limit="one")
def asking(n: int) -> int:
    factor = cell()
    note("asking")
    asked_for()
    alone()
    return n * factor

@query(limit="one")
def other() -> int:
    alone()
    return cell()

@query
def total() -> int:
    return sum(each(asking, [1, 2]))
""")
    with Engine(None, processes=1, limits={"one": 1}) as db:
        db.get(rules.asked_for)
        db.get(rules.total)
        db.set(rules.cell.key(), 10)
        rules.noted()

        def meanwhile() -> Any:
            until(rules.log.exists)
            return db.get(rules.other)

        assert together(lambda: db.get(rules.total), meanwhile) == [30, 10]
        assert rules.noted()[0] == {"asking": 2}
        assert db._core.limits.is_free


def test_what_a_worker_does_for_nobody_takes_no_place(make: Make) -> None:
    """The revision moves on, and then nothing is sent any more: nobody hears that the worker is done."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="process", limit="one")
def slow(n: int) -> int:
    note("slow")
    time.sleep(0.2)
    return n

@query
def total() -> int:
    return sum(each(slow, range(4))) if cell() == 1 else slow(99)
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:

        def change() -> None:
            until(rules.log.exists)
            db.set(rules.cell.key(), 2)

        assert together(lambda: db.get(rules.total), change)[0] == 99
        assert db._core.limits.is_free
