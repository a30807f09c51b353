"""What a hit costs, against `functools.cache`: inside a running query, and from outside.

Loops of `timeit`, which switches the collector off; the cost of the empty loop is subtracted from both.
"""

from __future__ import annotations

import functools
import time
import timeit
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import Figure, Scale, interleaved
from engine import Engine, query

CALLS = 50_000


@query
def no_argument() -> str:
    return "value"


@query
def one_str(path: str) -> str:
    return path


@query
def two_str(path: str, name: str) -> str:
    return path


@query
def one_int(number: int) -> str:
    return "value"


@query
def one_float(number: float) -> str:
    return "value"


@query
def a_list(path: str) -> list[str]:
    return [path] * 10


# What is called, with which arguments; the goal holds for the kinds of arguments that have a short key.
INSIDE: dict[str, tuple[Any, str, str, bool]] = {
    "no_arg": (no_argument, "()", "no argument", True),
    "one_str": (one_str, "('pkg/module.py')", "one str", True),
    "two_str": (two_str, "('pkg/module.py', 'name')", "two str", True),
    "one_int": (one_int, "(12345)", "one int", True),
    "one_float": (one_float, "(1.5)", "one float (canonical key)", False),
    "a_list": (a_list, "('pkg/module.py')", "one str, a list of 10 (a copy each)", False),
}


def timed(statement: str, called: Any, calls: int) -> float:
    return timeit.Timer(statement, timer=time.process_time, globals={"call": called}).timeit(calls) / calls


@query(code="none", persist=False)
def inside(case: str, calls: int, run: int) -> float:
    """Seconds a call takes while a query is running: this one. `run` makes it another key every time."""
    called, arguments, _, _ = INSIDE[case]
    statement = f"call{arguments}"
    timed(statement, called, 1)  # the first call is no hit
    return timed(statement, called, calls)


def measure(scale: Scale) -> Iterator[Figure]:
    calls = scale.size(CALLS)
    with Engine(None) as db:
        cases: dict[str, Callable[[], float]] = {"loop": lambda: timed("pass", None, calls)}
        for case, (called, arguments, _, _) in INSIDE.items():
            cached = functools.cache(called.__wrapped__)
            cases[f"{case} cache"] = functools.partial(timed, f"call{arguments}", cached, calls)
            cases[case] = functools.partial(_inside, db, case, calls, iter(range(10**9)))
        db.get(one_str, "pkg/module.py")
        key = one_str.key("pkg/module.py")
        cases["get"] = lambda: timed("call[0](call[1], 'pkg/module.py')", (db.get, one_str), calls // 10)
        cases["get key"] = lambda: timed("call[0](call[1])", (db.get, key), calls // 10)
        found = interleaved(cases, scale.runs * 3, collector=False)
    for case, (_, _, shown, has_goal) in INSIDE.items():
        yield found.figure(
            case, f"nested call, {shown}", "ns", less="loop", limit=f"{case} cache", shown="functools.cache",
            goal=5 if has_goal else None, goal_is_ratio=True,
        )  # fmt: skip
    for case, shown in (("get", "Engine.get(query, argument)"), ("get key", "Engine.get(key)")):
        yield found.figure(
            case, f"from outside, {shown}", "ns", less="loop", limit="one_str cache", shown="functools.cache"
        )


def _inside(db: Engine, case: str, calls: int, run: Iterator[int]) -> float:
    return db.get(inside, case, calls, next(run))
