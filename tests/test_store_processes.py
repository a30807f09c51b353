"""One process at a time writes a store: others, and forked children, are told so."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import ForkedEngine, StoreInUse
from engine.store import Batch, lock, open_store, rawfile, repair
from engine.store.lock import lock_file
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.stores import dump, graph, node, run, unsealed


def held(store: Store) -> lock.Held:
    assert store._opened.lock is not None
    return store._opened.lock


def test_after_fork_the_child_is_refused_and_the_parent_unharmed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(10))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.write(graph(10, revision=5))
            except ForkedEngine:
                code = 42
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        store.write(graph(10, revision=2))
    with open_store(tmp_path) as again:
        assert (again.state.revision, again.notes, again.audited) == (2, [], False)


def test_after_fork_a_child_may_open_the_store_itself(tmp_path: Path) -> None:
    """The threads that hash a large file are the parent's."""
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(1, value=bytes(30_000_000))]))
    open_store(tmp_path).close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open_store(tmp_path) as store:
                code = 40 + len(store.nodes([1]))
        finally:
            os._exit(code)
    end = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(found[1]) == 41


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        store.close()
        open_store(tmp_path).close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_child_that_is_forked_as_its_parent_lets_go_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has the descriptors until it has closed them: the next opening was told StoreInUse."""
    monkeypatch.setattr(lock, "RETRY_SECONDS", 0.0)
    store = open_store(tmp_path)
    inherited = [os.dup(store._opened.raw.fd), os.dup(held(store).fd)]  # as in a child that has just begun
    try:
        store.close()
        open_store(tmp_path).close()
    finally:
        for fd in inherited:
            os.close(fd)


def test_a_child_that_is_forked_while_a_reader_opens_keeps_no_writer_out(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with lock.while_no_writer(tmp_path / "lock") as alone:
        assert alone
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(theirs, b".")
            time.sleep(30)
            os._exit(0)
        os.read(ours, 1)
    try:
        open_store(tmp_path).close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)


def test_a_child_closes_nothing_of_a_store_that_was_being_closed_when_it_was_forked(tmp_path: Path) -> None:
    """It closed descriptors that had been given to other files since."""
    store = open_store(tmp_path)
    store._closed = True
    child = os.fork()
    if child == 0:
        code = 1
        try:
            others = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
            store.close()
            store._finalizer()
            code = 40 + sum(os.fstat(fd) is not None for fd in others)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 60
    store.close()
    open_store(tmp_path).close()


def test_who_reads_on_after_it_has_written_keeps_no_other_writer_out(tmp_path: Path) -> None:
    """The lock on the file lay on the descriptor that both shared."""
    with open_store(tmp_path) as store:
        store.write(graph(5))
        reader = open_store(tmp_path, read_only=True)
    try:
        child = run("with open_store(Path(sys.argv[1])) as store: print(store.state.revision)", tmp_path)
        assert child.communicate(timeout=600) == ("1\n", "")
    finally:
        reader.close()


def test_a_writer_waits_for_no_reader_that_checks_all_of_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told half a second later that the store was in use, and not by whom."""
    expected = unsealed(tmp_path)
    reached, goes_on = threading.Event(), threading.Event()
    real = repair.audit

    def audit(connection: sqlite3.Connection) -> None:
        if threading.current_thread() is not threading.main_thread():
            reached.set()
            assert goes_on.wait(120)
        real(connection)

    monkeypatch.setattr(repair, "audit", audit)
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(open_store, tmp_path, read_only=True)
        assert reached.wait(120)
        with open_store(tmp_path) as store:
            assert dump(store) == expected
            store.write(graph(60, revision=2))
            store.compact()
            goes_on.set()
            with opening.result() as reader:
                assert dump(reader) == expected


def test_the_second_writer_is_told_who_has_the_store_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(lock, "time", clock)  # by that of a slow machine a second is soon over
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "hard").mkdir(mode=0o700)
    holder = run(
        "store = open_store(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()", tmp_path / "s"
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.link(tmp_path / "s/store.db", tmp_path / "hard/store.db")
        for path in (tmp_path / "s", tmp_path / "link", tmp_path / "hard"):
            slept.clear()
            with pytest.raises(StoreInUse) as caught:
                open_store(path)
            assert sum(slept) < 1
            if path.name != "hard":
                assert f"process {holder.pid}, since 2" in str(caught.value)
            assert caught.value.exit_code == 75
        open_store(tmp_path / "s", read_only=True).close()
        holder.kill()
        holder.wait()
        os.unlink(tmp_path / "hard/store.db")
        with open_store(tmp_path / "link") as store:  # at once, although the file still names the dead one
            assert store.notes == []
    finally:
        holder.kill()
        holder.communicate()


def test_a_second_engine_in_one_process_is_told_that_it_is_this_one(tmp_path: Path) -> None:
    with open_store(tmp_path / "s"):
        with pytest.raises(StoreInUse, match=f"process {os.getpid()}, this one") as caught:
            open_store(tmp_path / "s")
        assert "use that engine" in caught.value.hint


def test_a_file_that_is_renamed_to_another_that_opens_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close one of two descriptors of a file gives away the locks that SQLite has on it."""
    for name in ("mine", "other"):
        (tmp_path / name).write_text(name)
    mine = RawFile.open(tmp_path / "mine")
    real = os.lstat

    def look(path: Path) -> os.stat_result:
        found = real(path)
        (tmp_path / "mine").rename(path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", look)
        again = RawFile.open(tmp_path / "other")
    assert again is mine
    fds = [mine.fd, *mine.spare]
    mine.close()
    assert [os.fstat(fd).st_size for fd in fds] == [4, 4]
    again.close()
    assert RawFile._open == {}


def test_of_two_racing_processes_exactly_one_wins(tmp_path: Path) -> None:
    code = """
try:
    store = open_store(Path(sys.argv[1]))
except StoreInUse:
    print("lost")
else:
    print("won", flush=True)
    sys.stdin.read()
"""
    for turn in range(2):
        children = [run(code, tmp_path / str(turn)) for _ in range(2)]
        words = []
        for child in children:
            assert child.stdout is not None
            words.append(child.stdout.readline().strip())
        assert sorted(words) == ["lost", "won"]
        for child in children:
            child.communicate()


def test_of_two_threads_that_open_one_file_by_two_names_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path / "s").close()
    (tmp_path / "hard").mkdir(mode=0o700)
    os.link(tmp_path / "s/store.db", tmp_path / "hard/store.db")

    def slowly(fd: int) -> bool:
        found = lock_file(fd)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(rawfile, "lock_file", slowly)

    def attempt(name: str) -> bool:
        try:
            opened.append(open_store(tmp_path / name))
        except StoreInUse:
            return False
        return True

    opened: list[Store] = []
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, ("s", "hard"))) == [False, True]
    opened[0].close()
