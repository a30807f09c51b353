"""What people and other programs find of a store: its schema, its numbers, its files, its name."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from attrs import frozen

from engine import Engine, query, table
from engine.errors import CannotExport, StoreError, StoreReadOnly
from engine.store import open_store, schema
from engine.store.inspect import export, tables
from engine.store.layout import Layout
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


Row = tuple[int | None, float, str | None, bytes]
ROWS: list[Row] = [(None, 2.0**62, "1", b"\x00"), (2**62, -0.5, None, b""), (7, 3.0, "é", b"7")]


@frozen
class Mixed:
    number: int | None
    real: float
    Some: str | None
    raw: bytes


@frozen
class A:
    b_c: int


@frozen
class AB:
    c: int


@query
def places() -> tuple[int, ...]:
    return 0, 1, 2


@table(each=places, index=("number",))
def mixed(at: int) -> Iterator[Mixed]:
    yield Mixed(*ROWS[at])


@table(each=places, index=("b_c",))
def a(at: int) -> Iterator[A]:
    yield A(at)


@table(each=places, index=("c",))
def a_b(at: int) -> Iterator[AB]:
    yield AB(at)


@table(each=places)
def sqlite_things(at: int) -> Iterator[AB]:
    yield AB(at)


@table(each=places)
def MIXED(at: int) -> Iterator[Mixed]:
    yield Mixed(at, float(at), None, b"")


def test_exported_rows_are_those_of_the_tables_value_by_value(tmp_path: Path) -> None:
    file = tmp_path / "rows.db"
    with Engine(tmp_path / "store") as db:
        assert (len(db.get(mixed)), len(db.get(MIXED))) == (3, 3)
    with open_store(tmp_path / "store", read_only=True) as store:
        assert export(store, file) == {"mixed": 3, f"{__name__}:MIXED": 3}
        with pytest.raises(StoreError, match="there is something already"):
            export(store, file)
        with pytest.raises(StoreError, match="No such file or directory"):
            export(store, tmp_path / "missing" / "rows.db")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.db", "store"}
    assert file.stat().st_mode & 0o777 == 0o600  # as the store
    with closing(sqlite3.connect(file)) as found:
        rows = found.execute("SELECT _source, number, real, Some, raw FROM mixed ORDER BY _source").fetchall()
        wanted = [(at, *row) for at, row in enumerate(ROWS)]
        assert [[(type(cell), cell) for cell in row] for row in rows] == [
            [(type(cell), cell) for cell in row] for row in wanted
        ]
        assert found.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone() == (1,)


def test_names_that_sqlite_or_sqlite_utils_take_for_themselves_are_exported_and_no_file_beside_is_touched(
    tmp_path: Path,
) -> None:
    beside = tmp_path / "rows.db.new"
    beside.write_text("precious")
    with Engine(tmp_path / "store") as db:
        assert [len(db.get(one)) for one in (a, a_b, sqlite_things)] == [3, 3, 3]
    with open_store(tmp_path / "store", read_only=True) as store:
        counts = export(store, tmp_path / "rows.db")
    assert counts == {"a": 3, "a_b": 3, f"{__name__}:sqlite_things": 3}  # indexes of the first two: idx_a_b_c
    assert beside.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("rows.db", "File too large|disk I/O error|full"),
        ("x" * 300, "File name too long"),
        ("store", "something already"),
    ],
)
def test_a_file_that_cannot_be_made_is_named_and_nobody_is_told_that_the_store_failed(
    tmp_path: Path, name: str, cause: str
) -> None:
    with Engine(tmp_path / "store") as db:
        db.get(mixed)
    with open_store(tmp_path / "store", read_only=True) as store:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the file takes more: as a full disk
        try:
            with pytest.raises(CannotExport, match=cause) as caught:
                export(store, tmp_path / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.fields["file"] == str(tmp_path / name)
        assert "store" not in caught.value.headline + caught.value.hint
        assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
        assert export(store, tmp_path / "rows.db") == {"mixed": 3}


def test_rows_that_cannot_be_read_for_an_export_are_the_fault_of_the_store(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        db.get(mixed)
    with open_store(tmp_path / "store", read_only=True) as store:
        failing = mock.Mock(side_effect=sqlite3.OperationalError("disk I/O error"))
        with mock.patch.object(Layout, "checked", failing), pytest.raises(StoreError) as caught:
            export(store, tmp_path / "rows.db")
        assert not isinstance(caught.value, CannotExport)
        assert caught.value.fields["store"] == str(store.path)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


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
