"""Calls are as cheap deep in a request as they are anywhere: no loop of them asks the system for memory."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable

from engine import Engine, input, query

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
def worst() -> int:
    """The most page faults of a loop of calls at any depth."""
    return deep(DEPTHS, loop)


@query
def nested(level: int) -> int:
    return max(nested(level - 1), loop()) if level else worst()


def test_no_loop_of_calls_asks_the_system_for_stack_at_any_depth() -> None:
    with Engine(None) as db:
        assert db.get(worst) < CALLS / 4
        assert db.get(nested, 20) < CALLS / 4


@input
def number() -> int:
    return 0


def test_to_set_an_input_asks_the_system_for_no_stack() -> None:
    """It takes some 20 us, and would take as much again each time."""
    faults: list[int] = []

    def many() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for one in range(CALLS):
            db.set(number.key(), one)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    with Engine(None) as db:
        db.set(number.key(), -1)
        thread = threading.Thread(target=many)  # far from the end of the first piece of its stack
        thread.start()
        thread.join()
    assert faults[0] < CALLS
