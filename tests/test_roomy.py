"""Calls below a large group are as cheap as anywhere: no loop of them asks the system for memory."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable

from engine import Engine, each, input, query
from engine.group import MANY

DEPTHS = 300  # frames of 100 bytes and more: several of the pieces that Python keeps frames in
CALLS = 400


def leaf(number: int) -> int:
    return number


def loop() -> int:
    """The page faults of a loop of calls."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for number in range(CALLS):
        leaf(number)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def deep(depth: int, work: Callable[[], int]) -> int:
    return max(deep(depth - 1, work), work()) if depth else work()


@query
def worst(member: int) -> int:
    """The most page faults of a loop of calls at any depth."""
    return deep(DEPTHS, loop) if member == 0 else 0


@query
def group() -> int:
    return max(each(worst, range(MANY)))


@query
def nested(level: int) -> int:
    return nested(level - 1) if level else group()


def test_no_loop_of_calls_in_a_large_group_asks_the_system_for_stack_at_any_depth() -> None:
    for level in (0, 5, 20):
        with Engine(None) as db:
            assert db.get(nested, level) < CALLS / 4


@input
def number() -> int:
    return 0


@query
def twice() -> int:
    return 2 * number()


def test_what_takes_little_asks_the_system_for_no_stack() -> None:
    """To set an input and get what reads it takes some 50 us, and would take half as much again."""
    faults: list[int] = []

    def many() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for one in range(CALLS):
            db.set(number.key(), one)
            assert db.get(twice) == 2 * one
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    with Engine(None) as db:
        db.set(number.key(), -1)
        assert db.get(twice) == -2
        thread = threading.Thread(target=many)  # far from the end of the first piece of its stack
        thread.start()
        thread.join()
    assert faults[0] < CALLS
