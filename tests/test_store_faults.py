"""Foreign, newer, older and tampered files, a full disk, no permission: refused, migrated or survived."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import (
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreInUse,
    StoreReadOnly,
    StoreTooNew,
    StoreUnsafe,
)
from engine.store import Batch, State, open_store, opening, schema, seal
from engine.store.directory import Files
from engine.store.rawfile import RawFile
from tests.folders import without_privileges
from tests.stores import closed_store, command, copy, database, dump, graph, node, run

# -- foreign, newer, older ------------------------------------------------------------------------------


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
    """X2, M21: even by somebody who renews the seal."""
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
    monkeypatch.setattr(schema, "MIGRATIONS", {old: None})
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


def test_another_journal_mode_is_put_right(tmp_path: Path) -> None:
    expected = closed_store(tmp_path)
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    with open_store(tmp_path) as store:
        assert dump(store) == expected
        store.write(graph(5, revision=2))
        assert store.files.wal_size() > 0
    with open_store(tmp_path) as store:
        assert store.notes == []


# -- space, permissions -----------------------------------------------------------------------------------


def test_on_a_full_disk_nothing_is_half_written_and_it_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """M12. Each number of pages in turn, so that every step of a commit is the one that fails."""
    with open_store(tmp_path) as store:
        store.write(graph(20))
        before = dump(store)
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        failures = 0
        for allowed in range(pages, pages + 12):
            store.connection.execute(f"PRAGMA max_page_count = {allowed}")
            big = graph(20, revision=2)
            more = [node(i, value=bytes(700) + b"%d" % i) for i in range(100, 140)]
            big.nodes = [*big.nodes, *more]
            try:
                store.write(big)
            except StoreFull:
                failures += 1
                assert dump(store) == before
                state = before[0]
                assert isinstance(state, State)
                store.write(Batch(state=state))
        assert failures > 3
        store.connection.execute("PRAGMA max_page_count = 1000000")
        store.write(graph(20, revision=3))
        assert store.state.revision == 3
        store.check_invariants()


def test_a_disk_that_is_full_while_merging_costs_nothing(tmp_path: Path) -> None:
    """A child with a limit on file size: the main file cannot grow, the log is small enough."""
    child = run(
        """
import resource, signal
from engine.errors import StoreError
store = open_store(Path(sys.argv[1]))
store.write(graph(3000))
store.checkpoint()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = store.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for i in range(3):
    store.write(Batch(nodes=[node(10_000 + i, value=bytes(30_000))], state=State(2 + i)))
try:
    store.checkpoint()
except StoreError as error:
    print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.check_invariants()
print(store.checkpoint(), store.state.revision)
store.close()
""",
        tmp_path,
    )
    out, error = child.communicate(timeout=240)
    assert not error, error
    assert out.split()[-2:] == ["True", "4"]
    assert out.split()[0] == "StoreFull"
    with open_store(tmp_path) as store:
        assert (store.notes, store.state.revision) == ([], 4)


READ_ONLY_MOUNT = """
set -e
mkdir -p "$1/mount"
mount --bind "$1/s" "$1/mount"
mount -o remount,bind,ro "$1/mount"
shift
exec "$@"
"""


@pytest.mark.parametrize("has_index", [True, False])
def test_on_a_read_only_mount_the_store_is_read_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_index: bool
) -> None:
    """M14: without its index (-shm) a log cannot be read there; what was merged last is what is seen."""
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no user namespaces here: nothing can be mounted read-only")
    with open_store(tmp_path / "s") as store:
        store.write(graph(10))
        store.checkpoint()
        store.write(graph(10, revision=2))
    if not has_index:
        (tmp_path / "s/store.db-shm").unlink()
    code = """
store = open_store(Path(sys.argv[1]))
print(store.read_only, store.state.revision, len(store.nodes(range(20))), *store.notes, sep="|")
store.close()
try:
    open_store(Path(sys.argv[1]) / "none")
except StoreReadOnly as error:
    print("StoreReadOnly")
"""
    done = subprocess.run(
        [
            "unshare",
            "-Urm",
            "bash",
            "-c",
            READ_ONLY_MOUNT,
            "bash",
            tmp_path,
            *command(code, tmp_path / "mount"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith(f"True|{2 if has_index else 1}|10|The store cannot be written")
    assert ("still in its log" in first) == (not has_index)
    assert second == "StoreReadOnly"


def test_a_directory_that_cannot_be_written_falls_back_to_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root ignores mode bits, so the operating system's answer is played."""
    expected = closed_store(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("engine.store.opening.WriterLock.acquire", refuse)
    with open_store(tmp_path) as store:
        assert store.read_only
        assert dump(store) == expected
        assert "Permission denied" in store.notes[0]
        with pytest.raises(StoreReadOnly):
            store.write(Batch())
    with pytest.raises(StoreReadOnly):
        open_store(tmp_path / "new")


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A directory that a user without privileges may use: those of pytest belong to who runs it."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o777)
        yield Path(made)


def test_a_file_that_cannot_be_written_falls_back_to_reading(anybodys: Path) -> None:
    path = anybodys / "s"
    with without_privileges():
        expected = closed_store(path)
        database(path).chmod(0o400)
        with open_store(path) as store:
            assert store.read_only
            assert dump(store) == expected
            assert store.notes == [opening.FALLBACK.format("Permission denied")]
        database(path).chmod(0o600)
        with open_store(path) as store:
            assert not store.read_only
            store.write(graph(5, revision=9))


def test_a_directory_that_cannot_be_entered_is_refused(anybodys: Path) -> None:
    path = anybodys / "s"
    with without_privileges():
        closed_store(path)
        path.chmod(0)
        with pytest.raises(StoreReadOnly, match="Permission denied"):
            open_store(path)
        path.chmod(0o700)


def test_a_file_in_the_place_of_the_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StoreForeign, match="Name another directory"):
        open_store(tmp_path / "s")
    with pytest.raises(StoreError, match="Name another store"):
        open_store(tmp_path / "s" / "t")
    assert (tmp_path / "s").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a store"
    closed_store(path)
    path.chmod(mode)
    for read_only in (False, True):
        with pytest.raises(StoreUnsafe) as caught:
            open_store(path, read_only=read_only)
        assert f"chmod 700 '{path}'" in str(caught.value)
    path.chmod(0o700)
    open_store(path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_or_file_of_another_user_is_refused(tmp_path: Path) -> None:
    closed_store(tmp_path / "s")
    os.chown(database(tmp_path / "s"), 12345, -1)
    with pytest.raises(StoreUnsafe):
        open_store(tmp_path / "s")
    os.chown(tmp_path / "s", 12345, -1)
    with pytest.raises(StoreUnsafe, match="chown 0"):
        open_store(tmp_path / "s")
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("mine")
    os.lchown(tmp_path / "link", 12345, -1)
    with pytest.raises(StoreUnsafe, match="symbolic link"):
        open_store(tmp_path / "link")


def test_a_store_that_is_removed_while_it_is_open_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    with open_store(tmp_path / "s") as store:
        store.write(graph(5))
        shutil.rmtree(tmp_path / "s")
        with pytest.raises(StoreDamaged, match="removed or replaced"):
            store.write(graph(5, revision=2))
        store.start_over("it was removed")
        store.write(graph(5, revision=2))
        assert store.state.revision == 2
    with open_store(tmp_path / "s") as store:
        assert (store.state.revision, store.notes) == (2, [])


def test_reading_a_store_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(StoreError):
            open_store(path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_refuses_damage_and_touches_nothing(tmp_path: Path) -> None:
    closed_store(tmp_path)
    data = bytearray(database(tmp_path).read_bytes())
    data = data.replace(b"args 30", b"args 31")
    database(tmp_path).write_bytes(data)
    names = set(os.listdir(tmp_path))
    with pytest.raises(StoreDamaged):
        open_store(tmp_path, read_only=True)
    assert {"store.db-wal", "store.db-shm", *os.listdir(tmp_path)} == {"store.db-wal", "store.db-shm", *names}
    assert database(tmp_path).read_bytes() == data


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


def test_a_store_that_another_process_took_over_says_so_to_everybody(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    with open_store(directory) as store:
        shutil.rmtree(directory)
        with open_store(directory):
            for _ in range(2):
                with pytest.raises(StoreInUse):
                    store.start_over("was removed")
                with pytest.raises(StoreInUse):
                    store.nodes([1])
