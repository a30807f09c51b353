"""Threads that race leave no stale answer, lose no change, and wait for nobody in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Closed, Engine, each, keep, query, subscribe
from engine.request import demand
from tests.cells import cell, db, ten
from tests.patience import PATIENCE, until
from tests.striking import strike
from tests.threads import run_all

__all__ = ["db"]


def test_a_batch_is_of_the_thread_that_opened_it(db: Engine) -> None:
    db.get(ten, 0)

    def other() -> int:
        db.set(cell.key(1), 7)
        return db.get(ten, 1)

    def drop() -> None:
        with db.batch():
            db.set(cell.key(0), 5)
            assert run_all(other) == [70]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drop()
    assert (db.get(ten, 0), db.get(ten, 1)) == (0, 70)


def test_the_mark_of_an_interrupt_is_not_erased_by_another_thread(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = threading.Event(), threading.Event()

    @query
    def slow() -> int:
        running.set()
        go_on.wait(PATIENCE)
        return 1

    @query
    def top() -> int:
        return ten(0)

    assert db.get(top) == 0
    db.set(cell.key(0), 5)
    other = threading.Thread(target=db.get, args=(slow,))
    other.start()
    assert running.wait(PATIENCE)
    strike(monkeypatch, keep, "changed")
    with pytest.raises(KeyboardInterrupt):
        db.get(top)
    go_on.set()
    other.join(PATIENCE)
    assert not other.is_alive()
    assert (db.get(top), db.get(slow)) == (50, 1)
    db.check_invariants()


def test_a_request_that_lost_patience_may_look_at_the_world(tmp_path: Path) -> None:
    runs: list[int] = []
    with Engine(tmp_path / "store") as stored:

        @query
        def disturbed() -> int:
            before = cell(0)
            runs.append(1)
            if len(runs) <= 2:
                run_all(lambda: stored.set(cell.key(0), len(runs)))
            elif len(runs) == 3:
                run_all(stored.gc)
            return cell(0) + before

        assert run_all(lambda: stored.get(disturbed)) == [4]
    assert len(runs) == 4


def test_a_subscriber_hears_the_newest_value_last(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    others: list[threading.Thread] = []
    db.subscribe(ten.key(0), told.append)

    def raced(*args: Any) -> Any:
        value = demand(*args)
        if not others:  # the value is known and not told yet: another thread changes it
            revision = db.revision
            others.append(threading.Thread(target=db.set, args=(cell.key(0), 2)))
            others[0].start()
            until(lambda: db.revision > revision)
        return value

    monkeypatch.setattr(subscribe, "demand", raced)
    db.set(cell.key(0), 1)
    others[0].join(PATIENCE)
    assert not others[0].is_alive()
    assert told == [20]


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("engine"):
            tries.append(self.name)
            if len(tries) >= 2:
                raise RuntimeError("can't start new thread")
        start(self)

    @query
    def total() -> int:
        return sum(each(ten, range(10)))

    with Engine(None, workers=4) as db:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert run_all(lambda: db.get(total)) == [450]
        assert len(tries) >= 2
        db.set(cell.key(0), 1)
        assert db.get(total) == 460


def test_a_worker_of_an_outdated_request_leaves_no_stale_answer(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed: list[bool] = []
    first_runs, first_may_end, worker_may_start, worker_ended = (threading.Event() for _ in range(4))
    start = threading.Thread.start

    def late(self: threading.Thread) -> None:
        if self.name == "engine-worker" and armed:
            run = self.run

            def run_late() -> None:
                worker_may_start.wait(PATIENCE)
                run()
                worker_ended.set()

            monkeypatch.setattr(self, "run", run_late)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", late)

    @query
    def unmoved() -> bool:
        return cell(1) > 100

    @query
    def slow() -> int:
        value = cell(1)
        if armed:
            first_runs.set()
            first_may_end.wait(PATIENCE)
        return value

    @query
    def deep() -> int:
        return cell(0)

    @query
    def middle() -> int:
        return deep()

    @query
    def member(number: int) -> int:
        unmoved()
        return slow() if number == 0 else middle() * 10

    @query
    def top() -> int:
        return sum(each(member, [0, 1]))

    assert db.get(top) == 1
    db.set(cell.key(1), 2)
    armed.append(True)
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(db.get(top)))
    asking.start()
    assert first_runs.wait(PATIENCE)
    db.set(cell.key(0), 5)
    armed.clear()
    worker_may_start.set()
    assert worker_ended.wait(PATIENCE)
    first_may_end.set()
    asking.join(PATIENCE)
    assert answers == [52]
    assert (db.get(top), db.get(member, 1)) == (52, 50)


def test_a_closed_engine_ends_what_runs_and_refuses_every_call(db: Engine) -> None:
    running, go_on = threading.Event(), threading.Event()
    ended: list[object] = []

    @query
    def slow() -> int:
        running.set()
        go_on.wait(PATIENCE)
        return cell(0)

    @query
    def reader() -> int:
        return slow()

    def ask(asked: Any) -> None:
        try:
            db.get(asked)
        except Closed as error:
            ended.append(type(error))

    threads = [threading.Thread(target=ask, args=(asked,)) for asked in (slow, reader, slow)]
    threads[0].start()
    assert running.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    until(lambda: db._core.claims.waiting)
    db.close()
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert ended == [Closed] * 3
    assert (db._core.claims.held, db._core.claims.waiting) == ({}, {})
    refused: list[Callable[[], object]] = [
        lambda: db.get(slow),
        lambda: db.subscribe(slow, ended.append),
        lambda: db.forget("*"),
        lambda: db.set(cell.key(0), 1),
        lambda: db.why(slow),
        db.sync,
        db.gc,
    ]
    for call in refused:
        with pytest.raises(Closed):
            call()
