"""A large log is merged by a thread, while others read and commit."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreDamaged, StoreFull
from engine.store import lock, merging, ongoing, open_store, opening, seal, tidying
from engine.store.directory import Files
from engine.store.others import pages_of_all_commits
from engine.store.rawfile import RawFile
from tests.merging_world import LIMIT, SLICE, STEPS, Halt, fill, make_logs_small, merged_beside
from tests.patience import until
from tests.stores import copy, dump, graph, run


@pytest.fixture(autouse=True)
def small_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_logs_small(monkeypatch)


def test_no_commit_waits_while_the_log_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halt = Halt(monkeypatch, tidying, "copy_log")
    with merged_beside(tmp_path) as store:
        revision = fill(store)
        assert halt.reached.wait(120)
        for later in range(revision, revision + 5):
            store.write(graph(100, revision=later))
            assert store.state.revision == later
            assert len(store.nodes(range(1, 101))) == 100
        assert store.is_merging
        assert not store.is_untidy, "somebody is at it"
        halt.goes_on()
        until(lambda: not store.is_merging)
        assert store.files.wal_size() == 0
        assert seal.read_seal(store.files.seal) is not None


READ_INDEX = """\
import struct, sys
index = open(sys.argv[1], "rb").read()
written, copied = (struct.unpack_from("=I", index, at) for at in (16, 96))  # frames of the log
print(written > copied)
"""


def test_a_pass_over_the_log_begins_with_something_to_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a commit may begin the log anew just then, and SQLite before 3.51.3 takes it for copied: lost."""
    found: list[bytes] = []
    real = merging.trust

    def look(text: str) -> None:
        if (
            "PASSIVE" in text
        ):  # by another process: who closes the file in this one loses SQLite's locks on it
            command = [sys.executable, "-c", READ_INDEX, str(tmp_path / "store.db-shm")]
            found.append(subprocess.run(command, capture_output=True, check=True).stdout)

    def trust(connection: sqlite3.Connection, synchronous: str) -> None:
        real(connection, synchronous)
        connection.set_trace_callback(look)

    monkeypatch.setattr(merging, "BRIEF_SECONDS", -1.0)
    with merged_beside(tmp_path) as store:
        monkeypatch.setattr(merging, "trust", trust)
        fill(store)
        until(lambda: not store.is_merging)
        assert found == [b"True\n"] * merging.MOST_PASSES


def test_a_log_is_emptied_in_slices_and_commits_come_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To give back all of a large one at once takes 100 ms."""
    sizes: list[int] = []
    real = merging.shorten_log

    def shorten(opened: merging.Opened, bytes: int) -> bool:
        sizes.append(opened.files.wal_size())
        return real(opened, bytes)

    monkeypatch.setattr(tidying, "shorten_log", shorten)
    with merged_beside(tmp_path) as store:
        fill(store)
        until(lambda: not store.is_merging)
        assert len(sizes) > 2
        assert all(0 < before - after <= SLICE for before, after in pairwise(sizes))
        assert store.files.wal_size() == 0


def test_commits_that_were_made_while_the_file_was_sealed_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their log rested on no seal, and one lay beside it: it would have counted as that of another store."""
    halt = Halt(monkeypatch, RawFile, "digest")
    with open_store(tmp_path / "s") as store:
        revision = fill(store)
        assert halt.reached.wait(120)
        store.write(graph(100, revision=revision))
        halt.goes_on()
        until(lambda: not store.is_merging)
        assert store.files.wal_size() > 0
        for last in (revision, revision + 1):
            store.write(graph(100, revision=last))
            with open_store(copy(store.directory, tmp_path / "copy")) as other:
                assert (other.notes, other.audited, dump(other)) == ([], False, dump(store))


@pytest.mark.parametrize(("owner", "step"), STEPS)
@pytest.mark.parametrize("end", ["close", "checkpoint", "compact"])
def test_who_merges_or_closes_meanwhile_ends_the_thread_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, end: str
) -> None:
    halt = Halt(monkeypatch, owner, step)
    with merged_beside(tmp_path) as store:
        revision = fill(store)
        assert halt.reached.wait(120)
        if step in ("copy_log", "digest"):  # else the thread has the store for itself
            store.write(graph(100, revision=revision))
        threading.Timer(0.05, halt.goes_on).start()
        if end != "close":
            getattr(store, end)()
            assert not store.is_merging
            assert store.files.wal_size() == 0


def test_a_store_that_starts_over_meanwhile_has_nothing_of_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(monkeypatch, RawFile, "digest")
    with open_store(tmp_path) as store:
        fill(store)
        assert halt.reached.wait(120)
        threading.Timer(0.05, halt.goes_on).start()
        store.start_over(StoreDamaged(reason="of a test"))
        store.notes.clear()
        store.write(graph(5))
        expected = dump(store)
    with open_store(tmp_path) as store:
        store.hand_over()
        assert (store.audited, dump(store)) == (False, expected)


def test_a_failure_of_the_thread_is_a_note_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with merged_beside(tmp_path) as store:
        with monkeypatch.context() as patched:

            def fail(*_: object) -> None:
                raise StoreFull(store=tmp_path, reason="of a test")

            patched.setattr(tidying, "copy_log", fail)
            revision = 1
            while not store.notes:
                store.write(graph(100, revision=revision))
                revision += 1
            until(lambda: not store.is_merging)
        assert set(store.notes) == {tidying.NOT_MERGED.format("of a test")}
        assert store.files.wal_size() > LIMIT
        store.notes.clear()
        while store.files.wal_size() > LIMIT:
            store.write(graph(100, revision=revision))
            revision += 1


def test_where_no_thread_is_to_be_had_the_commit_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ongoing.Ongoing, "start", refuse)
    with merged_beside(tmp_path) as store:
        for revision in range(1, 40):
            store.write(graph(100, revision=revision))
            assert store.files.wal_size() < 2 * LIMIT
            assert not store.is_merging


def test_while_somebody_reads_no_thread_merges(tmp_path: Path) -> None:
    with merged_beside(tmp_path) as store:
        store.write(graph(100))
        with open_store(tmp_path, read_only=True) as reader:
            for revision in range(2, 40):
                store.write(graph(100, revision=revision))
                assert not store.is_merging
            assert reader.state.revision == 1
        assert store.notes == []


def test_a_reader_that_comes_meanwhile_waits_for_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(monkeypatch, tidying, "copy_log")
    with merged_beside(tmp_path) as store:
        revision = fill(store)
        assert halt.reached.wait(120)
        threading.Timer(0.05, halt.goes_on).start()
        with open_store(tmp_path, read_only=True) as reader:
            assert reader.state.revision == revision - 1
            assert store.files.wal_size() == 0, "it came after the merge"


@pytest.mark.parametrize("by", ["thread", "checkpoint"])
def test_a_reader_that_comes_while_the_file_is_sealed_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with merged_beside(tmp_path) as store:
        halt = Halt(monkeypatch, RawFile, "digest")
        merge = threading.Thread(target=store.checkpoint, name="engine-merge")
        if by == "thread":
            fill(store)
        else:
            store.write(graph(5))
            merge.start()
        assert halt.reached.wait(120)
        monkeypatch.setattr(lock, "MERGE_SECONDS", 0.0)
        try:
            reader = open_store(tmp_path, read_only=True)
        finally:
            halt.goes_on()
        until(lambda: not store.is_merging and not merge.is_alive())
        assert seal.read_seal(store.files.seal) is not None
        with reader:
            assert reader.state == store.state
            assert len(reader.nodes(range(1, 101))) > 4


def test_a_forked_child_keeps_no_reader_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halt = Halt(monkeypatch, tidying, "copy_log")
    reader, writer = os.pipe()
    with merged_beside(tmp_path) as store:
        fill(store)
        assert halt.reached.wait(120)
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent is done
            os._exit(0)
        os.close(reader)
        halt.goes_on()
        until(lambda: not store.is_merging)
        with open_store(tmp_path, read_only=True) as other:
            assert other.state == store.state
        os.close(writer)
        os.waitpid(child, 0)


@pytest.mark.parametrize("after", ["before", "after"])
@pytest.mark.parametrize(
    "step", ["copy_log", "shorten_log", "write_base", "empty_log", "digest", "write_seal"]
)
def test_killed_at_any_step_of_the_thread_nothing_is_lost(tmp_path: Path, step: str, after: str) -> None:
    """The child commits in the middle of the digest, so that there is something to name the seal."""
    code = f"""
import os, threading
from engine.store import ongoing, seal, tidying, writing
from engine.store.rawfile import RawFile
ongoing.WORTH_BYTES, tidying.WAL_LIMIT_BYTES, tidying.SLICE_BYTES = 0, {LIMIT}, {SLICE}
sealing, committed = threading.Event(), threading.Event()
def strike(owner, step):
    real = getattr(owner, step)
    def striking(*given, **named):
        is_beside = threading.current_thread().name == "engine-merge"
        if is_beside and step == "digest":
            sealing.set()
            assert committed.wait(120)
        kills = is_beside and step == sys.argv[2]
        if kills and sys.argv[3] == "before":
            os._exit(0)
        result = real(*given, **named)
        if kills:
            os._exit(0)
        return result
    setattr(owner, step, striking)
for step in ("copy_log", "shorten_log", "empty_log"):
    strike(tidying, step)
strike(RawFile, "digest")
strike(writing, "write_base")
strike(seal, "write_seal")
store = open_store(Path(sys.argv[1]))
for revision in range(1, 10**6):
    store.write(graph(100, revision=revision))
    print(revision, flush=True)
    if sealing.is_set():
        break
committed.set()
threading.Event().wait(120)
"""
    child = run(code, tmp_path, step, after)
    out, error = child.communicate(timeout=600)
    assert (error, child.returncode) == ("", 0)
    with open_store(tmp_path) as store:
        assert store.state.revision >= int(out.split()[-1])
        assert {row.changed_at for row in store.nodes(range(1, 101)).values()} == {store.state.revision}
        sealed = step == "write_seal" and after == "after"
        assert (store.audited, store.notes) == ((False, []) if sealed else (True, [opening.AUDITED]))
        store.check_invariants()


def test_what_was_merged_and_lies_in_the_log_still_is_none_of_its_commits(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with closing(sqlite3.connect(files.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE one (a)")
        connection.execute("CREATE TABLE many (a)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO many VALUES (?)", [("x" * 3000,)] * 9)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        before = files.wal_size()

        connection.execute("INSERT INTO one VALUES (1)")  # over the first of what was merged

        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'one'").fetchone()
        assert files.wal_size() == before
        assert pages_of_all_commits(files) == {int(root).to_bytes(4, "big")}
