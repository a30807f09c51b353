"""Limits never wait for each other: who waits for a key holds no place in one."""

from __future__ import annotations

import pytest

from engine import Engine
from tests.limited import Make, together
from tests.workers import make, others

__all__ = ["make", "others"]

NESTED = """
@query(workers={kind!r}, limit="one")
def inner(n: int) -> int:
    return n % 3

@query(workers="thread", limit="one")
def outer(n: int) -> int:
    return sum(each(inner, range(n % 4 + 2))) + second(n)

@query(workers="thread", limit="two")
def second(n: int) -> int:
    return sum(each(third, range(n % 5 + 2)))

@query(workers="thread", limit="one")
def third(n: int) -> int:
    return n + crossing(n)

@query(limit="two")
def crossing(n: int) -> int:
    return n

@query
def everything(n: int) -> int:
    return sum(each(outer, range(n, n + 12))) + sum(each(second, range(n, n + 12)))
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_limits_within_limits_never_wait_for_each_other(make: Make, kind: str) -> None:
    rules = make(NESTED.format(kind=kind))
    with Engine(None) as db:
        wanted = [db.get(rules.everything, n) for n in range(4)]
    with Engine(None, processes=2, limits={"one": 1, "two": 1}) as db:
        asks = [lambda n=n: db.get(rules.everything, n) for n in range(4)]
        assert together(*asks) == wanted
        assert db._core.limits.is_free
        db.check_invariants()


def test_who_waits_for_a_key_of_another_thread_holds_no_limit(make: Make) -> None:
    """`first` holds the limit and needs `middle`, which runs already and needs the limit."""
    rules = make("""
import threading
inside, holds = threading.Event(), threading.Event()

@query(limit="one")
def last() -> int:
    return 7

@query
def middle() -> int:
    inside.set()
    holds.wait(120)
    return last()

@query(limit="one")
def first() -> int:
    inside.wait(120)
    holds.set()
    return middle() + 1
""")
    with Engine(None, limits={"one": 1}) as db:
        assert together(lambda: db.get(rules.first), lambda: db.get(rules.middle)) == [8, 7]
        assert db._core.limits.is_free


def test_who_waits_for_room_is_cancelled_when_the_revision_moves_on(make: Make) -> None:
    rules = make("""
import threading
entered, go = threading.Event(), threading.Event()

@input
def cell() -> int:
    return 1

@query(limit="one")
def slow(n: int) -> int:
    entered.set()
    go.wait(120)
    return n * cell()
""")
    with Engine(None, limits={"one": 1}) as db:

        def change() -> None:
            rules.entered.wait(120)
            db.set(rules.cell.key(), 2)
            rules.go.set()

        found = together(lambda: db.get(rules.slow, 1), lambda: db.get(rules.slow, 2), change)
        assert found[:2] == [2, 4]
        assert db._core.limits.is_free
