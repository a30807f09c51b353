"""A full disk leaves nothing half written, and a store that is removed or taken over is noticed."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, input, query
from engine.errors import StoreDamaged, StoreError, StoreFull, StoreInUse
from engine.store import Batch, State, merging, open_store, opening
from tests.stores import command, copy, dump, graph, node, run


@input
def number() -> int:
    return 41


@query
def answer() -> int:
    return number() + 1


def test_on_a_full_disk_nothing_is_half_written_and_it_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """Each number of pages in turn, so that every step of a commit is the one that fails."""
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
    out, error = child.communicate(timeout=600)
    assert not error, error
    assert out.split()[-2:] == ["True", "4"]
    assert out.split()[0] == "StoreFull"
    with open_store(tmp_path) as store:
        assert (store.notes, store.state.revision) == ([], 4)


def test_a_store_that_is_removed_while_it_is_open_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    with open_store(tmp_path / "s") as store:
        store.write(graph(5))
        shutil.rmtree(tmp_path / "s")
        with pytest.raises(StoreDamaged, match="removed or replaced"):
            store.write(graph(5, revision=2))
        store.start_over(StoreDamaged(reason="it was removed"))
        store.write(graph(5, revision=2))
        assert store.state.revision == 2
    with open_store(tmp_path / "s") as store:
        assert (store.state.revision, store.notes) == (2, [])


def test_a_store_that_another_process_took_over_says_so_to_everybody(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    with open_store(directory) as store:
        shutil.rmtree(directory)
        with open_store(directory):
            for _ in range(2):
                with pytest.raises(StoreInUse):
                    store.start_over(StoreDamaged(reason="was removed"))
                with pytest.raises(StoreInUse):
                    store.nodes([1])


def test_a_project_with_a_store_that_takes_the_place_of_another_keeps_its_store(tmp_path: Path) -> None:
    """It was set aside as damaged, with what its host had set."""
    place, other = tmp_path / "project", tmp_path / "other"
    with Engine(other / "store") as db:
        db.set(number, 5)
    files = {name: (other / "store" / name).read_bytes() for name in ("store.db", "store.seal")}
    db = Engine(place / "store")
    assert db.get(answer) == 42
    place.rename(tmp_path / "away")
    other.rename(place)
    for _ in range(2):
        with pytest.raises(StoreError, match="another store lies in its place"):
            db.set(number, 1)
    with pytest.raises(StoreError, match="another store"):
        db.close()
    assert {name: (place / "store" / name).read_bytes() for name in files} == files
    with Engine(place / "store") as db:
        assert (db.get(answer), db.notes()) == (6, ())
    with Engine(tmp_path / "away" / "store") as db:
        assert (db.get(answer), db.notes()) == (42, ())


def test_who_asks_while_another_thread_sets_the_store_aside_waits_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = threading.Event(), threading.Event()
    opens = opening.open_for_writing

    def slowly(*args: Any, **named: Any) -> Any:
        began.set()
        assert goes_on.wait(120)
        return opens(*args, **named)

    with open_store(tmp_path / "s") as store:
        store.write(graph(5))
        monkeypatch.setattr("engine.store.sqlite.open_for_writing", slowly)
        with ThreadPoolExecutor(2) as pool:
            starting = pool.submit(store.start_over, StoreDamaged(reason="of a test"))
            assert began.wait(120)
            proven = pool.submit(store.prove)
            early = wait([proven], 0.2).done
            goes_on.set()
            assert not early
            starting.result(60)
            assert proven.result(60) is False


FULL_DISK = """
set -e
mkdir -p "$1/mount"
mount -t tmpfs -o size=600k,mode=700 tmpfs "$1/mount"
cp -r "$1/s/." "$1/mount/"
dd if=/dev/zero of="$1/mount/fill" bs=1k 2>/dev/null || true
shift
exec "$@"
"""


@pytest.mark.parametrize("has_index", [True, False])
def test_a_store_is_opened_on_a_full_disk_and_answers(tmp_path: Path, has_index: bool) -> None:
    """The name of who holds it is left out. Without its index (-shm) it can be read, and then not its log."""
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no user namespaces here: nothing can be mounted")
    with open_store(tmp_path / "s") as store:
        store.write(graph(10))
        store.checkpoint()
    if not has_index:
        (tmp_path / "s/store.db-shm").unlink()
    code = """
import os
from engine.errors import StoreFull, StoreReadOnly
store = open_store(Path(sys.argv[1]))
print(store.read_only, store.state.revision, len(store.nodes(range(20))), *store.notes, sep="|")
try:
    store.write(graph(10, revision=2))
except (StoreFull, StoreReadOnly) as error:
    print(type(error).__name__, store.state.revision)
store.close()
try:
    open_store(Path(sys.argv[1]) / "none")
except StoreFull as error:
    print("StoreFull")
os.unlink(Path(sys.argv[1]) / "fill")
with open_store(Path(sys.argv[1])) as store:
    store.write(graph(10, revision=3))
    store.check_invariants()
    print(store.read_only, store.state.revision, *store.notes)
"""
    place = ["bash", "-c", FULL_DISK, "bash", str(tmp_path), *command(code, tmp_path / "mount")]
    done = subprocess.run(
        ["unshare", "-Urm", *place], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stderr == ""
    first, second, third, last = done.stdout.splitlines()
    if has_index:
        assert (first, second) == ("False|1|10", "StoreFull 1")
    else:
        assert first == "True|1|10|" + opening.FALLBACK.format("disk I/O error")
        assert second == "StoreReadOnly 1"
    assert (third, last) == ("StoreFull", "False 3")


def test_who_has_no_descriptors_left_is_told_that_the_store_cannot_be_read(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(3))
    child = run(
        """
import os, resource
from engine.errors import StoreError
spent = os.open("/dev/null", os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_NOFILE, (spent + 1, spent + 1))
try:
    open_store(Path(sys.argv[1]), read_only=True)
except StoreError as error:
    print(error.fields["reason"])
""",
        tmp_path,
    )
    out, error = child.communicate(timeout=600)
    assert (out.strip(), error) == ("Too many open files", "")


def test_who_runs_out_of_descriptors_while_a_store_opens_is_told_and_gets_no_half_of_it(
    tmp_path: Path,
) -> None:
    """SQLite cannot say why it opens no file: it was taken for one that cannot be written, and was opened for
    reading, for as long as the engine lived, or without its log.
    """
    with open_store(tmp_path) as store:
        store.write(graph(3))
    child = run(
        """
import os, resource
from engine.errors import StoreError
from engine.store import sqlite
sqlite.CLOSE_FILE_BYTES = 0
with open_store(Path(sys.argv[1])) as store:
    store.write(graph(3, revision=2))
spent = os.open("/dev/null", os.O_RDONLY)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for more in range(1, 20):
    for read_only in (False, True):
        resource.setrlimit(resource.RLIMIT_NOFILE, (spent + more, hard))
        try:
            store = open_store(Path(sys.argv[1]), read_only=read_only)
        except StoreError as error:
            print(error.fields["reason"])
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            print(store.read_only == read_only, store.state.revision, *store.notes)
            store.close()
""",
        tmp_path,
    )
    out, error = child.communicate(timeout=600)
    assert not error, error
    assert set(out.splitlines()) == {"Too many open files", "True 2"}


@pytest.mark.parametrize("code", ["SQLITE_CANTOPEN", "SQLITE_FULL"])
def test_what_passes_while_a_store_opens_leaves_it_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """It was opened for reading, and nothing was saved any more."""
    with open_store(tmp_path) as store:
        store.write(graph(3))

    def fail_once(*_: Any) -> Any:
        monkeypatch.setattr(opening, "connect", merging.connect)
        error = sqlite3.OperationalError("of a test")
        error.sqlite_errorcode = getattr(sqlite3, code)
        raise error

    monkeypatch.setattr(opening, "connect", fail_once)
    with open_store(tmp_path) as store:
        assert (store.read_only, store.notes) == (False, [])
        store.write(graph(3, revision=2))


def test_a_machine_that_writes_numbers_the_other_way_round_gets_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.byteorder", "big")
    with pytest.raises(StoreError, match=r"little-endian[\s\S]*--no-store"):
        open_store(tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("harm", ["file", "file above", "loop"])
def test_a_store_in_whose_place_something_else_lies_is_told_of_as_such(tmp_path: Path, harm: str) -> None:
    """`get` and `close` had ended with NotADirectoryError and a traceback."""
    place = tmp_path / "project" / "store"
    db = Engine(place)
    assert db.get(answer) == 42
    moved = place.parent if harm == "file above" else place
    moved.rename(tmp_path / "away")
    if harm == "loop":
        moved.symlink_to(moved.name)
    else:
        moved.write_text("something else")
    with pytest.raises(StoreError, match=re.escape(str(place))):
        db.set(number, 1)
    with pytest.raises(StoreError, match=re.escape(str(place))):
        db.get(answer)
    with pytest.raises(StoreError):
        db.close()
    assert harm == "loop" or moved.read_text() == "something else"


def test_a_log_that_is_deleted_while_the_store_is_open_is_not_lost(tmp_path: Path) -> None:
    """All that was committed since it was last merged had gone with it."""
    with open_store(tmp_path / "store") as store:
        store.write(graph(20))
        store.files.wal.unlink()
        for revision in (2, 3):
            store.write(graph(20, revision=revision))
            with open_store(copy(store.directory, tmp_path / "copy")) as other:
                assert (other.state.revision, other.audited, other.notes) == (revision, False, [])
                other.check_invariants()


def test_a_deleted_lock_of_the_readers_comes_back(tmp_path: Path) -> None:
    """Nothing was merged any more."""
    with open_store(tmp_path / "store") as store:
        store.write(graph(20))
        store.files.readers.unlink()
        assert store.checkpoint()
        assert store.files.readers.exists()
    assert store.notes == []
