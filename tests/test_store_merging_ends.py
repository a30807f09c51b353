"""A merge by a thread that is stopped, struck or forgotten, or whose store is not there any more."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

from engine.errors import ForkedEngine, StoreDamaged, StoreError
from engine.store import merging, ongoing, open_store, seal, tidying
from engine.store.lock import Held, keep_readers_out
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.merging_world import Halt, fill, make_logs_small, merged_beside
from tests.patience import until
from tests.stores import copy, dump, graph


@pytest.fixture(autouse=True)
def small_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_logs_small(monkeypatch)


def soon(goes_on: Callable[[], None]) -> None:
    threading.Timer(0.05, goes_on).start()


def test_a_store_that_is_closed_while_it_is_sealed_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log was empty by then, so that nothing seemed left to do: the next start checked all of it."""
    halt = Halt(monkeypatch, RawFile, "digest")
    with merged_beside(tmp_path) as store:
        fill(store)
        assert halt.reached.wait(120)
        assert store.files.wal_size() == 0
        soon(halt.goes_on)


def test_a_power_cut_that_brings_the_seal_back_takes_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commits since the merge before rested on no seal then, and there was one: a stray log."""
    halt = Halt(monkeypatch, tidying, "sync")
    with open_store(tmp_path / "s") as store:
        before = store.files.seal.read_bytes()
        revision = fill(store)
        assert halt.reached.wait(120)
        store.write(graph(100, revision=revision))
        cut = copy(store.directory, tmp_path / "cut")
        (cut / store.files.seal.name).write_bytes(before)
        halt.goes_on()
        with open_store(cut) as other:
            assert (other.notes, other.audited, dump(other)) == ([], False, dump(store))


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL", "FULL"])
def test_what_names_the_seal_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: Literal["OFF", "NORMAL", "FULL"]
) -> None:
    """A power cut that left the seal and not that commit made a stray of the log."""
    halt = Halt(monkeypatch, RawFile, "digest")
    done: list[object] = []
    real_sync, real_seal = os.fsync, seal.write_seal

    def sync(fd: int) -> None:
        done.append(os.fstat(fd).st_ino)
        real_sync(fd)

    def write_seal(path: Path, one: seal.Seal) -> None:
        done.append("seal")
        real_seal(path, one)

    with open_store(tmp_path, synchronous=synchronous) as store:
        revision = fill(store)
        assert halt.reached.wait(120)
        store.write(graph(100, revision=revision))
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(seal, "write_seal", write_seal)
        log = store.files.wal.stat().st_ino
        halt.goes_on()
        until(lambda: not store.is_merging)
        assert done == (["seal"] if synchronous == "OFF" else [log, "seal"])


@pytest.mark.parametrize(("brief", "expected"), [(-1.0, merging.MOST_PASSES), (1e9, 1)])
def test_a_log_is_copied_again_while_there_is_much_to_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: float, expected: int
) -> None:
    """A large commit that came during the second pass was left to the step that keeps others out: 650 ms."""
    monkeypatch.setattr(merging, "BRIEF_SECONDS", brief)
    passes: list[str] = []
    real = merging.trust

    def trust(connection: sqlite3.Connection, synchronous: str) -> None:
        real(connection, synchronous)
        connection.set_trace_callback(lambda text: passes.append(text) if "PASSIVE" in text else None)

    with merged_beside(tmp_path) as store:
        monkeypatch.setattr(merging, "trust", trust)
        fill(store)
        until(lambda: not store.is_merging)
        assert len(passes) == expected


def test_a_store_that_is_forgotten_after_a_merge_lets_others_in(tmp_path: Path) -> None:
    """The merge held the store and was held by what would have closed it."""
    store: Store | None = open_store(tmp_path)
    assert store is not None
    fill(store)
    until(lambda store=store: not store.is_merging)
    expected = dump(store)
    store = None
    gc.collect()
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, dump(store)) == ([], False, expected)


def test_a_store_that_is_forgotten_while_it_is_merged_lets_others_in_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(monkeypatch, tidying, "copy_log")
    store: Store | None = open_store(tmp_path)
    assert store is not None
    fill(store)
    assert halt.reached.wait(120)
    expected, one = dump(store), store._opened
    store = None
    gc.collect()
    assert not one.is_shut
    halt.goes_on()
    until(lambda: bool(gc.collect()) or one.is_shut)
    until(lambda: one.is_shut)
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, dump(store)) == ([], False, expected)


@pytest.mark.parametrize("begins", [False, True])
def test_an_interrupt_while_the_thread_starts_leaves_nothing_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    """It was waited for by whoever closed the store, for ever."""
    real = threading.Thread.start

    def struck(thread: threading.Thread) -> None:
        if begins:
            real(thread)
        raise KeyboardInterrupt

    with merged_beside(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", struck)
            with pytest.raises(KeyboardInterrupt):
                fill(store)
        assert not store.is_merging
        free, readers = keep_readers_out(store.files.readers)
        readers.release()
        assert free
        fill(store, store.state.revision + 1)


def test_an_interrupt_while_a_thread_is_waited_for_lets_it_keep_what_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock and the descriptor were given up while it merged: others could open the store meanwhile."""
    halt = Halt(monkeypatch, tidying, "copy_log")
    store = open_store(tmp_path)
    fill(store)
    assert halt.reached.wait(120)

    def struck(one: ongoing.Ongoing) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ongoing.Ongoing, "stop", struck)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert os.fstat(store._raw.fd).st_size > 0
    with pytest.raises(StoreError, match="in use"):
        open_store(tmp_path)
    soon(halt.goes_on)
    store.close()
    with open_store(tmp_path) as store:
        store.check_invariants()


@pytest.mark.parametrize(("owner", "step"), [(tidying, "copy_log"), (RawFile, "digest")])
def test_what_lies_in_the_place_of_a_store_by_now_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    """Its log was merged under its seal, or its seal replaced by that of the store that went."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    with open_store(other) as store:
        store.write(graph(30))
        copy(other, tmp_path / "copy")  # with a log that is not merged
        expected = dump(store)
    halt = Halt(monkeypatch, owner, step)
    store = open_store(mine)
    fill(store)
    assert halt.reached.wait(120)
    mine.rename(tmp_path / "gone")
    (tmp_path / "copy").rename(mine)
    names = ("store.db", "store.db-wal", "store.seal")
    before = [(mine / name).read_bytes() for name in names]
    halt.goes_on()
    until(lambda: not store.is_merging)
    assert [(mine / name).read_bytes() for name in names] == before
    with pytest.raises(StoreError, match="removed or replaced"):
        store.write(graph(5))
    store.close()
    assert [(mine / name).read_bytes() for name in names] == before
    with open_store(mine) as store:
        assert (store.notes, store.audited, dump(store)) == ([], False, expected)


def test_what_another_program_writes_before_the_log_is_emptied_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sealed as ours, and no row was missed by anybody."""
    halt = Halt(monkeypatch, tidying, "empty_log")
    with open_store(tmp_path) as store:
        fill(store)
        assert halt.reached.wait(120)
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("DELETE FROM readers WHERE dependency = 7")
        halt.goes_on()
        until(lambda: not store.is_merging)
        assert (store.files.wal_size(), store.files.seal.exists()) == (0, False)
        with pytest.raises(StoreDamaged, match="another program wrote to it"):
            store.write(graph(5))


def test_a_store_that_was_deleted_meanwhile_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(monkeypatch, RawFile, "digest")
    with open_store(tmp_path / "s") as store:
        fill(store)
        assert halt.reached.wait(120)
        for path in store.directory.iterdir():
            path.unlink()
        halt.goes_on()
        until(lambda: not store.is_merging)
        assert not [*store.directory.iterdir()]


@pytest.mark.parametrize("use", ["close", "write", "tidy", "checkpoint", "is_pressing"])
def test_a_forked_child_does_not_wait_for_the_thread_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """The thread has the store for itself at that moment, and in the child there is no such thread."""
    halt = Halt(monkeypatch, tidying, "shorten_log")
    with merged_beside(tmp_path) as store:
        fill(store)
        assert halt.reached.wait(120)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            try:
                found = getattr(store, use)
                found(graph(5)) if use == "write" else found()
            except ForkedEngine:
                os._exit(0)
            finally:
                os._exit(1)
        halt.goes_on()
        assert os.waitpid(child, 0)[1] == 0


def test_a_child_that_is_forked_while_a_lock_is_released_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    children: list[int] = []

    def fork(_: Held, __: int) -> None:
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent is done
            os._exit(0)
        children.append(child)

    _, mine = keep_readers_out(tmp_path / "lock")
    monkeypatch.setattr(Held, "_before_release", fork)
    mine.release()
    monkeypatch.undo()
    free, mine = keep_readers_out(tmp_path / "lock")
    mine.release()
    os.close(writer)
    os.close(reader)
    os.waitpid(children[0], 0)
    assert free


def test_a_note_that_a_thread_adds_while_notes_are_handed_over_is_not_lost(tmp_path: Path) -> None:
    class Notes(list[str]):
        """To which another thread adds whenever one of them was read."""

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            self.append("second")
            return found

        def pop(self, at: Any = -1) -> str:
            found = super().pop(at)
            self.append("second")
            return found

    with open_store(tmp_path) as store:
        store.notes = Notes(["first"])
        assert [*store.hand_over(), *store.notes] == ["first", "second"]


def test_a_look_at_a_table_keeps_no_log_from_being_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker looks again and again, without a lock: whoever merges waits for the look under way."""
    monkeypatch.setattr(merging, "LOOK_SECONDS", 600.0)  # however slow the machine
    with open_store(tmp_path / "store") as store:
        store.write(graph(50, revision=1))
        looking = sqlite3.connect(store.path, check_same_thread=False, isolation_level=None)
        looking.execute("BEGIN")
        looking.execute("SELECT count(*) FROM node").fetchone()
        begun = threading.Event()
        store.connection.set_trace_callback(lambda said: begun.set() if "wal_checkpoint" in said else None)

        def end() -> None:
            begun.wait(600)
            time.sleep(0.05)  # it waits by now, or finds nobody: either is right
            looking.close()

        thread = threading.Thread(target=end)
        thread.start()
        assert store.checkpoint()
        thread.join()
        store.connection.set_trace_callback(None)
