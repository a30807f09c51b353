"""What a review found: races between threads, and definitions and arguments that were kept wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import Closed, DepthLimit, Engine, Query, each, input, keep, query, subscribe
from engine.request import demand
from tests.striking import strike
from tests.test_threads import run_all

SECONDS = 60.0  # longest wait before a test counts as hanging


@input
def cell(number: int) -> int:
    return number


@query
def ten(number: int) -> int:
    return cell(number) * 10


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None, workers=2, history=0) as engine:
        yield engine


# -- threads ---------------------------------------------------------------------------------------------


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "a thread hangs"
        time.sleep(0.001)


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


def test_set_beats_a_sync_that_was_looking_at_the_world(db: Engine) -> None:
    looking, go_on = threading.Event(), threading.Event()
    slow: list[bool] = []
    world = {"a": "disk"}

    @input(observed=True)
    def text(path: str) -> str:
        if slow:
            looking.set()
            go_on.wait(SECONDS)
        return world[path]

    @query
    def loud(path: str) -> str:
        return text(path) + "!"

    assert db.get(loud, "a") == "disk!"
    slow.append(True)
    world["a"] = "later"
    syncing = threading.Thread(target=db.sync)
    syncing.start()
    assert looking.wait(SECONDS)
    slow.clear()
    db.set(text.key("a"), "overlay")
    go_on.set()
    syncing.join(SECONDS)
    assert not syncing.is_alive()
    assert db.get(loud, "a") == "overlay!"
    db.reset(text.key("a"))
    assert db.get(loud, "a") == "later!"


def test_eq_may_not_read_and_counts_as_different(db: Engine) -> None:
    @query(eq=lambda old, new: abs(old - new) <= cell(1))
    def rough() -> int:
        return cell(0)

    @query
    def reader(number: int) -> int:
        return rough() + number

    def revise() -> list[int]:
        before = db.get(reader, 0)
        db.set(cell.key(0), 1)
        return [before, db.get(reader, 1), db.get(reader, 0)]

    assert run_all(revise) == [[0, 2, 1]]


def test_the_mark_of_an_interrupt_is_not_erased_by_another_thread(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = threading.Event(), threading.Event()

    @query
    def slow() -> int:
        running.set()
        go_on.wait(SECONDS)
        return 1

    @query
    def top() -> int:
        return ten(0)

    assert db.get(top) == 0
    db.set(cell.key(0), 5)
    other = threading.Thread(target=db.get, args=(slow,))
    other.start()
    assert running.wait(SECONDS)
    strike(monkeypatch, keep, "changed")
    with pytest.raises(KeyboardInterrupt):
        db.get(top)
    go_on.set()
    other.join(SECONDS)
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
    others[0].join(SECONDS)
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
                worker_may_start.wait(SECONDS)
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
            first_may_end.wait(SECONDS)
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
    assert first_runs.wait(SECONDS)
    db.set(cell.key(0), 5)
    armed.clear()
    worker_may_start.set()
    assert worker_ended.wait(SECONDS)
    first_may_end.set()
    asking.join(SECONDS)
    assert answers == [52]
    assert (db.get(top), db.get(member, 1)) == (52, 50)


def test_a_closed_engine_ends_what_runs_and_refuses_every_call(db: Engine) -> None:
    running, go_on = threading.Event(), threading.Event()
    ended: list[object] = []

    @query
    def slow() -> int:
        running.set()
        go_on.wait(SECONDS)
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
    assert running.wait(SECONDS)
    for thread in threads[1:]:
        thread.start()
    until(lambda: db._core.waiting)
    db.close()
    go_on.set()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert ended == [Closed] * 3
    assert (db._core.claims, db._core.waiting) == ({}, {})
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


# -- definitions, arguments and comparisons ------------------------------------------------------------


def test_eq_and_values_that_are_not_kept_make_no_revision(db: Engine) -> None:
    @query(eq=lambda old, new: old == new, persist=False)
    def passing() -> int:
        return cell(1)

    @query
    def top(number: int) -> int:
        return passing() + number

    assert db.get(top, 0) == 1
    revision = db.revision
    assert [db.get(top, number) for number in range(1, 6)] == [2, 3, 4, 5, 6]
    assert (db.revision, db.notes()) == (revision, ())


def test_a_subscription_follows_a_redefinition(db: Engine) -> None:
    def define(plus: int) -> Query[[], int]:
        @query(name="review:followed")
        def followed() -> int:
            return cell(0) + plus

        return followed

    told: list[object] = []
    db.subscribe(define(1), told.append)
    db.subscribe(cell.key(0), lambda value: told.append(("cell", value)))
    db.set(cell.key(0), 2)
    define(20)
    db.set(cell.key(0), 3)
    assert told == [3, ("cell", 2), 23, ("cell", 3)]


METHODS = """
    import sys
    from attrs import frozen
    from engine import Engine, input, query

    @input
    def factor() -> int:
        return 1

    @frozen
    class Config:
        size: int

        @query
        def area(self) -> int:
            return self.size * factor()

    @query
    def top() -> int:
        return Config(3).area()

    with Engine(sys.argv[1]) as db:
        if "listen" in sys.argv:
            db.listen(lambda event: None)
        db.set(factor.key(), int(sys.argv[2]))
        print(db.get(top), db.get(Config.area, Config(3)), *db.notes())
"""


@pytest.mark.parametrize("extra", [(), ("listen",)])
def test_a_method_of_a_frozen_class_runs_again_after_a_restart(
    tmp_path: Path, extra: tuple[str, ...]
) -> None:
    program = tmp_path / "methods.py"
    program.write_text(textwrap.dedent(METHODS))
    checkout = Path(engine.__file__).parent.parent

    def run(factor: int) -> str:
        command = [sys.executable, f"{program}", f"{tmp_path}/store", f"{factor}", *extra]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    assert [run(1), run(2)] == ["3 3\n", "6 6\n"]


def test_a_depth_limit_is_not_kept() -> None:
    @query
    def chain(number: int) -> int:
        return chain(number - 1) + 1 if number else 0

    with Engine(None, depth_limit=50) as db:
        with pytest.raises(DepthLimit):
            db.get(chain, 80)
        assert [db.get(chain, number) for number in (31, 40, 20, 79)] == [31, 40, 20, 79]


def test_a_query_may_be_named_like_a_builtin(db: Engine) -> None:
    @query
    def bytes(text: str) -> int:
        return len(text)

    @query
    def str(number: int) -> float:
        return number / 2

    assert (db.get(bytes, "abc"), db.get(str, 3)) == (3, 1.5)


def test_a_list_that_was_passed_may_be_changed_afterwards(db: Engine) -> None:
    @query
    def scaled(numbers: list[int]) -> int:
        return sum(numbers) * cell(1)

    numbers = [1, 2]
    assert db.get(scaled, numbers) == 3
    numbers.append(10)
    db.set(cell.key(1), 2)
    assert (db.get(scaled, [1, 2]), db.get(scaled, numbers)) == (6, 26)


def test_why_tells_a_reset_from_a_change_of_the_world(db: Engine) -> None:
    db.get(ten, 1)
    db.set(cell.key(1), 2)
    assert "set" in f"{db.why(cell, 1)}"
    db.reset(cell.key(1))
    assert db.get(ten, 1) == 10
    for asked in (cell.key(1), ten.key(1)):
        assert "given back to its function" in f"{db.why(asked)}"
