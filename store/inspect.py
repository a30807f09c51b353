"""Inspect: what the store holds, for people, for `engine db --json`, and as a file for other programs.

Invariants
    N1  Nothing is written to the store, and nothing on the hot path imports this module or sqlite-utils.
    N2  Everything here is numbers, names and text: ready for JSON.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from engine.errors import CannotExport, StoreReadOnly
from engine.store import layout, schema, seal
from engine.store.directory import Files
from engine.store.failures import translated
from engine.store.rows import State

if TYPE_CHECKING:
    import sqlite_utils

    from engine.store.sqlite import Store

_TABLES = (
    *("node", "readers", "input", "query", "revision"),
    *("collection", "member", "block", "change", "cursor"),
    *("version", "earlier", "observed"),
)


_KINDS = {"integer": int, "real": float, "text": str}


@frozen
class Statistics:
    """Counts and sizes of one store."""

    directory: str
    version: int
    revision: int
    rows: dict[str, int]  # by table, those of collections included
    bytes: dict[str, int]  # by table or index; empty where SQLite has no dbstat
    nodes_of: dict[str, int]  # by name of the query
    files: dict[str, int]  # bytes by file name
    page_size: int
    pages: int
    free_pages: int
    sealed: bool  # the seal is there and of the right size; its digest is compared at every open
    sqlite: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@frozen
class Totals:
    """The size of one store, in a few numbers."""

    nodes: int
    inputs: int  # observed ones
    queries: int
    bytes: int


def totals(connection: sqlite3.Connection, files: Files) -> Totals:
    """Count what is kept in an index: some 10 ms for a million nodes, whatever else is stored."""
    nodes, inputs, queries = [
        _one(connection, f"SELECT count(*) FROM {table}") for table in ("node", "input", "query")
    ]
    return Totals(nodes, inputs, queries, sum(_sizes(files.directory).values()))


def statistics(connection: sqlite3.Connection, files: Files, state: State) -> Statistics:
    """Count everything: reads the whole file, a second for 600 MB."""
    sizes = _sizes(files.directory)
    found = seal.read_seal(files.seal)
    named = (
        "SELECT coalesce(name, 'unknown'), count(*) FROM node LEFT JOIN query ON query.id = node.query "
        "GROUP BY node.query ORDER BY 2 DESC, 1"
    )
    named_tables = [*_TABLES, *(made.table for made in layout.layouts(connection))]
    return Statistics(
        directory=str(files.directory),
        version=schema.VERSION,
        revision=state.revision,
        rows={table: _one(connection, f"SELECT count(*) FROM {table}") for table in named_tables},
        bytes=_bytes_by_table(connection),
        nodes_of=dict(connection.execute(named).fetchall()),
        files=sizes,
        page_size=_one(connection, "PRAGMA page_size"),
        pages=_one(connection, "PRAGMA page_count"),
        free_pages=_one(connection, "PRAGMA freelist_count"),
        sealed=found is not None and found.size == sizes[files.database.name],
        sqlite=sqlite3.sqlite_version,
    )


def _sizes(directory: Path) -> dict[str, int]:
    sizes = {}
    for path in sorted(directory.iterdir()):
        with suppress(FileNotFoundError):  # of a writer, which is at work
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                sizes[path.name] = found.st_size
    return sizes


def tables(store: Store) -> sqlite_utils.Database:
    """The open store through sqlite-utils, for exports. Only a store opened with read_only=True.

    No plugin is loaded: installed code must not run because somebody looks at a store.
    """
    import sqlite_utils

    if not store.read_only:
        raise StoreReadOnly(store=store.path, reason="exports need a store opened with read_only=True")
    return sqlite_utils.Database(store.connection, execute_plugins=False)


def export(store: Store, file: Path) -> dict[str, int]:
    """Copy the rows of all tables to a new SQLite file; how many, by the name that each table has there.

    That is the one of its query, with its module only where two have the same, or where it begins with
    `sqlite_`. A row has its source and its columns, and every value is as it is here. Raises `CannotExport`
    where it is that file that fails, and `StoreError` where it is the store.
    """
    import sqlite_utils

    if os.path.lexists(file):
        raise CannotExport(file=file, cause="there is something already", hint="Name one that is not there.")
    tables(store)  # refuses one that is open for writing
    counts: dict[str, int] = {}
    beside = None
    try:
        made_file, name_beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        os.close(made_file)
        beside = Path(name_beside)
        with closing(sqlite3.connect(beside)) as connection, connection:
            target = sqlite_utils.Database(connection, execute_plugins=False)
            with translated(store.path):
                names = {row.id: row.name for row in layout.collection_rows(store.connection)}
                found = layout.layouts(store.connection)
            for made in found:
                name = names[made.collection].rpartition(":")[2]
                # SQLite takes names in another case for the same, and those with `sqlite_` are its own.
                if name.lower() in map(str.lower, counts) or name.lower().startswith("sqlite_"):
                    name = names[made.collection]
                counts[name] = _copy(store, target, made, name)
        os.rename(beside, file)
    except (sqlite3.Error, OSError) as error:  # of the file: those of the store have other classes by now
        raise CannotExport(file=file, cause=getattr(error, "strerror", None) or error) from error
    finally:
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
    return counts


def _copy(store: Store, target: sqlite_utils.Database, made: layout.Layout, name: str) -> int:
    columns = {quoted: quoted[1:-1].replace('""', '"') for quoted in made.columns.values()}
    kinds: dict[str, type] = {}
    for quoted, column in {"_source": "_source", **columns}.items():
        with translated(store.path):
            asked = store.connection.execute(f"SELECT DISTINCT typeof({quoted}) FROM {made.table}").fetchall()
        # A column of several kinds is declared as bytes are: SQLite keeps what is put there as it is.
        kinds[column] = _KINDS.get("".join({kind for (kind,) in asked} - {"null"}), bytes)
    table = target.table(name).create(kinds)
    for some in _read(store, made):
        table.insert_all(dict(zip(kinds, row[2:-1], strict=True)) for row in some)
    for one in made.indexed:
        table.create_index([columns[made.columns[one]]], find_unique_name=True)
    return int(table.count)


def _read(store: Store, made: layout.Layout) -> Iterator[Sequence[tuple[Any, ...]]]:
    with translated(store.path):  # what is raised between two yields: what fails to be written is not seen
        rows = store.connection.execute(made.select)
        while some := made.checked(rows.fetchmany(1_000)):
            yield some


def _bytes_by_table(connection: sqlite3.Connection) -> dict[str, int]:
    """Empty where SQLite was built without the dbstat table."""
    options = {name for (name,) in connection.execute("PRAGMA compile_options")}
    if "ENABLE_DBSTAT_VTAB" not in options:
        return {}
    return dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())


def _one(connection: sqlite3.Connection, statement: str) -> int:
    (number,) = connection.execute(statement).fetchone()
    return int(number)
