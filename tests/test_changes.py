"""Each change of a table is told once to each consumer: one claim a test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Thread
from typing import Any
from unittest import mock

import pytest

import engine.request
import engine.tables.changes
import engine.tables.log
from engine import ChangedInsideQuery, Engine, Transient, input, query, table
from engine.tables.changes import LATE
from tests.following import (
    Mirror,
    Note,
    brief,
    cell,
    db,
    drop,
    keys,
    log_of,
    log_size,
    named,
    notes,
    put,
    refused,
    rows_of,
    told,
)

__all__ = ["db"]  # a fixture


# -- what is told --------------------------------------------------------------------------------


def test_a_new_consumer_gets_all_rows_with_a_reset_and_then_each_change_once(db: Engine) -> None:
    put(db, a=1, b=2, c=0)
    feed = db.changes(notes, since="one")
    assert told(feed) == [("reset", ["a1", "b2"], [])]
    assert told(feed) == []
    put(db, b=3)
    put(db, c=4)
    drop(db, "a")
    assert told(feed) == [("", ["b3", "c4"], ["a1", "b2"])]
    assert told(feed) == []


def test_a_new_consumer_of_an_empty_table_gets_a_reset_without_rows(db: Engine) -> None:
    feed = db.changes(notes, since="one")
    assert told(feed) == [("reset", [], [])]
    assert told(feed) == []
    put(db, a=1)
    assert told(feed) == [("", ["a1"], [])]


def test_revisions_that_were_looked_at_are_told_one_by_one_in_order(db: Engine) -> None:
    put(db, a=1)
    feed = db.changes(notes, since="one")
    assert told(feed) == [("reset", ["a1"], [])]
    for number in (2, 3):
        put(db, a=number, b=number)
        db.get(notes.count)
    deltas = list(feed)
    assert [brief(delta) for delta in deltas] == [
        ("", ["a2", "b2"], ["a1"]),
        ("", ["a3", "b3"], ["a2", "b2"]),
    ]
    assert [delta.revision for delta in deltas] == [db.revision - 1, db.revision]


def test_identity_columns_give_changed_pairs(db: Engine) -> None:
    put(db, a=1, b=2)
    feed = db.changes(named, since="one")
    list(feed)
    put(db, a=5)
    assert told(feed) == [("", [], [], ["a1>5"])]
    drop(db, "b")
    assert told(feed) == [("", [], ["b2", "b!7"])]
    with db.batch():
        put_now = {"a": 6, "b": 3}
        db.set(keys.key(), ("a", "b"))
        for key, value in put_now.items():
            db.set(cell.key(key), value)
    assert told(feed) == [("", ["b3", "b!7"], [], ["a5>6"])]


def test_a_late_consumer_gets_the_net_difference_in_one_delta(db: Engine) -> None:
    put(db, a=1, b=2, c=3)
    feed = db.changes(notes, since="one")
    list(feed)
    for number in range(LATE + 1):
        put(db, a=100 + number, d=number % 2)
        db.get(notes.count)
    drop(db, "c")
    put(db, b=5)
    put(db, b=2)
    assert told(feed) == [("", [f"a{100 + LATE}"], ["a1", "c3"])]
    assert told(feed) == []


def test_what_came_and_went_again_is_not_told_and_lets_the_log_go(db: Engine) -> None:
    put(db, a=1)
    feed = db.changes(notes, since="one")
    list(feed)
    put(db, a=2)
    db.get(notes.count)
    put(db, a=1)
    assert told(feed)[-1] == ("", ["a1"], ["a2"])
    with db.batch():
        db.set(cell.key("a"), 2)
        db.set(cell.key("a"), 1)
    assert told(feed) == []
    assert log_size(db) == 0


def test_a_member_that_fails_takes_its_rows_away_and_heals(db: Engine) -> None:
    put(db, a=1, b=2)
    feed = db.changes(notes, since="one")
    list(feed)
    put(db, a=-1)
    assert told(feed) == [("", [], ["a1"])]
    put(db, a=-2)
    assert told(feed) == []
    put(db, a=1)
    assert told(feed) == [("", ["a1"], [])]


def test_two_consumers_are_at_different_places(db: Engine) -> None:
    put(db, a=1)
    one, two = db.changes(notes, since="one"), db.changes(notes, since="two")
    assert told(one) == told(two) == [("reset", ["a1"], [])]
    put(db, a=2)
    assert told(one) == [("", ["a2"], ["a1"])]
    put(db, b=1)
    assert told(one) == [("", ["b1"], [])]
    assert log_size(db) == 3, "the other one still needs them"
    assert told(two) == [("", ["a2"], ["a1"]), ("", ["b1"], [])]
    assert log_size(db) == 0


def test_a_delta_that_was_not_acknowledged_is_told_again_and_then_never_more(db: Engine) -> None:
    put(db, a=1)
    first = next(iter(db.changes(notes, since="one")))
    again = next(iter(db.changes(notes, since="one")))
    assert brief(first) == brief(again) == ("reset", ["a1"], [])
    feed = db.changes(notes, since="one")
    feed.acknowledge(again)
    assert told(feed) == []
    put(db, a=2)
    delta = next(iter(feed))
    assert told(db.changes(notes, since="one")) == [brief(delta)]
    assert told(db.changes(notes, since="one")) == []


def test_with_its_own_position_a_consumer_is_told_nothing_twice(db: Engine) -> None:
    put(db, a=1)
    position = next(iter(db.changes(notes, since="one"))).position
    put(db, a=2)
    delta = next(iter(db.changes(notes, since="one", after=position)))
    assert brief(delta) == ("", ["a2"], ["a1"])
    put(db, a=3)
    assert told(db.changes(notes, since="one", after=delta.position)) == [("", ["a3"], ["a2"])]


def test_the_log_keeps_the_place_of_a_delta_that_was_told_and_not_acknowledged(db: Engine) -> None:
    with mock.patch.object(engine.tables.log, "NET_ABOVE", 4):
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        log_of(db)._net_above = 4
        mirror = Mirror({Note("a", 1)})
        put(db, b=1)
        mirror.apply(next(iter(feed)))  # kept by its consumer, which is killed before it says so
        for number in range(2, 30):
            put(db, b=number)
            db.get(notes.count)
        drop(db, "b")
        for delta in db.changes(notes, since="one", after=mirror.position):
            mirror.apply(delta)
        assert mirror.rows == rows_of(db) == {Note("a", 1)}


def test_a_table_that_fails_as_a_whole_raises_its_error_to_consumers_and_goes_on(tmp_path: Path) -> None:
    @input(name="changes:broken")
    def broken() -> bool:
        return False

    @query(name="changes:fragile")
    def fragile() -> tuple[str, ...]:
        if broken():
            raise RuntimeError("no keys today")
        return keys()

    @table(each=fragile, name="changes:rows")
    def rows(key: str) -> Iterable[Note]:
        return [Note(key, cell(key))]

    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        feed = db.changes(rows, since="one")
        list(feed)
        db.set(broken.key(), True)
        with pytest.raises(RuntimeError, match="no keys today"):
            list(feed)
        put(db, a=2)
        db.set(broken.key(), False)
        assert told(feed) == [("", ["a2"], ["a1"])]


def test_a_transient_failure_takes_no_cursor_forward(tmp_path: Path) -> None:
    failing: list[str] = []

    @input(name="changes:shaky")
    def shaky() -> int:
        return 0

    @table(each=keys, name="changes:shaken")
    def shaken(key: str) -> Iterable[Note]:
        if key in failing:
            raise Transient(OSError(key))
        return [Note(key, cell(key) + shaky())]

    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=1)
        mirror = Mirror()
        feed = db.changes(shaken, since="one")
        for delta in feed:
            mirror.apply(delta)
        failing.append("a")
        db.set(shaky.key(), 1)
        for delta in feed:
            mirror.apply(delta)
        assert mirror.rows == {Note("b", 2)}
        failing.clear()
        for delta in feed:
            mirror.apply(delta)
        assert mirror.rows == {Note("a", 2), Note("b", 2)}


def test_what_another_thread_brings_up_to_date_meanwhile_is_told_whole(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[Callable[[], object]] = []

    @query
    def both() -> tuple[str, ...]:
        return "a", "b"

    @table(each=both)
    def slow(key: str) -> Iterable[Note]:
        number = cell(key)
        if key == "b":
            for wait in waits:
                wait()
        yield Note(key, number)

    feed = db.changes(slow, since="one")
    entered, go = Event(), Event()
    other = Thread(target=db.get, args=(slow,))
    settle = engine.request.demand

    def overtaken(*asked: Any) -> None:
        if waits:
            go.set()
        settle(*asked)
        if not waits:  # the other thread is amid the members of a later revision when we come to tell
            waits.extend((entered.set, go.wait))
            put(db, a=1, b=2)
            other.start()
            entered.wait()

    monkeypatch.setattr(engine.tables.changes, "demand", overtaken)
    try:
        assert brief(next(iter(feed))) == ("reset", ["a1", "b2"], [])
    finally:
        go.set()
        other.join()


def test_a_query_cannot_follow_changes(db: Engine) -> None:
    @query(name="changes:nosy")
    def nosy() -> int:
        return len(list(db.changes(notes, since="one")))

    with pytest.raises(ChangedInsideQuery):
        db.get(nosy)


def test_a_closed_cursor_costs_nothing_and_its_name_begins_anew(db: Engine) -> None:
    put(db, a=1)
    feed = db.changes(notes, since="one")
    list(feed)
    put(db, a=2)
    delta = next(iter(feed))
    feed.close()
    put(db, a=3)
    db.get(notes.count)
    assert (log_size(db), log_of(db).cursors) == (0, {})
    feed.close()  # once more is no error
    assert refused(db, notes, delta.position)[0] == "it is of another store, or of another consumer"
    assert told(db.changes(notes, since="one")) == [("reset", ["a3"], [])]
    if db.store is not None:
        node = log_of(db)._collection
        assert [row.name for row in db.store.derived.cursors(node)] == ["one"]


def test_a_table_without_cursors_has_no_log(db: Engine) -> None:
    put(db, a=1)
    db.get(notes.count)
    put(db, a=2)
    db.get(notes.count)
    assert (log_size(db), log_of(db).last) == (0, 0)


# -- bounds --------------------------------------------------------------------------------------


def test_the_log_of_a_consumer_that_never_comes_back_stays_bounded(db: Engine) -> None:
    with mock.patch.object(engine.tables.log, "NET_ABOVE", 40):
        put(db, **{f"k{n}": 1 for n in range(10)})
        mirror, late = Mirror(), db.changes(notes, since="late")
        for delta in late:
            mirror.apply(delta)
        log_of(db)._net_above = 40
        chance = random.Random(5)
        sizes = []
        past = [set(mirror.rows)]
        for _ in range(300):
            put(db, **{f"k{chance.randrange(10)}": chance.randint(0, 9) for _ in range(3)})
            past.append(rows_of(db))
            sizes.append(log_size(db))
        assert max(sizes) <= 40 + 2 * 3, "10 rows that went and 10 that came are the most that can be left"
        if db.store is not None:
            assert db.store.derived.change_count(log_of(db)._collection) == sizes[-1]
        deltas = list(late)
        assert len(deltas) <= LATE + 1
        for delta in deltas:
            mirror.apply(delta)
            past = past[past.index(mirror.rows) :]  # a state that was, later than the one before
        assert mirror.rows == rows_of(db)
        assert log_size(db) == 0
