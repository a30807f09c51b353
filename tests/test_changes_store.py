"""Consumers go on over restarts, tables and stores that are made anew, and a full disk: one claim a test."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import engine.tables.log
from engine import Engine, StoreFull, table
from engine.tables.changes import LATE
from tests.following import (
    Mirror,
    Note,
    brief,
    cell,
    drop,
    keys,
    log_size,
    notes,
    put,
    refused,
    rows_of,
    told,
    total,
)

# -- restarts ------------------------------------------------------------------------------------


def test_a_restart_tells_a_consumer_what_it_has_not_acknowledged(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        put(db, a=2)
        assert brief(next(iter(feed))) == ("", ["a2"], ["a1"])
    with Engine(tmp_path / "store") as db:
        feed = db.changes(notes, since="one")
        assert told(feed) == [("", ["a2"], ["a1"])]
        put(db, a=3)
        assert told(feed) == [("", ["a3"], ["a2"])]
    with Engine(tmp_path / "store") as db:
        assert told(db.changes(notes, since="one")) == []


def test_an_edit_that_only_the_next_process_looks_at_is_told_by_it(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        list(db.changes(notes, since="one"))
        put(db, a=2)
    with Engine(tmp_path / "store") as db:
        assert told(db.changes(notes, since="one")) == [("", ["a2"], ["a1"])]


def test_numbers_of_entries_that_were_never_written_are_not_given_twice(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        assert db.store is not None
        with mock.patch.object(type(db.store), "write", side_effect=StoreFull()):
            put(db, a=2)
            with pytest.raises(StoreFull):
                feed.close()
        assert told(db.changes(notes, since="late")) == [("reset", ["a2"], [])]
    with Engine(tmp_path / "store") as db:
        put(db, a=3)
        assert told(db.changes(notes, since="late")) == [("", ["a3"], ["a2"])]


def test_after_gc_consumers_go_on_where_they_were(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=1)
        feed = db.changes(notes, since="one")
        value = db.changes(total, since="one")
        assert len(list(feed)) == len(list(value)) == 1
        put(db, a=5)
        drop(db, "b")
        db.get(total)
        db.gc()
        assert told(feed) == [("", ["a5"], ["a1", "b1"])]
        assert [new.value for new in value] == [5]
        db.gc()
    with Engine(tmp_path / "store") as db:
        assert told(db.changes(notes, since="one")) == []
        assert list(db.changes(total, since="one")) == []


# -- tables made anew ----------------------------------------------------------------------------


def shaped(version: int) -> Any:
    """A table of which there are versions."""

    @table(each=keys, index=("number",) if version else (), name="changes:shaped", identity=("key",))
    def shaped(key: str) -> Iterable[Note]:
        return [Note(key, cell(key))]

    return shaped


def test_a_table_of_another_shape_gives_its_consumers_all_rows_once_more(tmp_path: Path) -> None:
    old = shaped(0)
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        names = ["plain", "position", "unacknowledged"]
        deltas = {name: next(iter(db.changes(old, since=name))) for name in names}
        for name in names[:2]:
            db.changes(old, since=name).acknowledge(deltas[name])
    new = shaped(1)
    with Engine(tmp_path / "store") as db:
        feeds = {
            name: db.changes(new, since=name, after=None if name == "plain" else deltas[name].position)
            for name in names
        }
        for name in names:
            delta = next(iter(feeds[name]))
            assert (name, brief(delta)) == (name, ("reset", ["a1"], []))
            again = db.changes(new, since=name, after=deltas[name].position)
            assert told(again) == [("reset", ["a1"], [])], "a position of before says nothing"
            assert refused(db, new, deltas[name].position, name)[0].startswith("it goes backwards")
        put(db, a=2)
        for name in names:
            assert told(db.changes(new, since=name)) == [("", [], [], ["a1>2"])]


def test_building_anew_writes_no_log_for_consumers_that_get_all_rows_anyway(tmp_path: Path) -> None:
    old = shaped(0)
    with Engine(tmp_path / "store") as db:
        put(db, **{f"k{n}": n for n in range(50)})
        list(db.changes(old, since="one"))
    new = shaped(1)
    with Engine(tmp_path / "store") as db:
        db.get(new.count)
        assert log_size(db, new) == 0
        (delta,) = db.changes(new, since="one")
        assert (delta.reset, len(delta.added)) == (True, 100 // 2)


def test_a_damaged_store_that_was_set_aside_resets_its_consumers(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        (delta,) = db.changes(notes, since="one")
        put(db, a=2)
        db.get(notes.where)
    damage(tmp_path / "store")
    with Engine(tmp_path / "store") as db:
        feed = db.changes(notes, since="one")
        deltas = list(feed)
        assert db.notes(), "it is said that the store was set aside"
        assert [one.reset for one in deltas] == [True]
        assert set(deltas[0].added) == rows_of(db)
        assert refused(db, notes, delta.position)[0] == "it is of another store, or of another consumer"


def damage(directory: Path) -> None:
    """Change an entry of the log so that it does not fit its checksum."""
    with closing(sqlite3.connect(directory / "store.db")) as connection:
        assert connection.execute("UPDATE change SET data = data || x'00'").rowcount > 0
        connection.commit()


def test_a_store_that_is_damaged_under_a_feed_resets_it(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        mirror, feed = Mirror(), db.changes(notes, since="one")
        for delta in feed:
            mirror.apply(delta)
        put(db, a=2)
        following = iter(feed)
        mirror.apply(next(following))
        put(db, b=1)
        db.get(notes.where)
        damage(tmp_path / "store")
        resets = 0
        for delta in following:
            resets += delta.reset
            mirror.apply(delta)
        assert resets == 1
        assert db.notes()
        assert mirror.rows == rows_of(db) == {Note("a", 2), Note("b", 1)}


def test_a_full_disk_is_an_error_to_a_consumer_and_loses_nothing(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        mirror, feed = Mirror(), db.changes(notes, since="one")
        for delta in feed:
            mirror.apply(delta)
        assert db.store is not None
        with mock.patch.object(type(db.store), "write", side_effect=StoreFull()):
            put(db, a=2)
            with pytest.raises(StoreFull) as caught:
                list(feed)
            assert caught.value.hint
        for delta in feed:
            mirror.apply(delta)
        assert mirror.rows == {Note("a", 2)}


def test_a_consumer_that_catches_up_reads_its_part_of_the_log_once(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        for number in range(2, LATE):
            put(db, a=number)
            db.get(notes.count)
        assert db.store is not None
        derived = type(db.store.derived)
        changes, read = derived.changes, []

        def counted(self: Any, *args: Any) -> Any:
            if args[-1] != engine.tables.log.PAGE:
                read.append(args)
            return changes(self, *args)

        with mock.patch.object(derived, "changes", counted):
            mirror, told_now = Mirror({Note("a", 1)}), 0
            for delta in feed:
                mirror.apply(delta)
                told_now += 1
                if told_now == 50:
                    put(db, b=1)  # what was read ahead does not hold any more
        assert (mirror.rows, told_now) == (rows_of(db), LATE - 2 + 1)
        assert len(read) == 2, "at the start, and after the edit"
