"""The rows of a table get their indexes once: when somebody looks, when the build ends, or at a start."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, Event, What, query, table
from engine.store import Batch, CollectionRow, MemberRow, MemberRows, open_store, row_index
from engine.store.sqlite import Store
from tests.patience import until
from tests.stores import copy, node

SHAPE = '{"columns": ["number", "name"], "index": ["name"]}'
TABLE = "rows_found_1"


class Pair(NamedTuple):
    number: int
    name: str


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(40))


@table(each=numbers, index=("name",))
def pairs(number: int) -> Iterable[Pair]:
    yield Pair(number, f"name {number % 4}")


@query
def double(number: int) -> int:
    return number * 2


@query
def counted() -> int:
    """The size of a table, and much besides that takes several commits: nobody looks for a row."""
    return pairs.count() + sum(double(number) for number in range(40))


@query
def looked() -> int:
    found = counted()
    return found + len(pairs.where(name="name 3")) + sum(double(number) for number in range(40, 80))


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine with a store that commits after every seventh node."""
    monkeypatch.setattr("engine.persist.CHUNK_NODES", 7)
    with Engine(tmp_path / "store") as engine:
        yield engine


def store_of(db: Engine) -> Store:
    assert db.store is not None
    return db.store


def commits(db: Engine) -> list[set[str]]:
    """Gets the tables that are without indexes, after each commit."""
    found: list[set[str]] = []
    store = store_of(db)

    def commit(event: Event) -> None:
        if event.what is What.COMMITTED:
            found.append(store.put_off.copy())
            assert store.put_off == row_index.without(store.connection)

    db.listen(commit)
    return found


def filled(*, goes_on: bool, members: Iterable[int] = range(2, 22)) -> Batch:
    """A table of two columns, three rows for each member."""
    batch = Batch(nodes=[node(id) for id in (1, *members)], goes_on=goes_on)
    batch.collections.append(CollectionRow(1, "test:found", "table", SHAPE, b""))
    for id in members:
        batch.members.append(MemberRow(1, id, b""))
        rows = tuple((3 * id + at, f"name {at}") for at in range(3))
        batch.rows.append(MemberRows(1, id, f"source {id}", rows, True))
    return batch


def found(store: Store) -> list[object]:
    """What can be asked of its rows."""
    derived = store.derived
    return [
        sorted(derived.select(1, [("name", "name 2")])),
        sorted(derived.select(1, [], ("name", "name 1"))),
        sorted(derived.select(1, [("number", 30)])),
        derived.count(1, [("name", "name 0")]),
        derived.count(1, []),
        {member: sorted(rows) for member, rows in derived.rows_of(1, [3, 4, 99]).items()},
    ]


@pytest.fixture
def expected(tmp_path: Path) -> list[object]:
    """What a table answers that always had its indexes."""
    with open_store(tmp_path / "expected") as store:
        store.write(filled(goes_on=False))
        assert not store.put_off
        return found(store)


def test_a_table_that_nobody_looks_into_gets_its_indexes_at_the_end_of_a_build(db: Engine) -> None:
    states = commits(db)
    made: list[str] = []
    store_of(db).connection.set_trace_callback(made.append)
    assert db.get(counted) == 40 + 1560
    store_of(db).connection.set_trace_callback(None)
    assert sum(map(bool, states)) > 6
    assert not states[-1]
    assert sum(text.startswith('CREATE INDEX "rows_pairs') for text in made) == 2
    assert max(at for at, text in enumerate(made) if text.startswith("INSERT INTO rows_")) < min(
        at for at, text in enumerate(made) if text.startswith('CREATE INDEX "rows_')
    )
    store_of(db).check_invariants()
    db.check_invariants()


def test_a_build_whose_last_key_was_committed_amid_it_gets_its_indexes_at_its_end(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when that key takes two seconds: nothing was left for the last commit, and there was none."""
    monkeypatch.setattr("engine.persist.CHUNK_NODES", 1)
    assert db.get(counted) == 40 + 1560
    assert (store_of(db).is_indexed, store_of(db).put_off) == (True, set())
    before = db._core.tally.commits
    assert db.get(counted) == 40 + 1560
    assert db._core.tally.commits == before
    store_of(db).check_invariants()


def test_a_table_gets_its_indexes_when_somebody_looks_into_it_amid_a_build(db: Engine) -> None:
    states = commits(db)
    assert db.get(looked) == 40 + 1560 + 10 + 4760
    with_index = [not state for state in states if state or states.index(state)]
    assert with_index == sorted(with_index), "once made, they stay"
    assert with_index.count(True) > 4, "made long before the build ended"
    assert with_index.count(False) > 4, "and not before somebody looked"
    store_of(db).check_invariants()


def test_a_build_that_was_killed_before_its_indexes_goes_on_with_them(db: Engine, tmp_path: Path) -> None:
    places: list[Path] = []
    store = store_of(db)

    def commit(event: Event) -> None:
        if event.what is What.COMMITTED and store.put_off:
            places.append(copy(store.directory, tmp_path / f"copy{len(places)}"))

    db.listen(commit)
    assert db.get(looked) == 6370
    assert len(places) > 4
    for place in places:
        with open_store(place, read_only=True) as killed:
            assert (len(killed.put_off), killed.notes) == (1, []), "who only reads makes none"
            killed.check_invariants()
        with open_store(place) as killed:
            assert (killed.put_off, killed.notes) == (set(), [])
            killed.check_invariants()
        with Engine(place) as again:
            assert again.get(looked) == 6370
            again.check_invariants()


def test_rows_are_found_without_their_indexes(tmp_path: Path, expected: list[object]) -> None:
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=True))
        assert store.put_off == {TABLE}
        assert not store.derived.is_quick(1)
        assert (store.derived.count(1, []), len(store.derived.select(1, []))) == (60, 60)
        assert store.put_off == {TABLE}, "to want all of them is no look"
        with open_store(tmp_path / "store", read_only=True) as other:
            assert found(other) == expected
            assert other.put_off == {TABLE}
            assert found(store) == expected
            assert not store.put_off
            assert store.derived.is_quick(1)
            assert found(other) == expected
            other.refresh()
            assert not other.put_off
            assert found(other) == expected
        store.check_invariants()
    with open_store(tmp_path / "store") as store:
        assert (store.notes, found(store)) == ([], expected)


def test_who_looks_for_the_rows_of_a_member_gets_the_indexes_made(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=True))
        assert store.derived.rows_of(1, []) == {}
        assert store.put_off == {TABLE}
        assert len(store.derived.rows_of(1, [3])[3]) == 3
        assert not store.put_off


def test_a_store_that_has_its_key_index_gets_those_of_rows_when_it_is_opened(
    tmp_path: Path, expected: list[object]
) -> None:
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=True))
        assert (store.is_indexed, store.put_off) == (True, {TABLE})
        killed = copy(store.directory, tmp_path / "killed")
    with open_store(killed) as store:
        assert (store.put_off, store.notes) == (set(), [])
        assert found(store) == expected


@pytest.mark.parametrize("looks", [False, True])
def test_rows_that_come_later_are_found_too(tmp_path: Path, expected: list[object], looks: bool) -> None:
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=True, members=range(2, 12)))
        if looks:
            assert store.derived.count(1, [("name", "name 0")]) == 10
        later = filled(goes_on=True, members=range(12, 22))
        later.nodes = [node(id) for id in range(12, 22)]
        store.write(later)
        assert store.put_off == (set() if looks else {TABLE})
        store.write(Batch())
        assert not store.put_off
        assert found(store) == expected
        store.check_invariants()


@pytest.mark.parametrize("gone", [False, True])
def test_rows_that_may_be_there_are_not_looked_for_in_the_whole_table(tmp_path: Path, gone: bool) -> None:
    """As of a table that is defined anew: each commit had read all rows that were there, many times."""
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=True, members=range(2, 12)))
        later = Batch(goes_on=True, members_gone=[(1, 3)] if gone else [])
        if not gone:
            later.rows.append(MemberRows(1, 3, "source 3", ((9, "name 0"),), False))
        plans: list[str] = []
        store.connection.set_trace_callback(plans.append)
        store.write(later)
        store.connection.set_trace_callback(None)
        by_member = [text for text in plans if f"FROM {TABLE} WHERE _member" in text]
        assert by_member
        made = next((at for at, text in enumerate(plans) if "by _member" in text), len(plans))
        assert made < plans.index(by_member[0])
        assert not store.put_off
        assert store.derived.rows_of(1, [3]) == ({} if gone else {3: [(9, "name 0")]})
        store.check_invariants()


def test_whether_rows_are_found_quickly_is_asked_while_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that merges the log makes the store forget it, between two looks at what it knows."""
    alone: list[bool] = []

    def put_off(store: Store) -> set[str]:
        def enter() -> None:
            entered = store._guard.acquire(blocking=False)
            if entered:
                store._guard.release()
            alone.append(not entered)

        other = threading.Thread(target=enter)
        other.start()
        other.join()
        return set()

    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=False))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put_off", property(put_off))
            assert store.derived.is_quick(1)
        assert alone == [True]


def test_a_commit_that_fails_leaves_indexes_as_they_were(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        for goes_on in (True, False):
            batch = filled(goes_on=goes_on)
            batch.rows.append(MemberRows(99, 2, "nowhere", (), True))
            with pytest.raises(ValueError, match="no table"):
                store.write(batch)
            assert (store.put_off, row_index.without(store.connection)) == (set(), set())
        store.write(filled(goes_on=True))
        store.write(Batch(dropped=[1], goes_on=True))
        store.write(Batch())
        assert not store.put_off
        store.check_invariants()


@pytest.mark.parametrize("beside", [False, True])
def test_without_room_for_indexes_rows_are_saved_and_found_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: list[object], beside: bool
) -> None:
    tried: list[object] = []

    def full(connection: sqlite3.Connection, made: object) -> None:
        tried.append(made)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with open_store(tmp_path / "store") as store:
        with monkeypatch.context() as patch:
            patch.setattr("engine.store.row_index.make", full)
            store.write(filled(goes_on=False, members=range(2, 12)))
            later = filled(goes_on=False, members=range(12, 22))
            later.nodes = [node(id) for id in range(12, 22)]
            store.write(later)
            assert found(store) == expected
            assert len(tried) == 1, "each time all rows would be sorted in vain"
        assert store.put_off == {TABLE}
        if beside:  # as a thread merges a large one
            monkeypatch.setattr("engine.store.ongoing.WORTH_BYTES", 0)
            monkeypatch.setattr("engine.store.tidying.WAL_LIMIT_BYTES", 0)
            store.tidy()
            until(lambda: not store.is_merging)
        else:
            store.checkpoint()
        assert found(store) == expected
        assert not store.put_off
        store.check_invariants()


def test_a_part_of_the_indexes_is_the_schema_of_somebody_else(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        store.write(filled(goes_on=False))
        store.connection.execute(f'DROP INDEX "{TABLE} by name"')
    with open_store(tmp_path / "store") as store:
        assert len(store.notes) == 1
        assert "set aside" in store.notes[0]
