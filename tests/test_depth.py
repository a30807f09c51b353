"""Depth is data: long chains verify, and too deep ones fail with a sentence."""

from __future__ import annotations

import sys
import threading

import pytest

from engine import CycleError, DepthLimit, Engine, input, query


@input
def bottom() -> int:
    return 0


@input
def other() -> int:
    return 0


@query
def link(number: int) -> int:
    return bottom() // 2 if number == 0 else link(number - 1)


@query
def recursing(depth: int) -> int:
    """Uses some 900 frames of Python's own recursion at the end of a chain of queries."""

    def down(rest: int) -> int:
        return other() if rest == 0 else down(rest - 1)

    return recursing(depth - 1) if depth else down(850)


def test_a_chain_of_100_000_is_built_in_parts_verified_and_rerun() -> None:
    with Engine(None) as db:
        for number in range(0, 100_000, 2_000):
            db.get(link, number)
        assert db.get(link, 99_999) == 0
        assert db.counts().executed == 100_000
        db.set(bottom.key(), 1)
        before = db.counts()
        assert db.get(link, 99_999) == 0
        assert (db.counts() - before).executed == 1
        db.set(bottom.key(), 4)
        before = db.counts()
        assert db.get(link, 99_999) == 2
        assert (db.counts() - before).executed == 100_000


def test_a_cold_chain_deeper_than_the_limit_fails_and_names_where() -> None:
    before = threading.active_count()  # of tests before this one, too
    with Engine(None, depth_limit=3_000) as db:
        with pytest.raises(DepthLimit, match=r"limit: 3000\n  key: .*link\(7000\)"):
            db.get(link, 10_000)
        assert db.get(link, 2_000) == 0
        assert threading.active_count() < before + 9


def test_the_recursion_limit_is_not_touched() -> None:
    before = sys.getrecursionlimit()
    with Engine(None) as db:
        db.get(link, 500)
    assert sys.getrecursionlimit() == before


def test_a_functions_own_recursion_does_not_depend_on_how_deep_it_is_called() -> None:
    with Engine(None) as db:
        assert [db.get(recursing, depth) for depth in (0, 10, 60, 63, 64)] == [0] * 5


def test_endless_recursion_of_a_function_is_its_own_error() -> None:
    @query
    def endless() -> int:
        def again() -> int:
            return again()

        return again()

    with Engine(None) as db, pytest.raises(RecursionError):
        db.get(endless)


def test_a_cycle_met_on_a_fresh_stack_is_not_hidden_by_catching_it() -> None:
    @query
    def loop() -> int:
        def down(rest: int) -> int:
            if rest:
                return down(rest - 1)
            try:
                return again()
            except CycleError:
                return 7

        return down(850)

    @query
    def again() -> int:
        return loop()

    @query
    def above(depth: int) -> int:
        return above(depth - 1) if depth else loop()

    with Engine(None) as db, pytest.raises(CycleError):
        db.get(above, 40)


def test_a_depth_limit_is_not_kept() -> None:
    @query
    def chain(number: int) -> int:
        return chain(number - 1) + 1 if number else 0

    with Engine(None, depth_limit=50) as db:
        with pytest.raises(DepthLimit):
            db.get(chain, 80)
        assert [db.get(chain, number) for number in (31, 40, 20, 79)] == [31, 40, 20, 79]
