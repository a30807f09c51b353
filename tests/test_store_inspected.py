"""What people and other programs find of a store: its schema, its numbers, its files, its name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engine.errors import StoreReadOnly
from engine.store import open_store, schema
from engine.store.inspect import tables
from tests.stored_collections import statements
from tests.stores import graph, run


def test_statistics_are_numbers_names_and_text(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(graph(30))
        found = store.statistics()
        assert {table: count for table, count in found.rows.items() if count} == {
            "node": 30, "readers": 29, "input": 1, "observed": 1, "query": 3, "revision": 1,
        }  # fmt: skip
        assert found.nodes_of == {"m:q1": 10, "m:q2": 10, "m:q3": 10}
        assert found.files["store.db"] > 0
        assert (found.revision, found.version, found.sqlite) == (1, schema.VERSION, sqlite3.sqlite_version)
        assert found.as_dict()["sealed"] is True


def test_totals_are_counted_in_an_index_not_in_the_whole_file(tmp_path: Path) -> None:
    """`engine status` of 600 MB would take a second."""
    with open_store(tmp_path) as store:
        store.write(graph(30))
        whole = store.statistics()
        said = statements(store)
        found = store.totals()
        assert (found.nodes, found.inputs, found.queries) == (30, 1, 3)
        assert found.bytes == sum(whole.files.values())
        plans = [store.connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchone()[3] for one in tuple(said)]
        assert plans[0] == "SCAN node USING COVERING INDEX node_key"
        assert len(plans) == 3


def test_sqlite_utils_reads_a_read_only_store_and_is_not_imported_before(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with open_store(tmp_path, read_only=True) as store:
        assert set(tables(store).table_names()) == {
            *("node", "readers", "input", "query", "revision", "state"),
            *("collection", "member", "block", "change", "cursor"),
            *("version", "earlier", "observed"),
        }
    with open_store(tmp_path) as store, pytest.raises(StoreReadOnly):
        tables(store)
    child = run("open_store(Path(sys.argv[1])).close(); assert 'sqlite_utils' not in sys.modules", tmp_path)
    # `run` imports `tables`, which must not import it either
    assert child.communicate(timeout=600)[1] == ""


def test_the_schema_in_the_file_is_the_documented_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        found = store.connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
        assert "".join(f"{text};\n" for (text,) in found) == schema.text()


def test_the_package_has_one_name_only(tmp_path: Path) -> None:
    child = run("import store", tmp_path)
    assert "import it as engine.store" in child.communicate(timeout=600)[1]


def test_files_are_private_and_ignored_by_git(tmp_path: Path) -> None:
    with open_store(tmp_path / "a/.engine") as store:
        store.write(graph(3))
        assert store.directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in store.directory.iterdir()} == {0o600}
        assert (store.directory / ".gitignore").read_text() == "*\n"
