"""What a watch tells: an edit with exactly the keys that differ, in order, and once it is committed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine import Engine
from engine.rules.env import variable
from engine.rules.files import read_text
from engine.watch.events import Started
from tests.patience import PATIENCE, until
from tests.watch_queries import GATES, code, codes, root, slow
from tests.watch_world import key, save, text, tree, watching

__all__ = ["root"]  # a fixture


def test_an_edit_is_told_with_exactly_the_keys_that_differ(root: Path) -> None:
    with watching(root, codes) as (db, _, told):
        save(root / "a" / "one.txt", "x = 1\ny = 2\n")
        until(told.revised)
        assert told.names() == {"read_text('a/one.txt')", "code('a/one.txt')", "codes()"}
        event = told.revised()[0]
        assert event.revision == db.revision
        assert event.figures.executed == 2
        assert event.crawl == ""


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
