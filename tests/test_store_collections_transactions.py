"""A batch that makes, changes and drops tables is there whole or not at all, whatever strikes it."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreDamaged, StoreError, StoreFull
from engine.store import Batch, BlockRow, ChangeRow, CursorRow, MemberRow, State, open_store, schema
from tests.stored_collections import FOLD, TABLE, collected, collection, filled, fold, rows_of
from tests.stores import dump, graph


def second() -> Batch:
    """A batch with every kind of change to what `filled` has written."""
    batch = graph(20, revision=2)
    batch.dropped = [FOLD]
    batch.collections = [collection(name="shop.rules:other"), fold(30), collection(31)]
    batch.members = [MemberRow(TABLE, 1, b"new"), MemberRow(TABLE, 9, b"new"), MemberRow(30, 9, b"new")]
    batch.members_gone = [(TABLE, 4)]
    batch.rows = [rows_of(1, ("new", "b", 1)), rows_of(2, ("b", "b", 1), fresh=True, table=31)]
    batch.blocks = [BlockRow(30, 0, b"k", b"d")]
    batch.changes_gone = [1, 2]
    batch.changes = [ChangeRow(9, TABLE, 2, 1, b"")]
    batch.cursors_gone = [(5, "feed")]
    batch.cursors = [CursorRow(TABLE, "index", 9, 2, b"")]
    return batch


def test_interrupted_at_any_statement_a_batch_leaves_nothing_or_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        before = (collected(store), dump(store))
        real = store._connection

        class Stopping:
            in_transaction = property(lambda self: real.in_transaction)
            rollback = real.rollback
            left = 0

            def _call(self, call: Callable[..., Any], *args: Any) -> Any:
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
                return call(*args)

            def execute(self, *args: Any) -> Any:
                return self._call(real.execute, *args)

            def executemany(self, *args: Any) -> Any:
                return self._call(real.executemany, *args)

        stopping = Stopping()
        moment = 0
        while True:
            moment += 1
            stopping.left = moment
            with monkeypatch.context() as patch:
                patch.setattr(store, "_connection", stopping)
                try:
                    store.write(second())
                except KeyboardInterrupt:
                    pass
                else:
                    break
            store.check_invariants()
            if store.put_off:
                break  # it is written: what was interrupted are indexes, which come after it
            assert (collected(store), dump(store)) == before, moment
        assert moment > 40
        store.check_invariants()
        assert [row.id for row in store.derived.collections()] == [TABLE, 30, 31]


def test_a_batch_that_fails_takes_the_tables_that_it_made_along(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        before = collected(store)
        for bad in (
            Batch(changes=[ChangeRow(8, TABLE, 1, 1, b"taken")]),
            Batch(rows=[rows_of(1, ("too", "few"), table=31)]),
            Batch(rows=[rows_of(1, (1 << 64, 1, 1), table=31)]),
        ):
            bad.collections = [collection(31), collection(columns=("a",), index=())]
            bad.dropped = [FOLD]
            with pytest.raises((sqlite3.IntegrityError, StoreError, OverflowError)):
                store.write(bad)
            assert collected(store) == before
            store.check_invariants()
            assert schema.same_schema(store.connection, schema.TABLES)


def test_on_a_full_disk_no_table_is_half_made(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        before = collected(store)
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        failures = 0
        for allowed in range(pages, pages + 40, 3):
            store.connection.execute(f"PRAGMA max_page_count = {allowed}")
            big = second()
            big.rows.append(rows_of(3, *((f"{i}", "x" * 100, i) for i in range(900)), table=31))
            try:
                store.write(big)
            except StoreFull:
                failures += 1
                assert collected(store) == before
        assert failures > 10
        store.connection.execute("PRAGMA max_page_count = 1000000")
        store.check_invariants()
        store.write(second())
        store.check_invariants()


def test_killed_while_tables_are_made_and_dropped_each_revision_is_whole(tmp_path: Path) -> None:
    dice = random.Random(4)
    directory = tmp_path / "s"
    open_store(directory).close()
    seen = set()
    for _ in range(12):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                from engine.store import tidying as module

                module.WAL_LIMIT_BYTES = 150_000
                store = open_store(directory)
                for revision in range(store.state.revision + 1, 10**6):
                    rows = [rows_of(m, *((i, m, revision) for i in range(20))) for m in range(1, 6)]
                    made = collection(name=f"m:n{revision}") if revision % 3 == 0 else None
                    store.write(
                        Batch(
                            collections=[made] if made else [] if revision > 1 else [collection()],
                            rows=rows,
                            state=State(revision),
                        )
                    )
                    os.write(writer, b".")
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            assert lines.read(1)
            time.sleep(dice.random() * 0.06)
            os.kill(child, 9)
            os.waitpid(child, 0)
        with open_store(directory) as store:
            assert "computed again" not in "".join(store.notes)
            found = store.derived.select(TABLE, [])
            assert len(found) == 100
            assert {values[2] for *_, values in found} == {store.state.revision}
            store.check_invariants()
            seen.add(store.state.revision)
    assert len(seen) > 6


def test_a_reader_keeps_the_old_table_until_it_moves_on(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        with open_store(tmp_path, read_only=True) as reader:
            before = collected(reader)
            store.write(second())
            assert collected(reader) == before
            reader.check_invariants()
            assert reader.refresh()
            assert collected(reader) == collected(store)
            reader.check_invariants()
            store.connection.execute("CREATE VIEW planted AS SELECT 1")
            with pytest.raises(StoreDamaged, match="another schema"):
                reader.refresh()
