"""Full text: an index of short texts in an SQLite file of its own, and how far its feed has come.

    with FullText(path, {"name": 10.0, "text": 1.0}, kept=("path",)) as index:
        index.apply("position 7", removed=[...], added=[("greet", "Says hello.", "a.py")])
        index.search("hello", 20)

Invariants
    T1  Rows and position are changed in one transaction: killed anywhere, both are of before or of after.
    T2  A row is known by all its columns. What was added twice is there twice, until it was removed twice.
    T3  Who applies changes has seen the position that they follow on: two writers never apply them twice.
    T4  It is made of what others keep, so a file of ours that is damaged is set aside and begun anew. A file
        that is not ours is left alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from attrs import frozen
from blake3 import blake3

from engine.errors import (
    BadCursor,
    BadSearch,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from engine.store.canonical import pack
from engine.store.failures import OTHER_STORE, translated

APPLICATION: Final = 0x656E6766  # "engf", in the header of the file
APPLICATION_AT: Final = 68  # where SQLite has it
VERSION: Final = 1
BUSY_SECONDS: Final = 10.0  # another process applies a change of 100,000 rows in some 3 s
SNIPPET_TOKENS: Final = 16
TOKENS: Final = "porter unicode61 remove_diacritics 2"  # `parsing` finds `parse`; `_` separates words
OTHER_PLACE: Final = "Name another place for the index."
FOREIGN: Final = f"{OTHER_PLACE} Nothing was changed."
HINT: Final = "It is made anew of what the store has: remove the file."
NO_ROOM: Final = "Make room, or name another place for the index."
NO_WRITING: Final = "Check the permissions, or name another place for the index."

TABLES: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entry (id INTEGER PRIMARY KEY, digest BLOB NOT NULL);
CREATE INDEX entry_by_digest ON entry (digest);
"""
REFUSED: Final = (
    "fts5", "no such column", "unterminated", "unknown special query", "malformed MATCH", "expected integer",
)  # fmt: skip
MOST: Final = 2**63 - 1  # rows, for SQLite

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Texts = tuple[str, ...]


@frozen
class Hit:
    """A row that was found. `score`: the better the match, the smaller, as FTS5 has it."""

    values: dict[str, str]
    score: float
    snippet: str


class FullText:
    """The open index; a context manager.

    indexed     columns that are searched, and how much a match in each counts
    kept        more columns, which are only given back
    """

    def __init__(self, path: Path, indexed: Mapping[str, float], kept: Sequence[str] = ()) -> None:
        self.path = path
        self.columns = (*indexed, *kept)
        self.set_aside = ""  # where a damaged file went
        self._weights = [*indexed.values(), *(0.0 for _ in kept)]
        self._shape = repr((VERSION, TOKENS, tuple(indexed), tuple(kept)))
        self._searched = len(indexed)
        self._expected: str | None = None  # the position that was seen last (T3)
        with _translated(path):
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                if not _is_ours(path):
                    raise StoreForeign(store=path, reason="it is no index of ours", hint=FOREIGN) from None
                self.set_aside = _set_aside(path)
                self._connection = self._open()

    def position(self) -> str | None:
        """How far the feed has come that it is made of; None: nothing is in it yet."""
        with _translated(self.path):
            self._expected = self._position()
        return self._expected

    def apply(
        self, position: str, *, removed: Iterable[Texts], added: Iterable[Texts], reset: bool = False
    ) -> None:
        """Make one change and note the position after it, both or none (T1). `reset`: forget all before.

        Raises `BadCursor` where another process went on meanwhile.
        """
        with _translated(self.path), self._transaction():
            if self._position() != self._expected:
                raise BadCursor(index=self.path, cause="another process went on meanwhile")
            if reset:
                self._connection.execute("DELETE FROM entry")
                self._connection.execute("DELETE FROM fulltext")
            for row in removed:
                self._remove(row)
            for row in added:
                self._add(row)
            self._connection.execute("INSERT OR REPLACE INTO about VALUES ('position', ?)", (position,))
        self._expected = position

    def search(self, text: str, limit: int) -> list[Hit]:
        """The best rows for a query in the syntax of FTS5. Raises `BadSearch` for one that is none."""
        weights = ", ".join(map(repr, self._weights))
        columns = ", ".join(self.columns)
        snippet = f"snippet(fulltext, {self._searched - 1}, '', '', '…', {SNIPPET_TOKENS})"
        query = (
            f"SELECT bm25(fulltext, {weights}) AS score, {snippet}, "
            f"{columns} FROM fulltext WHERE fulltext MATCH ? ORDER BY score, {columns} LIMIT ?"
        )
        return [
            Hit(dict(zip(self.columns, row[2:], strict=True)), row[0], " ".join(row[1].split()))
            for row in self._matches(query, text, min(limit, MOST))
        ]

    def check_search(self, text: str) -> None:
        """Raise `BadSearch` if `search` would, whatever is in the index."""
        self._matches("SELECT 1 FROM fulltext WHERE fulltext MATCH ? LIMIT ?", text, 1)

    def _matches(self, query: str, text: str, limit: int) -> list[Any]:
        with _translated(self.path):
            try:
                return self._connection.execute(query, (text, limit)).fetchall()
            except UnicodeEncodeError:  # the name of a file, say
                raise BadSearch(text=text, cause="it is not text in UTF-8") from None
            except sqlite3.OperationalError as error:
                if str(error).startswith(REFUSED):
                    raise BadSearch(text=text, cause=error) from None
                raise

    def __len__(self) -> int:
        with _translated(self.path):
            (number,) = self._connection.execute("SELECT count(*) FROM entry").fetchone()
        return int(number)

    def check(self) -> None:
        """StoreDamaged unless the index and its rows agree. Reads everything."""
        with _translated(self.path):
            self._connection.execute("INSERT INTO fulltext(fulltext) VALUES ('integrity-check')")
            (odd,) = self._connection.execute(
                "SELECT (SELECT count(*) FROM entry WHERE id NOT IN (SELECT rowid FROM fulltext)) "
                "+ (SELECT count(*) FROM fulltext WHERE rowid NOT IN (SELECT id FROM entry))"
            ).fetchone()
        if odd:
            raise StoreDamaged(store=self.path, reason=f"{odd} rows are not in both tables", hint=HINT)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- rows ----------------------------------------------------------------------------------

    def _add(self, row: Texts) -> None:
        row = tuple(map(_storable, row))
        made = self._connection.execute("INSERT INTO entry (digest) VALUES (?)", (_digest(row),))
        marks = ", ".join("?" * len(row))
        self._connection.execute(
            f"INSERT INTO fulltext (rowid, {', '.join(self.columns)}) VALUES (?, {marks})",
            (made.lastrowid, *row),
        )

    def _remove(self, row: Texts) -> None:
        """Nothing where it is not there: then the file was begun anew, and it comes without it."""
        digest = _digest(tuple(map(_storable, row)))
        found = self._connection.execute(
            "SELECT id FROM entry WHERE digest = ? LIMIT 1", (digest,)
        ).fetchone()
        if found is not None:
            self._connection.execute("DELETE FROM entry WHERE id = ?", found)
            self._connection.execute("DELETE FROM fulltext WHERE rowid = ?", found)

    # -- the file ------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if not os.path.exists(self.path):
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN")  # one look: another process may be making it
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and application != APPLICATION:
                raise StoreForeign(store=self.path, reason="it is no index of ours", hint=FOREIGN)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StoreTooNew(store=self.path, version=version)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            if not self._fits(connection):
                self._make(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _fits(self, connection: sqlite3.Connection) -> bool:
        try:
            found = connection.execute("SELECT value FROM about WHERE name = 'shape'").fetchone()
        except sqlite3.OperationalError:
            return False
        return bool(found == (self._shape,))

    def _make(self, connection: sqlite3.Connection) -> None:
        for name in ("about", "entry", "fulltext"):
            connection.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in TABLES.split(";"):
            connection.execute(statement)
        columns = [
            name if at < self._searched else f"{name} UNINDEXED" for at, name in enumerate(self.columns)
        ]
        connection.execute(
            f"CREATE VIRTUAL TABLE fulltext USING fts5({', '.join(columns)}, tokenize = '{TOKENS}')"
        )
        connection.execute("INSERT INTO about VALUES ('shape', ?)", (self._shape,))
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")

    def _position(self) -> str | None:
        found = self._connection.execute("SELECT value FROM about WHERE name = 'position'").fetchone()
        return None if found is None else str(found[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """As `translated`, with remedies for an index: those for a store are others."""
    try:
        with translated(path):
            yield
    except StoreDamaged as error:
        error.hint = HINT
        raise
    except (StoreFull, StoreReadOnly) as error:
        error.hint = NO_ROOM if isinstance(error, StoreFull) else NO_WRITING
        raise
    except StoreError as error:
        if error.hint == OTHER_STORE:
            error.hint = OTHER_PLACE
        raise


def _set_aside(path: Path) -> str:
    """Rename a file that is damaged, and drop what SQLite keeps beside it."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return str(path.replace(f"{path}.damaged"))


def _is_ours(path: Path) -> bool:
    """By the header, which may be all that can be read."""
    with path.open("rb") as file:
        header = file.read(APPLICATION_AT + 4)
    return header[APPLICATION_AT:] == APPLICATION.to_bytes(4, "big")


def _digest(row: Texts) -> bytes:
    return blake3(pack(row)).digest(16)


def _storable(text: str) -> str:
    """SQLite keeps no lone surrogates, and FTS5 ends a text at a zero."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
