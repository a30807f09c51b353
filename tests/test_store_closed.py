"""A store that was closed, or left, opens again without a look at its rows, whatever its log holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import Closed
from engine.store import Batch, open_store, tidying
from engine.store import sqlite as store_sqlite
from tests.stores import graph, node, run


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


def test_a_store_that_is_forgotten_is_closed_without_a_merge(tmp_path: Path) -> None:
    code = "store = open_store(Path(sys.argv[1])); store.write(graph(20))"
    child = run(code, tmp_path)
    assert child.communicate(timeout=240)[1] == ""
    with open_store(tmp_path) as store:
        assert (store.notes, store.audited, store.state.revision) == ([], False, 1)


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
