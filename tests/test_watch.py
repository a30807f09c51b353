"""Watch from end to end: values, events, consumers, cookies, failures, ends, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, query
from engine.errors import BadSettings, Closed, EngineError
from engine.rules.env import variable
from engine.rules.files import read_bytes, read_text
from engine.watch import catch_up, update_scheduler
from engine.watch.events import Failed, Revised, Skipped, Started, Stopped, Trouble
from tests.scripted import ByHand, Script, spoiled
from tests.watch_world import (
    PATIENCE,
    answers,
    key,
    planted,
    probes,
    save,
    size_of,
    text,
    tree,
    truth,
    until,
    until_equal,
    watching,
)

TROUBLE: dict[str, int] = {}  # path -> how often reading it fails
GATES: dict[str, threading.Event] = {}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    TROUBLE.clear()
    GATES.clear()
    return planted(tmp_path / "root")


@query
def code(path: str) -> tuple[str, ...]:
    """The lines of a file that are no comments."""
    return tuple(line for line in read_text(path).splitlines() if not line.startswith("#"))


@query
def codes() -> int:
    return sum(len(code(path)) for path in ("a/one.txt", "top.txt"))


@query
def shaky(path: str) -> str:
    """Fails as often as the test wants."""
    found = read_text(path)
    if TROUBLE.get(path, 0) > 0:
        TROUBLE[path] -= 1
        raise OSError("the disk did not answer")
    return found


@query
def slow(path: str) -> str:
    """Takes until its gate is opened."""
    found = read_text(path)
    GATES["reached"].set()
    GATES["open"].wait(PATIENCE)
    read_bytes(path)
    return found


# -- what is told ----------------------------------------------------------------------------------


def test_an_edit_is_told_with_exactly_the_keys_that_differ(root: Path) -> None:
    with watching(root, codes) as (db, _, told):
        save(root / "a" / "one.txt", "x = 1\ny = 2\n")
        until(told.revised)
        assert told.names() == {"read_text('a/one.txt')", "code('a/one.txt')", "codes()"}
        event = told.revised()[0]
        assert event.revision == db.revision
        assert event.figures.executed == 2


def test_what_was_read_before_it_was_watched_is_looked_at_again_before_the_watch_is_live(root: Path) -> None:
    with watching(root, codes) as (db, _, _):
        assert db.counts().stamped == 2  # else the first save would have to wait for it


def test_what_changed_between_its_first_read_and_its_watch_is_right_when_it_is_live(
    root: Path,
) -> None:
    def change() -> None:
        GATES["reached"].wait(PATIENCE)
        save(root / "top.txt", "another text")
        GATES["open"].set()

    GATES["reached"], GATES["open"] = threading.Event(), threading.Event()
    other = threading.Thread(target=change)
    other.start()
    with watching(root, key(slow, "top.txt")) as (db, _, told):
        other.join()
        assert db.get(slow, "top.txt") == "another text"
        assert not told.revised()


def test_a_comment_stops_at_the_first_query(root: Path) -> None:
    save(root / "a" / "one.txt", "x = 1\n")
    with watching(root, codes) as (_, _, told):
        save(root / "a" / "one.txt", "# a comment\nx = 1\n")
        until(told.revised)
        assert told.names() == {"read_text('a/one.txt')"}
        figures = told.revised()[0].figures
        assert (figures.executed, figures.cut_off) == (1, 1)


def test_what_no_query_reads_makes_no_revision(root: Path) -> None:
    with watching(root, codes) as (db, watch, told):
        before = db.revision
        save(root / "b" / "two.txt", "nobody reads this")
        save(root / "b" / "new.txt", "nor this")
        watch.sync()
        os.utime(root / "a" / "one.txt")
        watch.sync()
        assert db.revision == before
        assert not told.revised()


def test_revisions_are_told_in_order_and_without_gaps(root: Path) -> None:
    with watching(root, codes) as (db, watch, told):
        for number in range(10):
            save(root / "top.txt", "x\n" * number)
            watch.sync()
            until(lambda: told.revised() and told.revised()[-1].revision == db.revision)
        events = told.revised()
        last = told.of(Started)[0].revision
        for event in events:
            assert event.since == last
            assert event.revision > last
            last = event.revision


def test_what_is_told_is_committed(root: Path, tmp_path: Path) -> None:
    with watching(root, codes, store=tmp_path / "store") as (_, _, told):
        for number in range(5):
            save(root / "top.txt", "x\n" * number)
            until(lambda number: len(told.revised()) > number, "", number)
            with Engine(tmp_path / "store", root=root, read_only=True) as other:
                assert other.revision >= told.revised()[-1].revision


def test_what_is_asked_for_the_first_time_is_no_news(root: Path) -> None:
    with watching(root, codes) as (db, watch, told):
        db.get(tree)
        watch.nudge()
        save(root / "top.txt", "changed")
        until(told.revised)
        assert [event.revision for event in told.revised()] == [db.revision]
        assert "code('top.txt')" in told.names()


def test_files_that_are_asked_for_later_are_watched(root: Path) -> None:
    with watching(root, codes) as (db, watch, told):
        watch.add(key(text, "b/two.txt"))
        until(lambda: "text('b/two.txt')" in told.names())
        told.clear()
        save(root / "b" / "two.txt", "now it matters")
        until(lambda: "text('b/two.txt')" in told.names())
        watch.remove(key(text, "b/two.txt"))
        assert db.get(text, "b/two.txt") == "now it matters"


def test_files_that_only_get_asked_for_are_right_without_a_sync(root: Path) -> None:
    with watching(root, codes) as (db, _, _):
        assert db.get(text, "b/two.txt") == "b/two.txt at first"
        assert db.get(text, "ignored/x.txt") == "ignored/x.txt at first"
        until(lambda: db._watch is not None and db._watch.files.backend.covers(str(root / "ignored")))
        save(root / "b" / "two.txt", "two")
        save(root / "ignored" / "x.txt", "x")
        until(lambda: db.get(text, "b/two.txt") == "two" and db.get(text, "ignored/x.txt") == "x")


def test_what_the_host_sets_is_told_too(root: Path) -> None:
    with watching(root, codes) as (db, _, told):
        db.set(read_text.key("top.txt"), "an unsaved buffer\nof two lines")
        until(lambda: "codes()" in told.names())
        save(root / "top.txt", "saved, but the buffer beats it")
        db.sync()
        assert db.get(code, "top.txt") == ("an unsaved buffer", "of two lines")
        db.reset(read_text.key("top.txt"))
        until(lambda: db.get(code, "top.txt") == ("saved, but the buffer beats it",))


def test_inputs_that_are_no_files_are_looked_at_every_second(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCH_TEST", "one")
    with watching(root, variable.key("WATCH_TEST"), poll_seconds=0.05) as (db, watch, _):
        monkeypatch.setenv("WATCH_TEST", "two")
        until(lambda: db.get(variable, "WATCH_TEST") == "two")
        monkeypatch.setenv("WATCH_TEST", "three")
        watch.sync()
        assert db.get(variable, "WATCH_TEST") == "three"


# -- consumers -------------------------------------------------------------------------------------


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


# -- cookies ---------------------------------------------------------------------------------------


def test_a_removed_directory_of_cookies_costs_a_crawl(root: Path, tmp_path: Path) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, told):
        for number in range(2):
            shutil.rmtree(watch._cookies.directory)
            save(root / "top.txt", f"{number}")
            db.sync()
            assert db.get(text, "top.txt") == f"{number}"
            until(lambda: watch.files.why_not_to_rely_on_events() == "", "the watch is made anew")
        assert any("cookie" in reason for reason in told.reasons())


def test_a_removed_directory_of_cookies_is_noticed_at_once_and_new_directories_are_watched(
    root: Path, tmp_path: Path
) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, told):
        before = watch._cookies.directory
        shutil.rmtree(before)
        until(lambda: os.path.isdir(watch._cookies.directory) and watch._cookies.directory != before)
        until(lambda: watch.files.state == "live" and watch.files.why_not_to_rely_on_events() == "")
        (root / "new").mkdir()
        save(root / "new" / "one.txt", "one")
        db.sync()
        assert answers(db) == truth(root)
        until(lambda: watch.files.backend.covers(str(root / "new")))
        assert not any("failed" in reason for reason in told.reasons())


def test_strange_files_among_the_cookies_mean_nothing(root: Path, tmp_path: Path) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, _):
        place = Path(watch._cookies.directory)
        (place / "999999").write_text("not ours")
        (place / "directory").mkdir()
        save(root / "top.txt", "as usual")
        db.sync()
        assert db.get(text, "top.txt") == "as usual"
    assert not place.exists()


def test_a_late_cookie_is_a_crawl(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "COOKIE_SECONDS", 0.1)
    with watching(root, backend=spoiled(Script(1, drop=1.0))) as (db, _, told):

        def late() -> bool:
            save(root / "top.txt", f"told by nobody at {time.monotonic()}")
            db.sync()
            assert answers(db) == truth(root)
            return any("cookie was late" in reason for reason in told.reasons())

        until(late)  # a machine that stops for a moment is a reason for a crawl, too


def test_cookies_of_a_watch_that_was_killed_are_removed(root: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "store", root=root) as db:
        db.get(tree)
        left = tmp_path / "store" / "cookies-old"
        left.mkdir()
        (left / "7").write_text("")
        with db.watch(tree) as watch:
            assert watch.wait_until_ready(PATIENCE)
            assert not left.exists()


# -- failures --------------------------------------------------------------------------------------


def test_one_failing_file_stops_no_other(root: Path) -> None:
    watched = [key(size_of, path) for path in ("a/one.txt", "b/two.txt", "top.txt")]
    with watching(root, *watched) as (db, watch, told):
        (root / "a" / "one.txt").unlink()
        save(root / "top.txt", "changed in the same batch")
        until(lambda: "size_of('top.txt')" in told.names())
        failed = "size_of('a/one.txt')"  # told with it, or in the next event: two saves may be two batches
        until(lambda: [one for event in told.revised() for one in event.failures if failed in one.key])
        assert all(one.watched for event in told.revised() for one in event.failures if failed in one.key)
        save(root / "b" / "two.txt", "later")
        until(lambda: "size_of('b/two.txt')" in told.names())
        save(root / "a" / "one.txt", "back")
        until(lambda: not watch.failing)
        assert db.get(size_of, "a/one.txt") == 4


def test_a_transient_failure_is_tried_again_and_heals(root: Path) -> None:
    TROUBLE["top.txt"] = 3
    with watching(root, key(shaky, "top.txt"), key(shaky, "b/two.txt")) as (db, watch, told):
        assert told.of(Started)[0].failures[0].again_in > 0
        until(lambda: not watch.failing, "it heals by itself")
        assert db.get(shaky, "top.txt") == "top.txt at first"
        assert TROUBLE["top.txt"] == 0
        assert not told.of(Trouble)


def test_what_fails_for_ever_is_given_up_and_heals_at_the_next_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([0.01] * 3)
    monkeypatch.setattr(update_scheduler._Retry, "next_wait", lambda self: next(waits, None))
    TROUBLE["top.txt"] = 1_000_000
    with watching(root, key(shaky, "top.txt")) as (db, watch, told):
        trouble = until(lambda: told.of(Trouble), "it is given up")
        assert trouble[0].gave_up
        assert "shaky" in trouble[0].place
        TROUBLE.clear()
        save(root / "top.txt", "the next change")
        until(lambda: not watch.failing)
        assert db.get(shaky, "top.txt") == "the next change"


def test_a_retry_that_is_due_during_a_crawl_is_not_forgotten(root: Path) -> None:
    TROUBLE["top.txt"] = 4
    with watching(root, key(shaky, "top.txt")) as (_, watch, _):
        for _ in range(1_000):
            if not watch.failing:
                break
            watch.sync(crawl=True)
            time.sleep(0.005)
        assert not watch.failing


def test_a_bug_in_one_part_is_told_and_the_watch_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(root) as (db, watch, told):
        right = watch.files.nodes_of
        bugs = iter([ValueError("a bug of ours")])

        def nodes_of(paths: Any) -> Any:
            for bug in bugs:
                raise bug
            return right(paths)

        monkeypatch.setattr(watch.files, "nodes_of", nodes_of)
        save(root / "top.txt", "in spite of it")
        until_equal(db, root)  # a request looks at the file itself, perhaps before the watch is told
        until(lambda: any("a bug of ours" in event.cause for event in told.of(Trouble)))
        save(root / "top.txt", "and afterwards")
        db.sync()
        assert answers(db) == truth(root)


# -- cancelling ------------------------------------------------------------------------------------


def gated() -> None:
    GATES.update(reached=threading.Event(), open=threading.Event())


def test_a_batch_during_a_long_query_cancels_what_it_makes_outdated(root: Path) -> None:
    gated()
    GATES["open"].set()
    with watching(root, key(slow, "top.txt"), tree) as (db, watch, _):
        gated()
        before = db.revision
        save(root / "top.txt", "first")
        assert GATES["reached"].wait(PATIENCE)
        save(root / "top.txt", "second")
        watch.sync()
        assert db.revision >= before + 2, "inputs do not wait for keys"
        GATES["open"].set()
        until(lambda: db.get(slow, "top.txt") == "second")


@pytest.mark.parametrize("how", ["the watch", "the engine", "another thread"])
def test_it_can_be_closed_during_a_long_query(root: Path, tmp_path: Path, how: str) -> None:
    gated()
    db = Engine(tmp_path / "store", root=root)
    watch = db.watch(key(slow, "top.txt"), tree)
    watch.start()
    told = watch.events()
    assert GATES["reached"].wait(PATIENCE)
    closer: Callable[[], None] = watch.close if how != "the engine" else db.close
    if how == "another thread":
        thread = threading.Thread(target=closer)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    else:
        closer()
    assert watch.ended
    GATES["open"].set()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-watch")])
    db.close()
    last = [told.get(1) for _ in range(told.waiting())][-1]
    assert isinstance(last, Stopped)
    with Engine(tmp_path / "store", root=root) as again:
        assert again.get(tree) == truth(root)["tree"]


# -- ends ------------------------------------------------------------------------------------------


def test_it_can_be_closed_from_a_callback(root: Path) -> None:
    with Engine(None, root=root) as db:
        watch = db.watch(tree)
        watch.subscribe(text.key("top.txt"), lambda value: watch.close("seen enough"))
        assert watch.wait_until_ready(PATIENCE)
        save(root / "top.txt", "the end")
        until(lambda: watch.ended == "seen enough")
        until(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-watch")])
        assert db.sync() == 0
        assert db.get(text, "top.txt") == "the end"


def test_who_waits_in_a_sync_while_it_ends_is_let_go(root: Path) -> None:
    hand = ByHand()  # its cookies never come
    with watching(root, backend=hand) as (_, watch, _):
        raised: list[BaseException] = []

        def sync() -> None:
            try:
                watch.sync()
            except EngineError as error:
                raised.append(error)

        threads = [threading.Thread(target=sync) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        watch.close()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert all(isinstance(error, Closed) for error in raised)


def test_closing_twice_and_iterating_afterwards_is_fine(root: Path) -> None:
    with Engine(None, root=root) as db:
        watch = db.watch(tree)
        watch.start()
        watch.close()
        watch.close()
        assert [type(event) for event in watch][-1] is Stopped
        assert db.get(tree) == truth(root)["tree"]
        assert db.sync() == 0


def test_one_watch_at_a_time(root: Path) -> None:
    with watching(root) as (db, watch, _):
        with pytest.raises(BadSettings):
            db.watch(tree)
        watch.close()
        with db.watch(probes) as second:
            assert second.wait_until_ready(PATIENCE)


@pytest.mark.parametrize("options", [{"audit_seconds": 0}, {"poll_seconds": -1}])
def test_settings_that_make_no_sense_are_refused(root: Path, options: Any) -> None:
    with Engine(None, root=root) as db, pytest.raises(BadSettings):
        db.watch(tree, **options)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def inotify_instances() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += "inotify" in os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
    return found


def test_watches_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "store", root=root) as db:

        def once(ready: bool) -> None:
            with db.watch(tree) as watch:
                if ready:
                    assert watch.wait_until_ready(PATIENCE)
            del watch

        once(True)
        until(lambda: inotify_instances() == 0)
        gc.collect()
        before = descriptors(), threading.active_count()
        for number in range(50):
            once(number % 2 == 0)
        gc.collect()
        until(lambda: threading.active_count() <= before[1])
        until(lambda: descriptors() <= before[0])  # fewer: what tests before this one left is gone by now
        until(lambda: inotify_instances() == 0)
        assert not list((tmp_path / "store").glob("cookies-*"))


def test_many_new_directories_leave_two_watches(root: Path) -> None:
    with watching(root) as (db, _, _):
        for number in range(20):
            (root / f"n{number}").mkdir()
            (root / f"n{number}" / "x.txt").write_text("x")
            db.sync()
            db.get(tree)
        until_equal(db, root)
        until(lambda: inotify_instances() <= 2)


def test_a_store_goes_on_from_watch_to_watch(root: Path, tmp_path: Path) -> None:
    revisions = []
    for number in range(4):
        with watching(root, store=tmp_path / "store") as (db, _, told):
            assert answers(db) == truth(root)
            save(root / "top.txt", f"watched {number}")
            until(told.revised)
            assert answers(db) == truth(root)
            revisions.append(db.revision)
        save(root / "b" / "two.txt", f"not watched {number}")
    assert revisions == sorted(set(revisions))
    assert Failed("x", "y").again_in == 0.0
