"""Files that another program or another version made or changed: refused, migrated, or computed again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from engine import Engine, input, query
from engine.errors import StoreDamaged, StoreError, StoreForeign, StoreTooNew
from engine.store import Batch, State, open_store, opening, repair, schema, seal
from engine.store.directory import Files
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.stores import closed_store, command, copy, database, dump, graph, node, packed


def foreign_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()


def newer(path: Path) -> None:
    closed_store(path.parent)
    (path.parent / "store.seal").unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (foreign_sqlite, StoreForeign),
        (lambda path: path.write_text("a text file\n" * 50), StoreForeign),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), StoreForeign),
        (lambda path: path.mkdir(), StoreForeign),
        (lambda path: os.mkfifo(path), StoreForeign),
        (lambda path: path.symlink_to("/dev/null"), StoreForeign),
        (lambda path: path.symlink_to("elsewhere"), StoreForeign),
        (newer, StoreTooNew),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_not_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], error: type[StoreError], read_only: bool
) -> None:
    path = database(tmp_path)
    make(path)
    before = (path.lstat(), path.read_bytes() if path.is_file() else b"")
    with pytest.raises(error) as caught:
        open_store(tmp_path, read_only=read_only)
    after = (path.lstat(), path.read_bytes() if path.is_file() else b"")
    assert after[1] == before[1]
    assert after[0].st_mtime_ns == before[0].st_mtime_ns
    if error is StoreTooNew:
        assert "999" in str(caught.value)
        assert str(schema.VERSION) in caught.value.fields["supported"]


def test_a_newer_version_that_is_only_in_the_log_is_refused_without_a_merge(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(5))
        store.checkpoint()
        store.connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        copied = copy(tmp_path, tmp_path.with_name("killed"))
    before = {name: (copied / name).read_bytes() for name in ("store.db", "store.db-wal")}
    with pytest.raises(StoreTooNew):
        open_store(copied)
    assert {name: (copied / name).read_bytes() for name in before} == before


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    database(tmp_path).touch()
    with open_store(tmp_path) as store:
        assert (store.state, store.notes) == (State(), [])
        store.write(graph(3))


PLANTED = {
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM node; END",
    "view": "CREATE VIEW v AS SELECT 1",
    "table": "CREATE TABLE extra (a)",
    "index": "CREATE INDEX i ON node(abs(id))",
    "virtual": "CREATE VIRTUAL TABLE f USING fts5(a)",
    "column": "ALTER TABLE node ADD COLUMN extra",
    "generated": "ALTER TABLE node ADD COLUMN g AS (id + 1)",
    "check": """PRAGMA writable_schema = ON; UPDATE sqlite_master
        SET sql = replace(sql, 'CHECK (id = 1)', 'CHECK (id < 9)') WHERE name = 'state'""",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_schema_that_was_tampered_with_is_never_used(tmp_path: Path, kind: str) -> None:
    """Even by somebody who renews the seal."""
    closed_store(tmp_path)
    with sqlite3.connect(database(tmp_path), isolation_level=None) as connection:
        connection.executescript(PLANTED[kind])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    raw = RawFile.open(database(tmp_path))
    old = seal.read_seal(tmp_path / "store.seal")
    assert old is not None
    seal.write_seal(tmp_path / "store.seal", old._replace(size=raw.size(), digest=raw.digest()))
    raw.close()
    with pytest.raises(StoreDamaged):
        open_store(tmp_path, read_only=True)
    with open_store(tmp_path) as store:
        assert "schema" in store.notes[0]
        assert "computed again" in store.notes[0]
        assert store.state == State()
        store.write(graph(5))
        store.check_invariants()


def test_an_older_version_is_migrated_or_rebuilt_and_a_note_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = closed_store(tmp_path / "old")
    old, old_tables = schema.VERSION, schema.TABLES
    added = "CREATE INDEX node_query ON node(query)"
    monkeypatch.setattr(schema, "VERSION", old + 1)
    monkeypatch.setattr(schema, "TABLES", (*old_tables, added))

    rebuilt = copy(tmp_path / "old", tmp_path / "rebuilt")
    monkeypatch.setattr(schema, "MIGRATIONS", {})
    with open_store(rebuilt) as store:
        assert f"version {old}" in store.notes[0]
        assert "computed again" in store.notes[0]
        assert store.state == State()

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute(added)
        connection.execute("DELETE FROM node")
        raise KeyboardInterrupt

    kept = copy(tmp_path / "old", tmp_path / "kept")
    monkeypatch.setattr(schema, "MIGRATIONS", {old: schema.Migration(old_tables, fail)})
    with pytest.raises(KeyboardInterrupt):
        open_store(kept)

    def succeed(connection: sqlite3.Connection) -> None:
        connection.execute(added)

    migrate = schema.Migration(old_tables, succeed)
    monkeypatch.setattr(schema, "MIGRATIONS", {old: migrate})
    for notes in ([opening.MIGRATED.format(old, old + 1)], []):
        with open_store(kept) as store:
            assert store.notes == notes
            assert dump(store) == expected
            store.check_invariants()


def test_the_sqlite_shell_may_look_and_all_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last connection to close merges the log under our seal; the audit finds all in order."""
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    expected = closed_store(tmp_path, revisions=3)
    shell = shutil.which("sqlite3")
    look = (
        [shell]
        if shell
        else [sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])"]
    )
    subprocess.run([*look, database(tmp_path), "SELECT count(*) FROM node"], check=True, capture_output=True)
    for notes in ([opening.AUDITED], []):
        with open_store(tmp_path) as store:
            assert store.notes == notes
            assert dump(store) == expected


def test_what_the_sqlite_shell_changes_is_not_believed(tmp_path: Path) -> None:
    closed_store(tmp_path)
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("DELETE FROM node WHERE id = 60")
    connection.close()
    with open_store(tmp_path) as store:
        assert store.state == State()
        assert "computed again" in store.notes[0]


@input
def number() -> int:
    return 1


@query
def next_number() -> int:
    return number() + 1


@pytest.mark.parametrize("statement", ["DELETE FROM readers", "CREATE TABLE mine (a)"])
def test_what_another_program_writes_while_an_engine_is_open_is_not_believed(
    tmp_path: Path, statement: str
) -> None:
    """The next commits took it for ours, and sealed it: then nothing led from an input to its readers."""
    with Engine(tmp_path) as db:
        assert db.get(next_number) == 2
    with Engine(tmp_path) as db:
        with closing(sqlite3.connect(database(tmp_path))) as connection, connection:
            connection.execute(statement)
        db.set(number.key(), 7)
        assert db.get(next_number) == 8
        assert "(another program wrote to it); it was set aside" in db.notes()[0]
    with Engine(tmp_path) as db:
        assert db.get(next_number) == 8
        assert db.notes() == ()


@pytest.mark.parametrize("merge", [Store.close, Store.checkpoint, Store.tidy])
def test_what_another_program_wrote_before_a_store_is_closed_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: Callable[[Store], object]
) -> None:
    """No commit of ours follows, which would find it. The next opening took the rest for all there is."""
    monkeypatch.setattr("engine.store.tidying.WAL_LIMIT_BYTES", 1)  # is merged by `tidy`
    with open_store(tmp_path) as store:
        store.write(graph(60))
        with closing(sqlite3.connect(database(tmp_path))) as connection, connection:
            connection.execute("DELETE FROM readers WHERE dependency = 7")
        merge(store)
    with open_store(tmp_path) as store:
        assert store.state == State()
        assert "computed again" in store.notes[0]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("merged", [False, True])
def test_what_another_program_leaves_in_the_log_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: bool, read_only: bool
) -> None:
    """Of a program that was killed, or is still there. Nothing led from an input to its readers then."""
    if not merged:
        monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    closed_store(tmp_path)
    program = "import os, sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2]); os._exit(0)"
    delete = "PRAGMA wal_autocheckpoint = 0; DELETE FROM readers WHERE dependency = 7"
    subprocess.run([sys.executable, "-c", program, database(tmp_path), delete], check=True)
    if read_only:
        with pytest.raises(StoreDamaged):
            open_store(tmp_path, read_only=True)
    else:
        with open_store(tmp_path) as store:
            assert store.state == State()
            assert "computed again" in store.notes[0]


@pytest.mark.parametrize("suspects", [1, 2_000])
def test_every_commit_of_ours_is_known_as_one_of_ours(tmp_path: Path, suspects: int) -> None:
    """Also one that changes no checksum, as where a value comes later, or none but the last columns."""
    batch = graph(60)
    assert batch.state is not None
    batch.state = batch.state._replace(suspects=packed(*[2] * suspects))
    with open_store(tmp_path / "s") as store:
        store.write(evolve(batch, nodes=[row._replace(value=None) for row in batch.nodes]))
        store.checkpoint()
        store.write(Batch())
        store.write(Batch(nodes=batch.nodes))
        store.write(Batch(nodes=[node(7, 5, 6, value=b"another")]))
        with open_store(copy(store.directory, tmp_path / "killed")) as killed:
            assert (killed.audited, dump(killed)) == (False, dump(store))
            assert killed.values([6, 7]) == {6: b"value 6", 7: b"another"}


@pytest.mark.parametrize(
    "statement", ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA user_version = 5"]
)
def test_what_another_program_only_rewrites_is_kept(tmp_path: Path, statement: str) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(60))
        with closing(sqlite3.connect(database(tmp_path))) as connection:
            connection.execute(statement).fetchall()
        store.write(graph(60, revision=2))
        assert (store.notes, store.state.revision) == ([], 2)
        store.check_invariants()


def test_a_commit_that_failed_for_want_of_room_is_none_of_another_program(tmp_path: Path) -> None:
    """Some of it was in the log before it failed. The next commits each read everything first."""
    code = """
import resource, signal
from engine.errors import StoreFull
from engine.store import repair
store = open_store(Path(sys.argv[1]))
store.write(graph(60))
store.connection.execute("PRAGMA cache_size = 10")
repair.audit = lambda connection: print("read everything")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = store.files.wal_size() + 100_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        store.write(Batch(nodes=[node(i, value=bytes(4000)) for i in range(100, 200)]))
    except StoreFull:
        print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write(graph(60, revision=2))
"""
    done = subprocess.run(command(code, tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout == "full\n" * 3


def test_a_copy_that_is_restored_while_a_store_is_open_is_not_gone_on_from(tmp_path: Path) -> None:
    """All of it agrees; but it is older than what we know, and the next commit mixed the two."""
    with open_store(tmp_path / "s") as store:
        store.write(graph(40))
        for name, source, target in (("save", "s/store.db", "old"), ("restore", "old", "s/store.db")):
            one, other = sqlite3.connect(tmp_path / source), sqlite3.connect(tmp_path / target)
            with closing(one), closing(other):
                one.backup(other)
            if name == "save":
                store.write(graph(60, revision=2))
        with pytest.raises(StoreDamaged, match="another program wrote to it"):
            store.write(graph(60, revision=3))


def test_another_journal_mode_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = closed_store(tmp_path)
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    with open_store(tmp_path) as store:
        assert dump(store) == expected
        monkeypatch.setattr(repair, "audit", None)  # once is enough
        store.write(graph(5, revision=2))
        assert store.files.wal_size() > 0
    with open_store(tmp_path) as store:
        assert store.notes == []


def test_seals_that_make_no_sense_lead_to_an_audit(tmp_path: Path) -> None:
    expected = closed_store(tmp_path)
    path = Files(tmp_path).seal
    for text in (b"", b"\xff" * 300, path.read_bytes()[:-5], path.read_bytes().replace(b"size ", b"size 9")):
        path.write_bytes(text)
        with open_store(tmp_path) as store:
            assert store.notes == [opening.AUDITED]
            assert dump(store) == expected
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError):
        open_store(tmp_path)
