"""Each change is told once to each consumer, whoever is killed: one claim a test."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import define, field, frozen

import engine.log
from engine import (
    BadCursor,
    ChangedInsideQuery,
    Engine,
    StoreFull,
    StoreReadOnly,
    Transient,
    fold,
    input,
    query,
    table,
)
from engine.accumulate import Sum
from engine.changes import LATE, Delta
from engine.kept_table import KeptTable
from engine.locate import locate
from tests.worlds import FAST

KILLS = 200
WITHIN_MS = 12  # after the child began
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.test_changes"])
ZEROS = "0" * 16


@input
def keys() -> tuple[str, ...]:
    return ()


@input
def cell(key: str) -> int:
    return 0


class Odd:
    """Has no bytes."""

    def __init__(self, number: int) -> None:
        self.number = number


@frozen
class Note:
    key: str
    number: int


@table(each=keys, index=("number",))
def notes(key: str) -> Iterable[Note]:
    number = cell(key)
    if number < 0:
        raise ValueError(key)
    return [Note(key, number)] if number else []


@table(each=keys, index=("number",), identity=("key",))
def named(key: str) -> Iterable[Note]:
    return [Note(key, cell(key)), Note(f"{key}!", 7)]


total = fold(each=keys, of=cell, into=Sum())


def put(db: Engine, **values: int) -> None:
    """Set cells; those of new keys make them members."""
    with db.batch():
        db.set(keys.key(), tuple(sorted({*db.get(keys), *values})))
        for key, value in values.items():
            db.set(cell.key(key), value)


def drop(db: Engine, key: str) -> None:
    db.set(keys.key(), tuple(one for one in db.get(keys) if one != key))


def brief(delta: Delta[Note]) -> tuple[Any, ...]:
    """A delta as ("reset" or "", added, removed, changed) of key and number."""
    return (
        "reset" if delta.reset else "",
        [f"{row.key}{row.number}" for row in delta.added],
        [f"{row.key}{row.number}" for row in delta.removed],
        *([[f"{a.key}{a.number}>{b.number}" for a, b in delta.changed]] if delta.changed else []),
    )


def told(feed: Iterable[Delta[Note]]) -> list[tuple[Any, ...]]:
    return [brief(delta) for delta in feed]


def log_of(db: Engine, what: Any = notes) -> engine.log.Log:
    with db._core.lock:
        kept = db._core.collections[locate(db._core, what.__collection__.settle, ())]
    assert isinstance(kept, KeptTable)
    return kept.log


def log_size(db: Engine, what: Any = notes) -> int:
    return len(list(log_of(db, what).entries(0)))


def rows_of(db: Engine) -> set[Note]:
    rows: tuple[Note, ...] = db.get(notes.where)
    return set(rows)


@define
class Mirror:
    """What a consumer makes of a feed; refuses a row that comes twice or goes without having been there."""

    rows: set[Any] = field(factory=set)
    position: str | None = None

    def apply(self, delta: Delta[Any]) -> None:
        if delta.reset:
            self.rows.clear()
        gone = [*delta.removed, *(before for before, _ in delta.changed)]
        came = [*delta.added, *(after for _, after in delta.changed)]
        for row in gone:
            assert row in self.rows, f"{row} goes twice"
            self.rows.remove(row)
        for row in came:
            assert row not in self.rows, f"{row} comes twice"
            self.rows.add(row)
        self.position = delta.position


@pytest.fixture(params=["memory", "stored", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    stored = tmp_path / "store" if request.param != "memory" else None
    with Engine(stored, root=tmp_path, workers=3 if request.param == "workers" else 1) as engine:
        yield engine


@pytest.fixture
def place() -> Iterator[Path]:
    """A private directory in memory, where there is such a place."""
    path = Path(tempfile.mkdtemp(prefix="engine-changes-", dir=FAST))
    yield path
    shutil.rmtree(path)


def copied(source: Path, target: Path) -> Path:
    """A store as a killed process leaves it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-shm"))
    return target


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
    with mock.patch.object(engine.log, "NET_ABOVE", 4):
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


# -- bad positions -------------------------------------------------------------------------------


def refused(db: Engine, what: Any, position: str, name: str = "one") -> tuple[str, str]:
    with pytest.raises(BadCursor) as caught:
        list(db.changes(what, since=name, after=position))
    assert caught.value.hint, "a remedy"
    return caught.value.fields["cause"], str(caught.value.hint)


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_position_of_another_store_is_refused_with_what_to_do(tmp_path: Path, what: Any) -> None:
    with Engine(tmp_path / "a") as db:
        put(db, a=1)
        position = next(iter(db.changes(what, since="one"))).position
    with Engine(tmp_path / "b") as db:
        put(db, a=1)
        assert refused(db, what, position)[0] == "it is of another store, or of another consumer"
        list(db.changes(what, since="one"))
        cause, hint = refused(db, what, position)
        assert (cause, hint[:25]) == (
            "it is of another store, or of another consumer",
            "Start without a position,",
        )
        assert refused(db, what, position, "two")[0] == cause
        put(db, a=2)
        assert len(list(db.changes(what, since="one"))) == 1, "a refusal moves nothing"


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_consumer_that_goes_backwards_is_refused_with_what_to_do(db: Engine, what: Any) -> None:
    put(db, a=1)
    feed = db.changes(what, since="one")
    positions = [new.position for new in feed]
    for number in (2, 3):
        put(db, a=number)
        positions += [new.position for new in feed]
    assert len(positions) == 3
    for position in positions[:2]:
        cause, hint = refused(db, what, position)
        assert cause == "it goes backwards: later changes were acknowledged already"
        assert hint.startswith("Start again under another name, or close this cursor")
    assert list(db.changes(what, since="one", after=positions[2])) == []
    db.changes(what, since="one").close()
    assert len(list(db.changes(what, since="one"))) == 1


def test_an_older_copy_of_the_store_is_not_taken_for_the_one_a_consumer_followed(place: Path) -> None:
    with Engine(place / "store") as db:
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        copied(place / "store", place / "copy")  # or what a power cut left
        put(db, a=2)
        position = next(iter(feed)).position
    with Engine(place / "copy") as db:
        for number in range(5, 9):  # other changes get the same numbers
            put(db, a=number)
            db.get(notes.count)
        assert refused(db, notes, position)[0].endswith("or this store is an older copy")
        db.changes(notes, since="one").close()
        assert told(db.changes(notes, since="one")) == [("reset", ["a8"], [])]


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_position_of_the_future_is_refused(db: Engine, what: Any) -> None:
    put(db, a=1)
    position = next(iter(db.changes(what, since="one"))).position
    nonce, _, rest = position.partition("-")
    future = f"{nonce}-0-99999" if what is notes else f"{nonce}-99999-{rest.rpartition('-')[2]}"
    assert refused(db, what, future)[0].startswith("nothing that was told ends there")
    assert list(db.changes(what, since="one", after=position)) == []


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
@pytest.mark.parametrize(
    "position", ["", "-", "x-1", "1", "0" * 16 + "-", "0" * 16 + "-0-²", "0" * 16 + "-1-zz", "é-é-é"]
)
def test_garbage_is_refused_as_no_position(db: Engine, what: Any, position: str) -> None:
    put(db, a=1)
    assert refused(db, what, position)[0] == "this is no position that a delta had"


def test_a_read_only_engine_refuses_with_what_to_do(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        list(db.changes(notes, since="one"))
    with Engine(tmp_path / "store", read_only=True) as db:
        with pytest.raises(StoreReadOnly, match="read_only=True") as caught:
            db.changes(notes, since="one")
        assert caught.value.hint
        with pytest.raises(StoreReadOnly):
            db.changes(total, since="one")


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


# -- bounds --------------------------------------------------------------------------------------


def test_the_log_of_a_consumer_that_never_comes_back_stays_bounded(db: Engine) -> None:
    with mock.patch.object(engine.log, "NET_ABOVE", 40):
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
            if args[-1] != engine.log.PAGE:
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


# -- values --------------------------------------------------------------------------------------


def test_a_value_is_told_when_it_is_another_one_than_the_consumer_saw(db: Engine) -> None:
    put(db, a=1, b=2)
    feed = db.changes(total, since="one")
    assert [new.value for new in feed] == [3]
    put(db, a=2, b=1)
    assert list(feed) == [], "an equal sum"
    put(db, a=5)
    put(db, a=7)
    assert [(new.value, new.revision) for new in feed] == [(8, db.revision)]
    assert [new.value for new in db.changes(total.key(), since="two")] == [8]
    assert list(feed) == []


def test_the_error_of_a_value_is_told_once_and_so_is_its_healing(db: Engine) -> None:
    @query(name="changes:positive")
    def positive(key: str) -> int:
        if cell(key) < 0:
            raise ValueError(key)
        return cell(key)

    feed = db.changes(positive.key("a"), since="one")
    assert [new.value for new in feed] == [0]
    put(db, a=-1)
    (new,) = feed
    assert (new.value, type(new.error), str(new.error)) == (None, ValueError, "a")
    put(db, a=-2)
    assert list(feed) == [], "the same error"
    put(db, a=0)
    assert [(new.value, new.error) for new in feed] == [(0, None)]


def test_a_value_with_its_own_position_is_told_once_over_restarts(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        first = next(iter(db.changes(total, since="one")))
    with Engine(tmp_path / "store") as db:
        assert [new.value for new in db.changes(total, since="other")] == [1]
        assert list(db.changes(total, since="one", after=first.position)) == []
        put(db, a=2)
        second = next(iter(db.changes(total, since="one")))
    with Engine(tmp_path / "store") as db:
        assert next(iter(db.changes(total, since="one"))).position == second.position, "not acknowledged"
        assert list(db.changes(total, since="one", after=second.position)) == []


def test_a_value_without_bytes_is_told_when_it_was_computed_anew(db: Engine) -> None:
    @query(name="changes:odd", persist=False)
    def odd() -> Odd:
        return Odd(cell("a"))

    feed = db.changes(odd, since="one")
    assert [new.value.number for new in feed if new.value] == [0]
    assert list(feed) == []
    put(db, a=1)
    assert [new.value.number for new in feed if new.value] == [1]
    assert list(feed) == []


def test_a_query_that_looks_elsewhere_each_time_is_told_without_end_of_waiting(db: Engine) -> None:
    numbers = iter(range(1000))

    @query(name="changes:wild", untracked=True)
    def wild() -> int:
        return next(numbers)

    feed = db.changes(wild, since="one")
    values = []
    for number in range(3):
        put(db, a=number)
        values.append(next(iter(feed)).value or 0)
    assert values == sorted(set(values))


def test_a_value_belongs_to_its_position_while_others_edit(tmp_path: Path) -> None:
    import threading

    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        stop = threading.Event()

        def edit() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                db.set(cell.key("a"), number)
                db.get(total)

        editor = threading.Thread(target=edit)
        editor.start()
        try:
            feed, seen = db.changes(total, since="one"), []
            for _ in range(60):
                seen += [new.value for new in feed]
        finally:
            stop.set()
            editor.join()
        seen += [new.value for new in feed]
        assert seen[-1] == db.get(total)
        assert seen == sorted(set(seen), key=lambda value: value or 0), "none twice, in order"


# -- kills ---------------------------------------------------------------------------------------


class SqlMirror:
    """A consumer's own database: rows and position in one transaction, and a row twice is an error."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS row (key TEXT, number INT, UNIQUE (key, number))")
        self.connection.execute("CREATE TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY, position TEXT)")

    def follow(self, db: Engine, killed: Callable[[], None] = lambda: None) -> None:
        found = self.connection.execute("SELECT position FROM place").fetchone()
        for delta in db.changes(notes, since="mirror", after=found and found[0]):
            self.connection.execute("BEGIN IMMEDIATE")
            if delta.reset:
                self.connection.execute("DELETE FROM row")
            for row in delta.removed:
                cursor = self.connection.execute(
                    "DELETE FROM row WHERE (key, number) = (?, ?)", (row.key, row.number)
                )
                assert cursor.rowcount == 1, f"{row} goes twice"
            self.connection.executemany(
                "INSERT INTO row VALUES (?, ?)", [(row.key, row.number) for row in delta.added]
            )
            self.connection.execute("REPLACE INTO place VALUES (1, ?)", (delta.position,))
            self.connection.execute("COMMIT")

    def rows(self) -> set[Note]:
        return {Note(*row) for row in self.connection.execute("SELECT key, number FROM row")}


def life(directory: Path, seed: int, tell: Any) -> None:
    """Edit at random and follow, in one process: the engine and the consumer are killed together."""
    try:
        chance = random.Random(seed)
        with Engine(directory / "store") as db:
            mirror = SqlMirror(directory / "mirror.db")
            tell.send("begun")
            while True:
                edit(db, chance)
                if chance.random() < 0.7:
                    mirror.follow(db)
    except BaseException as error:
        tell.send(repr(error))
        raise


def edit(db: Engine, chance: random.Random) -> None:
    names = [f"k{n}" for n in range(8)]
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.2:
            db.set(keys.key(), tuple(chance.sample(names, chance.randint(4, 8))))
        else:
            with db.batch():
                for name in chance.sample(names, chance.randint(1, 4)):
                    db.set(cell.key(name), chance.randint(-1, 5))
        if chance.random() < 0.5:
            db.get(notes.count)


def killed(target: Callable[..., None], args: tuple[Any, ...], seconds: float) -> None:
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=target, args=(*args, theirs))
    child.start()
    theirs.close()
    try:
        assert ours.poll(10)
        assert ours.recv() == "begun"
        child.join(seconds)
        child.kill()
        try:
            raise AssertionError(ours.recv())
        except EOFError:
            child.join()
    finally:
        ours.close()
        child.close()


def test_engine_and_consumer_killed_two_hundred_times_leave_a_mirror_that_equals_its_source(
    place: Path,
) -> None:
    chance = random.Random(11)
    for number in range(KILLS):
        killed(life, (place, number), chance.uniform(0, WITHIN_MS / 1000))
        if number % 10 == 9:
            with Engine(place / "store") as db:
                assert not db.notes(), "a killed process damaged nothing"
                mirror = SqlMirror(place / "mirror.db")
                mirror.follow(db)
                assert mirror.rows() == rows_of(db), f"after {number} kills"
                assert db.store is not None
                db.store.check_invariants()
                mirror.connection.close()


def test_a_consumer_killed_at_each_step_between_telling_and_acknowledging_loses_and_repeats_nothing(
    place: Path,
) -> None:
    chance = random.Random(3)
    mirror = Mirror()
    steps = 0
    with Engine(place / "store") as db, mock.patch.object(engine.log, "NET_ABOVE", 10):
        for _ in range(200):
            edit(db, chance)
            db.get(notes.where)
            steps = chance.randint(0, 3)
            for delta in db.changes(notes, since="mirror", after=mirror.position):
                if steps == 0:
                    break  # told, not kept
                mirror.apply(delta)
                if steps == 1:
                    break  # kept, not acknowledged
                steps -= 1
        for delta in db.changes(notes, since="mirror", after=mirror.position):
            mirror.apply(delta)
        assert mirror.rows == rows_of(db)
        assert log_size(db) == 0
