"""Who listens to a watch: each gets every event, may use the engine, may fail, and stops nobody."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Key
from engine.rules.files import read_text
from engine.watch.events import Revised, Skipped, Started, Stopped, Trouble
from engine.watch.update_scheduler import UpdateScheduler
from tests.patience import PATIENCE, until
from tests.watch_queries import codes, root
from tests.watch_world import save, text, tree, watching

__all__ = ["root"]  # a fixture


def test_every_consumer_gets_every_event_and_a_slow_one_stops_nobody(root: Path) -> None:
    gate = threading.Event()
    slow_values: list[Any] = []
    with watching(root, tree) as (db, watch, told):

        def be_slow(value: Any) -> None:
            gate.wait(PATIENCE)
            slow_values.append(value)

        watch.subscribe(tree, be_slow)
        others = [watch.events() for _ in range(3)]
        for number in range(5):
            save(root / "top.txt", f"{number}")
            until(lambda number: len(told.revised()) > number, "", number)
        gate.set()
        until(lambda: slow_values and slow_values[-1] == db.get(tree))
        for mailbox in others:  # each is told in its turn, maybe after `told`
            until(lambda mailbox: sum(isinstance(one, Revised) for one in mailbox._events) >= 5, "", mailbox)
            seen = [mailbox.get(1) for _ in range(mailbox.waiting())]
            assert isinstance(seen[0], Started)
            assert sum(isinstance(event, Revised) for event in seen) == 5


def test_a_consumer_that_never_reads_is_told_how_much_it_lost(root: Path) -> None:
    with watching(root, codes) as (_, watch, told):
        small = watch._subscribers.subscribe(limit=2)
        for number in range(6):
            save(root / "top.txt", "x\n" * (number + 3))
            until(lambda number: len(told.revised()) > number, "", number)
        watch.close()  # everybody was told then
        first, *rest = small
        assert isinstance(first, Skipped)
        assert first.events >= 4
        assert [type(event) for event in rest] == [Revised, Stopped]


def test_what_is_watched_may_become_more_while_a_pass_is_told(root: Path, monkeypatch: Any) -> None:
    healed = UpdateScheduler.healed
    with watching(root, tree) as (_, watch, told):

        def meanwhile(scheduler: Any, nodes: Any) -> None:
            passing = iter(nodes)
            first = next(passing)
            if isinstance(first, Key):  # and no input
                watch.add(text.key("b/two.txt"))  # another thread of the host, just then
            healed(scheduler, (first, *passing))

        monkeypatch.setattr(UpdateScheduler, "healed", meanwhile)
        save(root / "top.txt", "another text")
        until(lambda: "tree()" in told.names())
        assert not told.of(Trouble)


def test_callbacks_may_use_the_engine(root: Path) -> None:
    done: list[Any] = []
    with watching(root, tree) as (db, watch, _):

        def use(value: Any) -> None:
            db.sync()
            db.set(read_text.key("b/two.txt"), f"set in a callback {len(done)}")
            done.append(db.get(text, "b/two.txt"))
            if len(done) > 3:
                caller.close()

        caller = watch.subscribe(text.key("top.txt"), use)
        for number in range(4):
            save(root / "top.txt", f"{number}")
            until(lambda number: len(done) > number, "", number)
        assert done[0] == "set in a callback 0"
        assert db.get(text, "b/two.txt").startswith("set in a callback")


def test_subscribers_of_the_engine_are_called_by_the_watch(root: Path) -> None:
    heard: list[Any] = []
    with watching(root, tree) as (db, _, _), db.subscribe(text.key("b/two.txt"), heard.append):
        save(root / "b" / "new", "heard")
        (root / "b" / "new").rename(root / "b" / "two.txt")  # at once: no empty file is heard of
        until(lambda: heard == ["heard"])
        db.set(read_text.key("b/two.txt"), "heard too")
        until(lambda: heard == ["heard", "heard too"])


def test_an_engine_that_is_stopped_amid_callbacks_calls_no_more_and_says_nothing(root: Path) -> None:
    stopped: list[Any] = []
    never: list[Any] = []
    with watching(root, tree) as (db, watch, _):

        def stop(value: Any) -> None:
            db.stop()
            stopped.append(value)

        with db.subscribe(text.key("b/two.txt"), stop), db.subscribe(tree, never.append):
            db.set(read_text.key("b/two.txt"), "stop")
            until(lambda: stopped == ["stop"])
            until(lambda: not watch.active)
    assert never == []


def test_a_failing_callback_is_logged_and_called_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    called: list[Any] = []

    def fail(value: Any) -> None:
        called.append(value)
        raise ValueError("a bug of the host")

    with watching(root, tree) as (_, watch, _):
        watch.subscribe(text.key("top.txt"), fail)
        for number in range(2):
            save(root / "top.txt", f"{number}")
            until(lambda number: len(called) > number, "", number)
    assert "a bug of the host" in caplog.text


def test_a_key_is_watched_as_long_as_somebody_subscribes_to_it_or_the_host_asked_for_it(root: Path) -> None:
    one, two = text.key("top.txt"), text.key("b/two.txt")
    heard: list[Any] = []
    with watching(root, tree) as (_, watch, _):
        asked = tree.key()
        first, second = watch.subscribe(one, heard.append), watch.subscribe(one, heard.append)
        third, fourth = watch.subscribe(two, heard.append), watch.subscribe(tree, heard.append)
        assert set(watch.watched) == {asked, one, two}
        first.close()
        first.close()
        assert set(watch.watched) == {asked, one, two}
        watch.add(two)
        for caller in (second, third, fourth):
            caller.close()
        assert set(watch.watched) == {asked, two}
        save(root / "b" / "two.txt", "nobody listens")
        watch.sync()
    assert heard == []


def test_a_key_that_the_host_removes_is_watched_while_somebody_subscribes_to_it(root: Path) -> None:
    one = text.key("top.txt")
    with watching(root, tree) as (_, watch, _):
        caller = watch.subscribe(one, id)
        watch.add(one)
        watch.remove(one)
        assert one in watch.watched
        caller.close()
        assert one not in watch.watched


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_ends_its_thread_leaves_no_key_watched(root: Path) -> None:
    def end(value: Any) -> None:
        raise SystemExit(str(value))

    with watching(root, tree) as (_, watch, _):
        key = text.key("b/two.txt")
        watch.subscribe(key, end)
        assert key in watch.watched
        save(root / "b" / "two.txt", "the last that it hears of")
        until(lambda: key not in watch.watched, "it is watched for nobody")


def test_events_can_be_awaited(root: Path) -> None:
    async def consume(watch: Any) -> list[Any]:
        seen: list[Any] = []
        async for event in watch:
            seen.append(event)
            if isinstance(event, Started):
                save(root / "top.txt", "written in a coroutine")
            if isinstance(event, Revised):
                break
        return seen

    with Engine(None, root=root) as db, db.watch(tree) as watch:
        seen = asyncio.run(asyncio.wait_for(consume(watch), PATIENCE))
    assert isinstance(seen[-1], Revised)
