"""Queries run at the same time in processes and in threads, as far as a limit lets them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine import Engine, each, query
from tests.patience import until
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


def test_groups_within_groups_share_their_threads() -> None:
    """Each of them had sixteen of its own: walks of trees had thousands."""
    most: list[int] = []

    @query(name="workers:walk", workers="thread")
    def walk(path: tuple[int, ...]) -> int:
        time.sleep(0.001)
        most.append(sum(thread.name == "engine-worker" for thread in threading.enumerate()))
        return 1 + (sum(each(walk, [(*path, n) for n in range(6)])) if len(path) < 3 else 0)

    with Engine(None) as db:
        assert db.get(walk, ()) == 1 + 6 + 36 + 216
        assert 8 < max(most) <= 16


def test_who_computes_what_all_threads_wait_for_has_help() -> None:
    meeting = threading.Barrier(4, timeout=600)

    @query(name="workers:leaf", workers="thread")
    def leaf(n: int) -> int:
        meeting.wait()
        return n

    @query(name="workers:hub")
    def hub() -> int:
        until(lambda: sum(map(len, db._core.claims.waiting.values())) == 15)
        return sum(each(leaf, range(8)))

    @query(name="workers:member", workers="thread")
    def member(n: int) -> int:
        return hub() + n

    @query(name="workers:all_members")
    def all_members() -> int:
        return sum(each(member, range(16)))

    with Engine(None) as db:
        assert db.get(all_members) == 16 * 28 + 120


def test_a_group_that_found_all_threads_taken_gets_those_that_others_are_done_with() -> None:
    """It went on with the one thread that it began with: a second for each of its keys, not for sixteen."""
    begun, done, meeting = threading.Event(), threading.Event(), threading.Barrier(4, timeout=60)

    def helpers() -> int:
        return sum(thread.name == "engine-worker" for thread in threading.enumerate())

    @query(name="workers:waiting_leaf", workers="thread")
    def leaf(key: tuple[int, int]) -> int:
        if key[0] == 0:
            begun.wait(600)
        elif key[1] == 0:
            begun.set()
            until(lambda: done.is_set() and helpers() <= 1)
        else:
            meeting.wait()
        return 1

    @query(name="workers:branch", workers="thread")
    def branch(n: int) -> int:
        if n == 1:
            until(lambda: helpers() == 15)
        found = sum(each(leaf, [(n, at) for at in range(9 + 20 * (1 - n))]))
        if n == 0:
            done.set()
        return found

    @query(name="workers:both_branches")
    def both() -> int:
        return sum(each(branch, range(2)))

    with Engine(None) as db:
        assert db.get(both) == 38
