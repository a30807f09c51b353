"""A limit counts the keys that a worker needs on the way to another one: they are the parent's to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.limited import together
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()

ALONE = """
def alone() -> None:
    mine = LOG.with_name("lock")
    if mine.exists():
        note("another one is there")
    mine.touch()
    time.sleep(0.005)
    mine.unlink(missing_ok=True)
"""
ON_THE_WAY = """
@query(limit="one")
def limited(n: int) -> int:
    note("limited")
    alone()
    return n * n

@query(workers="process")
def asking(n: int) -> int:
    note("asking")
    return limited(n) + 1

@query
def first() -> int:
    return sum(each(limited, range(12)))

@query
def total() -> int:
    return sum(each(asking, range(12)))
"""
TOGETHER = """
@query(batch=True, limit="one")
def limited(many: list[int]) -> list[int]:
    note("limited")
    alone()
    return [n * n for n in many]

@query(workers="process")
def asking(n: int) -> int:
    return sum(each(limited, (n, n + 1)))

@query
def total() -> int:
    return sum(each(asking, range(12)))
"""
WITHIN = """
@query(limit="one")
def limited(n: int) -> int:
    note("limited")
    return n * n

@query(workers="process", limit="one")
def asking(n: int) -> int:
    alone()
    return limited(n) + 1

@query
def total() -> int:
    return sum(each(asking, range(6)))
"""
THREADS = """
@query(workers="thread", limit="one")
def limited(n: int) -> int:
    return n * n

@query(workers="process")
def asking(n: int) -> int:
    return sum(each(limited, range(n, n + 24)))

@query
def first() -> int:
    return sum(each(limited, range(36)))

@query
def total() -> int:
    return sum(each(asking, range(12)))
"""
TOTAL = sum(n * n + 1 for n in range(12))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in a batch, so that both workers have work."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)


def test_a_limited_key_on_the_way_of_a_worker_runs_here(make: Make) -> None:
    rules = make(ALONE + ON_THE_WAY)
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.total) == TOTAL
        lines = rules.log.read_text().splitlines()
        assert [line for line in lines if line.startswith("limited")] == [f"limited {HERE}"] * 12
        assert not any(line.startswith("another") for line in lines)
        assert {line for line in lines if line.startswith("asking")} > {f"asking {HERE}"}, "some were tried"
        assert db._core.limits.is_free
        db.check_invariants()


def test_a_limited_key_that_is_known_here_is_told(make: Make, tmp_path: Path) -> None:
    rules = make(ALONE + ON_THE_WAY)
    with Engine(tmp_path / "store", processes=2, limits={"one": 1}) as db:
        assert db.get(rules.first) == TOTAL - 12
        rules.noted()
        assert db.get(rules.total) == TOTAL
        counts, pids = rules.noted()
        assert counts == {"asking": 12}
        assert HERE not in pids


def test_a_limit_that_the_engine_does_not_count_holds_nobody_up(make: Make) -> None:
    rules = make(ON_THE_WAY.replace("alone()", "pass"))
    with Engine(None, processes=2, limits={"another": 1}) as db:
        assert db.get(rules.total) == TOTAL
        assert HERE not in rules.noted()[1]


def test_a_group_of_limited_keys_on_the_way_is_one_call_here(make: Make) -> None:
    rules = make(ALONE + TOGETHER)
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.total) == sum(n * n + (n + 1) ** 2 for n in range(12))
        counts, pids = rules.noted()
        assert set(counts) == {"limited"}
        assert pids == {HERE}


def test_a_key_below_one_that_holds_the_limit_runs_within_it_in_a_worker_too(make: Make) -> None:
    rules = make(ALONE + WITHIN)
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.total) == sum(n * n + 1 for n in range(6))
        counts, pids = rules.noted()
        assert counts == {"limited": 6}
        assert HERE not in pids


def test_threads_of_a_worker_ask_one_after_another(make: Make) -> None:
    """They took each other's replies for their own, a wrong value, or halves of them, and waited for ever."""
    rules = make(THREADS)
    with Engine(None, processes=2, limits={"one": 4}) as db:
        assert db.get(rules.first) == sum(n * n for n in range(36))
        right = sum(sum(n * n for n in range(first, first + 24)) for first in range(12))
        assert together(lambda: db.get(rules.total)) == [right]
        db.check_invariants()


def test_a_key_that_a_worker_gives_back_is_given_back_though_its_query_caught_that(make: Make) -> None:
    """`except BaseException` made a value of it. Keys after it are not given back for that."""
    rules = make("""
@query(limit="one")
def limited() -> int:
    return 1

@query(workers="process")
def catches(n: int) -> int:
    note(n)
    try:
        return limited() if n == 0 else 0
    except BaseException:
        return -1

@query
def all_catch() -> int:
    return sum(each(catches, range(3)))
""")
    with Engine(None, processes=1, limits={"one": 1}) as db:
        assert db.get(rules.all_catch) == 1
        assert rules.noted()[0] == {"0": 2, "1": 1, "2": 1}
