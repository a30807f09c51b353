"""Queries run at the same time in processes and in threads, as far as a limit lets them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine import Engine, each, query
from tests.workers import Rules, make, others

__all__ = ["make", "others"]  # fixtures

Make = Callable[[str], Rules]


def test_a_limit_counts_the_keys_that_run_at_a_time(make: Make) -> None:
    rules = make("""
@query(workers="process", limit="one")
def alone(n: int) -> int:
    mine = LOG.with_name("lock")
    descriptor = os.open(mine, os.O_CREAT | os.O_EXCL)  # fails if another one is there
    time.sleep(0.01)
    os.close(descriptor)
    mine.unlink()
    return n

@query
def all_alone() -> tuple[int, ...]:
    return each(alone, range(12))
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.all_alone) == tuple(range(12))


def test_queries_that_wait_do_it_at_the_same_time() -> None:
    meeting = threading.Barrier(4, timeout=600)

    @query(name="workers:waits", workers="thread")
    def waits(n: int) -> int:
        meeting.wait()
        return n

    @query(name="workers:all_wait")
    def all_wait() -> tuple[int, ...]:
        return each(waits, range(8))

    with Engine(None) as db:
        assert db.get(all_wait) == tuple(range(8))
