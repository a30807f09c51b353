"""A first build makes the key index and the readers once, at its end; killed before, it is as right."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, Event, StoreDamaged, Sum, What, fold, input, query, table
from engine.store import Batch, Extent, State, index, open_store
from engine.store.sqlite import Store
from tests.stores import copy, dump, graph, node, packed

COUNT = 60


@input
def offset() -> int:
    """What each number is raised by."""
    return 0


@query
def raised(number: int) -> int:
    return number + offset()


class Pair(NamedTuple):
    number: int
    raised: int


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(40))


@table(each=numbers, index=("number",))
def pairs(number: int) -> Iterable[Pair]:
    yield Pair(number, raised(number))


total = fold(each=pairs.column("number"), of=raised, into=Sum())


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine with a store that commits after every seventh node."""
    monkeypatch.setattr("engine.persist.CHUNK_NODES", 7)
    with Engine(tmp_path / "store") as engine:
        yield engine


def store_of(db: Engine) -> Store:
    assert db.store is not None
    return db.store


def parts(extent: Extent = Extent.ALL) -> Iterator[Batch]:
    """The batches of a first build of `graph(COUNT)`; the last one has this extent."""
    whole = graph(COUNT)
    nodes = sorted(whole.nodes)
    for first, after in pairwise((0, 20, 40, COUNT)):
        last = after == COUNT
        part = Batch(nodes[first:after], extent=extent if last else Extent.LATER, state=whole.state)
        if first == 0:
            part.inputs, part.queries, part.revisions = whole.inputs, whole.queries, whole.revisions
        if last and extent is Extent.ALL:
            part.readers = whole.readers
        elif last:
            part.readers = [(id, held) for id, held in whole.readers if id > 38]
        yield part


def unfinished(directory: Path) -> Path:
    """A store as a kill amid its first build leaves it."""
    with open_store(directory) as store:
        for part in [*parts()][:2]:
            store.write(part)
        return copy(directory, directory.with_name(f"{directory.name}-killed"))


def readers_rows(store: Store) -> int:
    (rows,) = store.connection.execute("SELECT count(*) FROM readers").fetchone()
    return int(rows)


def full(*_: object) -> int:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def reads(store: Store, count: int) -> None:
    """What is asked of keys and readers while there are only the first `count` nodes."""
    for id in (1, 7, count):
        found = store.find(id % 3 + 1, b"args %d" % id)
        assert found is not None
        assert found.id == id
    assert store.find(1, b"args %d" % (count + 1)) is None
    assert store.readers([1, count - 1, count]) == {1: packed(2, 3), count - 1: packed(count)}


@pytest.mark.parametrize("extent", [Extent.ALL, Extent.CHANGED])
def test_a_store_built_in_parts_is_that_of_one_batch(tmp_path: Path, extent: Extent) -> None:
    with open_store(tmp_path / "whole") as store:
        store.write(graph(COUNT))
        expected = dump(store)
    with open_store(tmp_path / "parts") as store:
        for part in parts(extent):
            store.write(part)
            store.check_invariants()
        assert store.is_indexed
        assert dump(store) == expected
    with open_store(tmp_path / "parts") as store:
        assert (store.notes, dump(store)) == ([], expected)


def test_what_was_asked_for_before_a_large_build_goes_into_its_index(db: Engine, tmp_path: Path) -> None:
    store = store_of(db)
    assert db.get(raised, 3) == 3
    assert store.is_indexed
    states: list[bool] = []
    db.listen(lambda event: states.append(store.is_indexed) if event.what is What.COMMITTED else None)
    assert db.get(total) == 780
    assert (states[0], states[-1]) == (False, True)
    assert db.get(raised, 50) == 50
    assert states[-1], "a small request after it writes what it changed"
    store.check_invariants()
    db.check_invariants()
    db.close()
    with Engine(tmp_path / "store") as db:
        assert (db.get(total), db.get(raised, 50), db.counts().executed) == (780, 50, 0)


def test_a_change_after_a_first_build_leaves_the_index_in_place(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once memory was given back, the next commit amid a request took all of it away, and whoever asked for
    readers went through all nodes: with 100,000 files the first edits of a watch waited for seconds.
    """
    monkeypatch.setattr("engine.attempt.MANY", 20)
    store = store_of(db)
    assert db.get(total) == 780
    assert store.is_indexed
    late: list[bool] = []
    db.listen(lambda event: late.append(not store.is_indexed) if event.what is What.COMMITTED else None)
    db.set(offset, 1)
    assert db.get(total) == 820
    assert len(late) > 2
    assert not any(late)
    store.check_invariants()


def test_before_its_end_readers_and_keys_are_found_without_the_index(tmp_path: Path) -> None:
    first, second, last = parts()
    with open_store(tmp_path) as store:
        store.write(first)
        with open_store(tmp_path, read_only=True) as other:
            for one in (store, other):
                assert (one.is_indexed, readers_rows(one)) == (False, 0)
                reads(one, 20)
            store.write(second)
            reads(store, 40)
            reads(other, 20)  # of one revision until it is refreshed
            other.refresh()
            reads(other, 40)
            store.write(last)
            assert store.is_indexed
            reads(store, COUNT)
            other.refresh()
            reads(other, COUNT)
            assert other.is_indexed


def test_a_store_whose_first_build_was_killed_gets_its_index_when_it_is_opened(tmp_path: Path) -> None:
    killed = unfinished(tmp_path / "store")
    with open_store(killed, read_only=True) as store:
        reads(store, 40)
        assert not store.is_indexed, "who only reads makes nothing"
    for _ in range(2):
        with open_store(killed) as store:
            assert (store.is_indexed, readers_rows(store), store.notes) == (True, 39, [])
            reads(store, 40)
            store.check_invariants()


def test_a_build_of_collections_killed_between_its_commits_goes_on_with_its_index(
    db: Engine, tmp_path: Path
) -> None:
    copies: list[Path] = []
    late: list[bool] = []
    store = store_of(db)

    def commit(event: Event) -> None:
        if event.what is What.COMMITTED:
            late.append(not store.is_indexed)
            copies.append(copy(store.directory, tmp_path / f"copy{len(copies)}"))

    db.listen(commit)
    assert db.get(total) == 780
    db.check_invariants()
    assert (late[-1], sum(late) >= 8) == (False, True)
    assert sorted(late, reverse=True) == late, "once made, it stays"
    expected = index.readers(store.connection)
    assert store.readers(list(expected)) == expected
    for place in copies:
        with open_store(place) as store:
            assert (store.is_indexed, store.notes) == (True, [])
            store.check_invariants()
        with Engine(place) as db:
            assert db.get(total) == 780
            db.set(offset, 1)
            assert db.get(total) == 820
            db.check_invariants()


def test_an_interrupted_first_build_goes_on_with_its_index(db: Engine) -> None:
    store = store_of(db)

    def stop(event: Event) -> None:
        if event.what is What.COMMITTED and not store.is_indexed:
            stops.append(event)
            db._core.torn = True  # as an interrupt amid a change leaves it
            raise KeyboardInterrupt

    stops: list[Event] = []
    stop_listening = db.listen(stop)
    with pytest.raises(KeyboardInterrupt):
        db.get(total)
    stop_listening()
    assert stops
    assert db.get(total) == 780
    assert store.is_indexed
    db.check_invariants()
    store.check_invariants()


def test_a_first_build_writes_the_readers_of_a_node_once(db: Engine) -> None:
    """With each commit those of a popular one were written again, and keys put between all others."""
    rows: list[str] = []
    store_of(db).connection.set_trace_callback(rows.append)
    db.get(total)
    store_of(db).connection.set_trace_callback(None)
    commits = [at for at, text in enumerate(rows) if text == "COMMIT"]
    written = [at for at, text in enumerate(rows) if text.startswith("INSERT INTO readers")]
    assert len(commits) >= 8
    assert commits[-3] < min(written), "the last one makes the indexes of rows"
    assert not any(text.startswith("DELETE FROM readers") for text in rows)


def test_a_full_disk_leaves_an_unfinished_store_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = unfinished(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr("engine.store.index.make", full)
        store = open_store(killed)
        assert (store.read_only, store.is_indexed) == (False, False)
        reads(store, 40)
    store.write(
        Batch(nodes=[node(41, 40)], readers=[(40, packed(41))], state=State(2, 42, 4, b"", (2, 0, 0)))
    )
    assert store.is_indexed
    reads(store, 41)
    store.check_invariants()
    store.close()


def test_where_there_is_no_room_for_the_index_the_end_of_a_first_build_is_saved_without(
    db: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(db)
    with monkeypatch.context() as patch:
        patch.setattr("engine.store.index.make", full)
        assert (db.get(total), store.is_indexed) == (780, False)
        with Engine(copy(store.directory, tmp_path / "full")) as later:
            assert (later.get(total), later.counts().executed) == (780, 0)
        assert db.get(raised, 50) == 50
        (note,) = db.notes()
        assert "no room for its index" in note
    assert (db.get(raised, 51), store.is_indexed) == (51, False), "tried once: it takes seconds each time"
    db.check_invariants()
    directory = store.directory
    db.close()
    with Engine(directory) as later:
        assert (later.get(total), later.get(raised, 51), later.counts().executed) == (780, 51, 0)
        assert store_of(later).is_indexed, "there is room again"
        later.check_invariants()


@pytest.mark.parametrize(
    "harm",
    [
        "INSERT INTO readers SELECT 1, x'02000000', sum FROM query LIMIT 1",
        "DROP INDEX node_key",
    ],
)
def test_half_an_index_is_damage(tmp_path: Path, harm: str) -> None:
    with open_store(tmp_path) as store:
        for part in [*parts()][: 2 if harm.startswith("INSERT") else 3]:
            store.write(part)
        store.connection.execute(harm)
        with pytest.raises(StoreDamaged, match="readers"):
            store.check_invariants()


def test_a_node_without_readers_has_no_row_at_the_end_of_a_build_either(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        readers = [(1, packed(2)), (2, b"")]
        store.write(Batch([node(1), node(2, 1)], readers=readers, extent=Extent.ALL))
        assert store.readers([1, 2]) == {1: packed(2)}
