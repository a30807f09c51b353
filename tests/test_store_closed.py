"""A store that was closed, or left, opens again without a look at its rows, whatever its log holds."""

from __future__ import annotations

import errno
import os
import random
import sys
from pathlib import Path

import pytest

from engine import Engine, input, query
from engine.errors import Closed
from engine.store import Batch, open_store, opening, tidying
from engine.store import sqlite as store_sqlite
from engine.store.directory import Files
from tests.stores import graph, node, run


@input
def seed() -> int:
    return 0


@query
def large() -> bytes:
    return random.Random(seed()).randbytes(50_000)


def test_a_reader_that_leaves_last_does_not_break_the_seal(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(graph(10))
    reader = open_store(tmp_path, read_only=True)
    store.close()
    reader.close()
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, again.state.revision) == ([], False, 1)


def test_a_log_that_grows_too_large_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "WAL_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(tidying, "WAL_WARNING_BYTES", 300_000)
    with open_store(tmp_path) as store:
        for revision in range(1, 60):
            store.write(graph(100, revision=revision))
            assert store.files.wal_size() < 200_000
        with open_store(tmp_path, read_only=True):
            for revision in range(60, 120):
                store.write(graph(100, revision=revision))
        assert len(store.notes) == 1
        assert "log" in store.notes[0]
        assert store.checkpoint()
        assert store.files.wal_size() == 0
    with open_store(tmp_path) as again:
        assert (again.notes, again.audited, again.state.revision) == ([], False, 119)


def test_that_a_reader_is_in_the_way_is_told_while_the_engine_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told when the engine was closed: a watch of weeks filled the disk without a word."""
    monkeypatch.setattr(tidying, "WAL_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(tidying, "WAL_WARNING_BYTES", 300_000)
    with Engine(tmp_path) as db:
        db.get(large)
        with open_store(tmp_path, read_only=True):
            for turn in range(1, 20):
                db.set(seed, turn)
                db.get(large)
            assert any("keeps the store's log from being merged" in note for note in db.notes())


def test_a_log_that_cannot_be_looked_at_fails_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit stood, and who made it was told that it had failed."""

    def fail(_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_store(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(Files, "wal_size", fail)
            for revision in (1, 2):
                store.write(graph(10, revision=revision))
        assert store.notes == [tidying.NOT_MERGED.format("Input/output error")]
        assert store.state.revision == 2


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_closing_merges_or_leaves_the_log_and_never_needs_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(store_sqlite, "CLOSE_FILE_BYTES", limit)
    for revision in range(1, 5):
        with open_store(tmp_path) as store:
            assert (store.notes, store.audited, store.state.revision) == ([], False, revision - 1)
            store.write(graph(20, revision=revision))
        assert (store.files.wal_size() > 0) == (limit == 0)


def test_closing_merges_only_a_log_for_which_it_is_worth_to_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be sealed, all of a file is read: for one small commit that was most of what an end took."""
    monkeypatch.setattr(store_sqlite, "CLOSE_FILE_BYTES", 0)
    monkeypatch.setattr(store_sqlite, "CLOSE_WAL_BYTES", 0)
    for revision, count, leaves in ((1, 3_000, False), (2, 3, True), (3, 1_000, False)):
        with open_store(tmp_path) as store:
            store.write(graph(count, revision=revision))
        assert (store.files.wal_size() > 0) == leaves


def test_a_store_that_is_forgotten_is_closed_without_a_merge(tmp_path: Path) -> None:
    code = "store = open_store(Path(sys.argv[1])); store.write(graph(20))"
    child = run(code, tmp_path)
    assert child.communicate(timeout=600)[1] == ""
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, store.state.revision) == ([], False, 1)


def test_a_store_that_is_closed_with_no_descriptor_left_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Python 3.12 SQLite cannot be told not to merge; then all of it is checked when it is opened."""
    code = """
import os, resource
from engine.store import sqlite
sqlite.CLOSE_FILE_BYTES = 0
store = open_store(Path(sys.argv[1]))
store.write(graph(20))
spent = os.open("/dev/null", os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_NOFILE, (spent + 1, spent + 1))
store.close()
"""
    child = run(code, tmp_path)
    assert child.communicate(timeout=600) == ("", "")
    merges = sys.version_info < (3, 12)
    with open_store(tmp_path) as store:
        assert (store.audited, store.state.revision) == (merges, 1)
        assert store.notes == [opening.AUDITED] * merges
        store.check_invariants()


def test_who_reads_on_keeps_a_closed_store_from_no_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that is not done keeps its connection open: that merged the log when it was let go."""
    monkeypatch.setattr(store_sqlite, "CLOSE_FILE_BYTES", 0)
    store = open_store(tmp_path)
    store.write(graph(20))
    rows = store.connection.execute("SELECT id FROM node")
    assert rows.fetchone() is not None
    store.close()
    del rows
    with open_store(tmp_path) as again:
        assert (again.audited, again.state.revision) == (sys.version_info < (3, 12), 1)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.find(1, b"")
    with pytest.raises(Closed):
        store.write(Batch())


def test_opening_many_nodes_walks_nothing(tmp_path: Path) -> None:
    """The time to open grows with the bytes to hash only. Measured for 300,000 nodes: 15 ms."""
    with open_store(tmp_path) as store:
        store.write(Batch(nodes=[node(i) for i in range(1, 20_001)]))
    statements: list[str] = []
    with open_store(tmp_path) as store:
        store.connection.set_trace_callback(statements.append)
        assert store.state.revision == 0
        assert statements == []
        assert not store.audited
