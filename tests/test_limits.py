"""A limit holds for an engine: for threads and processes together, whoever asks."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine import Engine, limits
from tests.limited import COUNTED, Make, together
from tests.workers import Rules, make, others

__all__ = ["make", "others"]

RULES = """
def alone() -> None:
    mine = LOG.with_name("lock")
    descriptor = os.open(mine, os.O_CREAT | os.O_EXCL)  # fails if another one is there
    time.sleep(0.003)
    os.close(descriptor)
    mine.unlink()

@query(workers="process", limit="one")
def there(n: int) -> int:
    note("there")
    alone()
    return n

@query(workers="thread", limit="one")
def here(n: int) -> int:
    note("here")
    alone()
    return n

@query(workers="thread", limit="one")
def other(n: int) -> int:
    alone()
    return n

@query(limit="one")
def single(n: int) -> int:
    alone()
    return n

@query
def processes() -> int:
    return sum(each(there, range(8)))

@query
def threads() -> int:
    return sum(each(here, range(8)))

@query
def others() -> int:
    return sum(each(other, range(8)))
"""


@pytest.fixture
def rules(make: Make) -> Rules:
    return make(RULES)


def test_threads_processes_and_keys_asked_for_alone_share_a_limit(rules: Rules) -> None:
    with Engine(None, processes=2, limits={"one": 1}) as db:
        found = together(
            lambda: db.get(rules.processes),
            lambda: db.get(rules.threads),
            lambda: db.get(rules.others),
            lambda: [db.get(rules.single, n) for n in range(8)],
        )
        assert found == [28, 28, 28, list(range(8))]
        counts, pids = rules.noted()
        assert counts == {"there": 8, "here": 8}
        assert os.getpid() in pids
        assert db._core.limits.is_free  # all was given back


def test_a_limit_holds_where_an_engine_is_verified(make: Make) -> None:
    rules = make(
        COUNTED
        + """
@query
def total() -> int:
    return sum(each(counted, range(8)))
"""
    )
    with Engine(None, limits={"one": 1}) as db:
        assert db.get(rules.total) == 28
        assert not db.verify().differences
        assert rules.module.most == 1


def test_a_batch_counts_once(make: Make, tmp_path: Path) -> None:
    rules = make(
        RULES
        + """
@query(batch=True, limit="one")
def many(numbers: list[int]) -> list[int]:
    note("many")
    alone()
    return numbers

@query
def all_many() -> int:
    return sum(each(many, range(20)))
"""
    )
    with Engine(None, limits={"one": 1}) as db:
        assert together(lambda: db.get(rules.all_many), lambda: db.get(rules.threads)) == [190, 28]
        assert rules.noted()[0]["many"] == 1


def test_an_interrupt_at_any_line_takes_no_place_for_good(make: Make) -> None:
    rules = make("""
@query(limit="one")
def below(n: int) -> int:
    return n

@query(workers="thread", limit="two")
def member(n: int) -> int:
    return below(n)

@query
def total() -> int:
    return sum(each(member, range(3)))
""")
    lines = struck = 0
    while struck == lines:  # the next one, until a request has no more
        lines += 1
        left = [lines]

        def trace(frame: FrameType, event: str, argument: object, left: list[int] = left) -> Any:
            if frame.f_code.co_filename != limits.__file__:
                return None
            left[0] -= event in ("call", "line")
            if left[0] == 0:
                raise KeyboardInterrupt
            return trace

        with Engine(None, limits={"one": 1, "two": 1}) as db:
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                db.get(rules.total)
            except KeyboardInterrupt:
                struck += 1
            finally:
                sys.settrace(before)
            # A tracer strikes where Python delivers no signal: before `with` gives the lock back.
            with contextlib.suppress(RuntimeError):
                while True:
                    db._core.lock.release()
            assert db._core.limits.is_free
            assert together(lambda: db.get(rules.total)) == [3]
            assert db.get(rules.total) == 3
            assert db._core.limits.is_free
    assert struck > 100
