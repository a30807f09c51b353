"""Stores of earlier versions: migrated whole or set aside, also when that is interrupted or killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from engine.store import Batch, State, VersionRow, open_store, opening, schema, writing
from engine.store.checksums import state_sum, total_bytes
from engine.store.repair import load_state
from tests.stored_collections import TABLE, filled
from tests.stores import closed_store, copy, database, dump, sql


def version_1(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """A closed store as version 1 left it."""
    return of_version(1, directory, monkeypatch)


def of_version(
    number: int, directory: Path, monkeypatch: pytest.MonkeyPatch, revisions: int = 3
) -> tuple[object, ...]:
    migration = schema.MIGRATIONS[number]
    text = "".join(migration.tables)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == TEXTS[number]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", number)
        patch.setattr(schema, "TABLES", migration.tables)
        patch.setattr(writing, "write_observed", lambda *given: 0)  # since version 4
        return closed_store(directory, revisions)


TEXTS = {
    1: "472e3a1539e3ab98",
    2: "c5948d53764b4e63",
    3: "95f5a76379f887c5",
    4: "3e5c19c1dd8f62d6",
}  # sha256 of the schemas of earlier versions


def test_a_damaged_store_of_an_earlier_version_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its histories are dropped before anything is audited."""
    for number in (3, 4):
        directory = tmp_path / str(number)
        of_version(number, directory, monkeypatch)
        sql(directory, "INSERT INTO version VALUES (1, x'', 'a text of 16 let')")
        with open_store(directory) as store:
            assert "it was set aside as" in store.notes[0]


def test_a_store_of_every_earlier_version_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(TEXTS) == list(range(1, schema.VERSION)) == list(schema.MIGRATIONS)
    for number in TEXTS:
        directory = tmp_path / str(number)
        expected = of_version(number, directory, monkeypatch)
        with open_store(directory) as store:
            assert store.notes == [opening.MIGRATED.format(number, schema.VERSION)]
            assert dump(store) == expected
            assert store.versions([1]) == {}
            assert store.earlier([1]) == {}
            store.check_invariants()


def test_what_nodes_were_before_is_dropped_by_the_migration_from_version_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (table, columns) in enumerate({"version": 3, "earlier": 11}.items()):
        directory = tmp_path / table
        expected = of_version(4, directory, monkeypatch)
        with sqlite3.connect(database(directory), isolation_level=None) as connection:
            stored = load_state(connection)
            row = [number + 1, *[b""] * (columns - 1)]
            row[2 if table == "version" else 9] = bytes([9] * 16)  # the sum of no row of ours: nobody looks
            connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * columns)})", row)
            total = int.from_bytes(stored.total, "little") + int.from_bytes(bytes([9] * 16), "little")
            after = stored._replace(total=total_bytes(total))
            connection.execute("UPDATE state SET total = ?, sum = ?", (after.total, state_sum(after)))
        connection.close()
        sql(directory, "", renew_seal=True)
        with open_store(directory) as store:
            assert store.notes == [opening.MIGRATED.format(4, schema.VERSION)]
            assert dump(store) == expected
            assert (store.versions([1]), store.earlier([1])) == ({}, {})
            store.write(Batch(versions=[VersionRow(1, 1, 2, bytes(16))]))
            store.check_invariants()


def test_a_store_of_version_4_that_was_tampered_with_is_not_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version(4, tmp_path, monkeypatch)
    sql(tmp_path, "UPDATE state SET revision = 9", renew_seal=True)
    with open_store(tmp_path) as store:
        assert "computed again" in "".join(store.notes)
        assert store.state == State()


def test_a_store_of_version_1_is_migrated_with_all_its_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = version_1(tmp_path, monkeypatch)
    for notes in ([opening.MIGRATED.format(1, schema.VERSION)], []):
        with open_store(tmp_path) as store:
            assert store.notes == notes
            assert dump(store) == expected
            store.check_invariants()
            if notes:
                assert store.derived.collections() == []
                continue
            store.write(Batch(collections=filled().collections, rows=filled().rows))
            assert store.derived.count(TABLE, []) == 18
            store.check_invariants()


def test_a_store_of_version_1_that_was_tampered_with_is_not_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1(tmp_path / "good", monkeypatch)
    for number, script in enumerate(
        [
            "CREATE TABLE collection (id)",
            "CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM node; END",
            "UPDATE node SET flags = 3 WHERE id = 5",
            "UPDATE state SET revision = 9",
        ]
    ):
        directory = copy(tmp_path / "good", tmp_path / str(number))
        sql(directory, script, renew_seal=True)
        with open_store(directory) as store:
            assert "computed again" in "".join(store.notes)
            assert store.state == State()


def test_a_migration_that_is_interrupted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = version_1(tmp_path, monkeypatch)
    migration = schema.MIGRATIONS[1]
    apply = migration.apply

    def fail(connection: sqlite3.Connection) -> None:
        apply(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", {1: migration._replace(apply=fail)})
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path)
    with open_store(tmp_path) as store:
        assert dump(store) == expected
        assert store.notes == [opening.MIGRATED.format(1, schema.VERSION)]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("number", list(TEXTS))
def test_a_migration_that_is_killed_before_its_merge_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, log: bool
) -> None:
    """It had said that a log which does not belong was set aside, and migrated again."""
    if log:
        monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    expected = of_version(number, tmp_path, monkeypatch)
    assert bool((tmp_path / "store.db-wal").stat().st_size) == log
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(opening, "audit", lambda *_, **__: os._exit(42))
        open_store(tmp_path)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    for notes in ([opening.MIGRATED.format(number, schema.VERSION)], []):
        with open_store(tmp_path) as store:
            assert store.notes == notes
            assert dump(store) == expected
            store.check_invariants()
        with open_store(tmp_path, read_only=True) as store:
            assert dump(store) == expected
    assert not list(tmp_path.glob("store.corrupt-*"))


@pytest.mark.parametrize("number", list(TEXTS))
def test_a_log_that_does_not_belong_is_set_aside_before_a_migration_is_made_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The whole store had gone, for the audit after the migration found it in disorder."""
    expected = of_version(number, tmp_path / "mine", monkeypatch)
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    of_version(number, tmp_path / "other", monkeypatch, revisions=4)
    shutil.copy(tmp_path / "other" / "store.db-wal", tmp_path / "mine")
    with open_store(tmp_path / "mine") as store:
        assert [note.partition("aside")[0] for note in store.notes] == [
            opening.BEHIND.partition("aside")[0],
            opening.MIGRATED.format(number, schema.VERSION),
        ]
        assert dump(store) == expected
