"""A batch is one transaction: failed, interrupted or looked at meanwhile, it is there whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import Engine, query, table
from engine.errors import StoreReadOnly
from engine.store import QueryRow, open_store
from tests.stores import closed_store, dump, graph, run


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(20))
        before = dump(store)
        second = graph(20, revision=2)
        second.queries.append(QueryRow(9, "m:q1", b"", b""))  # the name is taken
        with pytest.raises(sqlite3.IntegrityError):
            store.write(second)
        assert dump(store) == before
        store.write(graph(20, revision=3))
        assert store.state.revision == 3
        store.check_invariants()


@pytest.mark.parametrize("moment", range(12))
def test_an_interrupt_stays_an_interrupt_and_the_store_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """At the N-th SQL call of a commit, also right after COMMIT."""
    with open_store(tmp_path) as store:
        store.write(graph(20))
        real = store._connection
        calls = 0

        class Interrupting:
            in_transaction = property(lambda self: real.in_transaction)
            rollback = real.rollback

            def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
                nonlocal calls
                calls += 1
                if calls == moment and sql != "COMMIT":
                    raise KeyboardInterrupt
                result = real.execute(sql, *args)  # type: ignore[arg-type]  # as they come
                if sql == "COMMIT" and moment == 0:
                    raise KeyboardInterrupt
                return result

            executemany = real.executemany

        with monkeypatch.context() as patch:
            patch.setattr(store, "_connection", Interrupting())
            with pytest.raises(KeyboardInterrupt):
                store.write(graph(20, revision=2))
        assert store.state.revision == (2 if moment == 0 else 1)
        store.check_invariants()
        store.write(graph(20, revision=3))
        store.check_invariants()


def test_a_reader_sees_whole_revisions_and_moves_on_when_told(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30, revision=1))
        with open_store(tmp_path, read_only=True) as reader:
            first = dump(reader)
            for revision in (2, 3):
                store.write(graph(30, revision=revision))
            assert dump(reader) == first
            assert reader.refresh()
            assert dump(reader) == dump(store)
            assert not reader.refresh()
            before = dump(reader)
            store.write(graph(30, revision=4))
            with pytest.raises(StoreReadOnly):
                reader.write(graph(30))
            assert dump(reader) == before
            with pytest.raises(sqlite3.OperationalError):
                reader.connection.execute("DELETE FROM node")
            reader.check_invariants()


def test_a_reader_in_another_process_never_sees_half_a_commit(tmp_path: Path) -> None:
    writer = run(
        """
store = open_store(Path(sys.argv[1]))
for revision in range(1, 10**6):
    store.write(graph(40, revision=revision))
    if revision == 1: print("go", flush=True)
""",
        tmp_path,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        seen: set[int] = set()
        with open_store(tmp_path, read_only=True) as reader:
            began = time.monotonic()
            while (lasted := time.monotonic() - began) < 1 or (len(seen) < 4 and lasted < 60):
                revisions = {row.changed_at for row in reader.nodes(range(1, 41)).values()}
                assert revisions == {reader.state.revision}
                seen |= revisions
                reader.refresh()
        assert len(seen) > 3
    finally:
        writer.kill()
        writer.communicate()


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    with open_store(tmp_path) as store:
        store.write(graph(60))

        def work(number: int) -> None:
            try:
                for turn in range(30):
                    if number == 0:
                        store.write(graph(60, revision=turn))
                    assert len(store.nodes(range(1, 61))) == 60
                    assert store.find(2, b"args 4") is not None
            except BaseException as error:  # reported below, in the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        store.check_invariants()


class Pair(NamedTuple):
    number: int
    name: str


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(40))


@table(each=numbers, index=("name",))
def pairs(number: int) -> Iterable[Pair]:
    yield Pair(number, f"name {number % 4}")


@pytest.mark.parametrize("place", ["row_index.make", "tidying.layouts"])
def test_where_indexes_cannot_be_made_after_a_commit_its_rows_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The commit was taken for one that had failed, and the next one wrote all rows once more."""

    def fails(*given: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
        raise error

    with Engine(tmp_path) as db:
        assert db.store is not None
        with monkeypatch.context() as patch:
            patch.setattr(f"engine.store.{place}", fails)
            assert db.get(pairs.count) == 40
            assert len(db.get(pairs.where, name="name 2")) == 10
        assert len(db.get(pairs.where, name="name 3")) == 10
        assert db.store.put_off
    with Engine(tmp_path) as db:
        assert db.store is not None
        assert not db.store.put_off
        assert (db.get(pairs.count), len(db.get(pairs.where, name="name 1"))) == (40, 10)
        db.store.check_invariants()


def test_who_reads_a_copy_without_locks_leaves_it_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)  # a log is left
        expected = closed_store(tmp_path)
    for name in ("lock", "lock.readers"):
        (tmp_path / name).unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with open_store(tmp_path, read_only=True) as store:
        assert dump(store) == expected
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "store.db-shm"}
    assert after == {name: data for name, data in before.items() if name != "store.db-shm"}
