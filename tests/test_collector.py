"""While a request runs, Python looks for garbage less often; afterwards as often as the host wants it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import engine.collector as collector
from engine import Engine, query
from engine.collector import GARBAGE_AFTER
from tests.workers import Rules, make

Make = Callable[[str], Rules]
__all__ = ["make"]

HOST = (700, 9, 8)
RAISED = (GARBAGE_AFTER, 9, 8)
HERE = os.getpid()

WORKER = """
import gc

@query(workers="process")
def threshold(n: int) -> int:
    note(n)
    time.sleep(0.01)
    return gc.get_threshold()[0]

@query
def raised() -> tuple[int, ...]:
    return tuple(sorted(set(each(threshold, range(40)))))
"""

seen: list[tuple[int, int, int]] = []
inside: list[Callable[[], object]] = []


@query(name="collector:thresholds", untracked=True)
def thresholds() -> int:
    seen.append(gc.get_threshold())
    for call in inside:
        call()
    seen.append(gc.get_threshold())
    return len(seen)


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.enable()
    gc.set_threshold(*HOST)
    seen.clear()
    inside.clear()
    yield
    gc.set_threshold(*before)
    (gc.enable if enabled else gc.disable)()


def test_thresholds_are_raised_while_a_request_runs_and_at_no_other_time() -> None:
    with Engine(None) as db:
        assert gc.get_threshold() == HOST
        db.get(thresholds)
        assert gc.get_threshold() == HOST
        db.sync()
    assert seen == [RAISED, RAISED]
    assert gc.get_threshold() == HOST


def test_an_engine_can_be_told_to_leave_them_alone() -> None:
    with Engine(None, relax_collector=False) as db:
        db.get(thresholds)
        db.verify(thresholds)
    assert set(seen) == {HOST}


def test_a_verification_raises_them_too() -> None:
    with Engine(None) as db:
        db.verify(thresholds)
    assert set(seen) == {RAISED}
    assert gc.get_threshold() == HOST


def test_a_request_inside_another_engines_request_restores_nothing() -> None:
    with Engine(None) as outer, Engine(None) as inner:

        def once() -> None:
            inside.clear()
            inner.get(thresholds)

        inside.append(once)
        outer.get(thresholds)
    assert seen == [RAISED] * 4
    assert gc.get_threshold() == HOST


def test_of_requests_at_the_same_time_the_last_one_to_end_restores() -> None:
    begun, end = threading.Event(), threading.Event()

    def wait() -> None:
        inside.clear()
        begun.set()
        assert end.wait(120)

    inside.append(wait)
    with Engine(None) as slow, Engine(None) as quick:
        thread = threading.Thread(target=slow.get, args=(thresholds,))
        thread.start()
        assert begun.wait(120)
        quick.get(thresholds)
        assert gc.get_threshold() == RAISED
        end.set()
        thread.join()
    assert seen == [RAISED] * 4
    assert gc.get_threshold() == HOST


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_they_are_restored_however_a_request_ends(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("on purpose")

    inside.append(fail)
    with Engine(None) as db, pytest.raises(error):
        db.get(thresholds)
    assert seen == [RAISED]
    assert gc.get_threshold() == HOST


@pytest.mark.parametrize("chosen", [(0, 9, 8), (GARBAGE_AFTER, 1, 1), (GARBAGE_AFTER + 1, 9, 8)])
def test_a_host_with_thresholds_as_high_or_none_is_not_touched(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with Engine(None) as db:
        db.get(thresholds)
    assert seen == [chosen, chosen]
    assert gc.get_threshold() == chosen


def test_a_host_that_disabled_the_collector_is_not_touched() -> None:
    gc.disable()
    with Engine(None) as db:
        db.get(thresholds)
    assert seen == [HOST, HOST]
    assert not gc.isenabled()


def test_what_the_host_sets_meanwhile_stays() -> None:
    chosen = (1_000, 2, 3)
    inside.append(lambda: gc.set_threshold(*chosen))
    with Engine(None) as db:
        db.get(thresholds)
    assert gc.get_threshold() == chosen
    inside.clear()
    with Engine(None) as db:
        db.get(thresholds)
    assert seen == [RAISED, chosen, (GARBAGE_AFTER, 2, 3), (GARBAGE_AFTER, 2, 3)]
    assert gc.get_threshold() == chosen


def test_an_interrupt_at_any_line_is_made_good_by_the_next_request_at_the_latest() -> None:
    lines = struck = 0
    with Engine(None) as db:
        db.get(thresholds)
        while struck == lines:  # the next one, until a request has no more
            lines += 1
            left = [lines]

            def trace(frame: FrameType, event: str, argument: object, left: list[int] = left) -> Any:
                if frame.f_code.co_filename != collector.__file__:
                    return None
                left[0] -= event in ("call", "line")
                if left[0] == 0:
                    raise KeyboardInterrupt
                return trace

            before = sys.gettrace()
            sys.settrace(trace)
            try:
                db.sync()
            except KeyboardInterrupt:
                struck += 1
            finally:
                sys.settrace(before)
            # A tracer strikes after the body of `with` as well, before the lock is given back, where Python
            # delivers no signal. Left held, it would stop every other thread of the tests to come.
            with contextlib.suppress(RuntimeError):
                collector.lock.release()
            db.sync()
            assert gc.get_threshold() == HOST
    assert struck > 10


def test_a_forked_process_has_the_thresholds_of_its_host() -> None:
    def fork() -> None:
        child = os.fork()
        if not child:
            with Engine(None, relax_collector=False):
                os._exit(0 if gc.get_threshold() == HOST else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0

    inside.append(fork)
    with Engine(None) as db:
        db.get(thresholds)
    assert seen == [RAISED, RAISED]


def test_a_worker_process_has_them_raised_for_good(make: Make, tmp_path: Path) -> None:
    rules = make(WORKER)
    with Engine(tmp_path / "store", processes=2, relax_collector=False) as db:
        assert db.get(rules.raised) == (GARBAGE_AFTER,)
    assert HERE not in rules.noted()[1]
