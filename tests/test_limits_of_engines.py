"""Limits of engines that ask each other are not each other's, and do not wait for each other."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import Any

import pytest

from engine import Engine
from tests.limited import COUNTED, Make, together
from tests.patience import until
from tests.workers import make, others

__all__ = ["make", "others"]


def test_limits_of_two_engines_are_not_each_other_s(make: Make) -> None:
    """A key that holds a limit of one engine asks another engine, whose limit has the same name."""
    rules = make(
        COUNTED
        + """
@query
def inners(n: int) -> int:
    return sum(each(counted, range(n, n + 3)))

@query(limit="one")
def outer() -> int:
    return OTHER.get(inners, 0)
"""
    )
    with Engine(None, limits={"one": 1}) as db, Engine(None, limits={"one": 1}) as other:
        rules.module.OTHER = other  # type: ignore[attr-defined]  # of a module made here
        assert together(lambda: db.get(rules.outer), lambda: other.get(rules.inners, 50)) == [3, 153]
        assert rules.module.most == 1
        assert db._core.limits.is_free
        assert other._core.limits.is_free


def test_who_waits_for_a_key_of_another_engine_that_waits_for_room_goes_on(make: Make) -> None:
    """The key is wanted by two who need the same place in their own engine."""
    rules = make("""
ASKED = None

@query(limit="there", workers="inline")
def slow(n: int) -> int:
    note("slow")
    while not LOG.with_name("go").exists():
        time.sleep(0.001)
    return n

@query(limit="there", workers="inline")
def shared(n: int) -> int:
    return n

@query(limit="here", workers="inline", code="none")
def asks(n: int) -> int:
    note("asks")
    return ASKED.get(shared, 1) + n
""")
    with Engine(None, limits={"here": 1}) as db, Engine(None, limits={"there": 1}) as other:
        module: Any = rules.module
        module.ASKED = other

        def later(n: int) -> int:
            until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= n)
            found: int = db.get(rules.asks, n)
            return found

        def go() -> None:
            until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 3)
            threading.Event().wait(0.2)  # until the second one waits for the first
            rules.log.with_name("go").touch()

        found = together(lambda: other.get(rules.slow, 1), lambda: later(1), lambda: later(2), go)
        assert found[:3] == [1, 2, 3]
        assert db._core.limits.is_free
        assert other._core.limits.is_free


CROSSWISE = (
    COUNTED
    + """
@query(limit="one")
def asks(name: str, depth: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    if depth == DEPTH:
        MET.wait()  # each holds the limit of its engine and asks the other one
    running -= 1
    return 1 if not depth else 1 + OTHER[name].get(asks, name, depth - 1)
"""
)


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("sides", [2, 3])
def test_engines_that_ask_each_other_crosswise_within_their_limits_never_wait_for_each_other(
    make: Make, depth: int, sides: int
) -> None:
    rules = make(CROSSWISE)
    with contextlib.ExitStack() as stack:
        engines: list[Engine] = [stack.enter_context(Engine(None, limits={"one": 1})) for _ in range(sides)]
        turn = {f"{at}": iter([*range(at + 1, sides), *range(at)] * depth) for at in range(sides)}

        class Next:
            def __getitem__(self, name: str) -> Engine:
                found: Engine = engines[next(turn[name])]
                return found

        module: Any = rules.module
        module.OTHER, module.DEPTH, module.MET = Next(), depth, threading.Barrier(sides)
        asked = [partial(engines[at].get, rules.asks, f"{at}", depth) for at in range(sides)]
        assert together(*asked) == [depth + 1] * sides
        assert module.most <= sides
        assert all(engine._core.limits.is_free for engine in engines)
