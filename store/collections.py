"""Collections: tables, folds, the change log and its cursors, as they are read.

Invariants
    B1  Every row is compared with its checksum before anybody sees it. `count` and `owners` show no row.
    B2  What is not there is left out: an unknown collection is like an empty one.
    B3  Values are compared as in Python: 1 equals 1.0, text equals text only, in the order of code points.
        None is found by None.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from engine.store import checksums, deltas
from engine.store.checking import check
from engine.store.layout import Layout, collection_rows, find_layout
from engine.store.reading import select_in
from engine.store.rows import ChangeRow, CollectionRow, CursorRow, MemberRow, StoredRows

LAST_CHARACTER = 0x10FFFF
BELOW_SURROGATES, ABOVE_SURROGATES = 0xD7FF, 0xE000  # no text that SQLite can hold has one of them


class Locked(Protocol):
    """What has a connection to a store."""

    layouts: dict[int, Layout]  # of collections, as far as somebody asked since the last commit

    @property
    def put_off(self) -> Container[str]:
        """The tables whose rows are not found quickly: see row_index."""
        ...

    def make_row_index(self, made: Layout) -> None:
        """Somebody looks into such a table."""
        ...

    def locked(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection, while no other thread uses it; errors are translated."""
        ...


class Collections:
    """The derived collections of a store, for reading: `store.derived`. Writing them is part of a batch."""

    def __init__(self, store: Locked) -> None:
        self._store = store

    def _layout(self, connection: sqlite3.Connection, collection: int, *, looks: bool) -> Layout | None:
        """Where the rows of a collection lie; `looks`: some of them are looked for.

        To ask the file takes a third of a look.
        """
        known = self._store.layouts
        found = known.get(collection) or find_layout(connection, collection)
        if found is not None:
            known[collection] = found
            if looks and found.table in self._store.put_off:
                self._store.make_row_index(found)
        return found

    def is_quick(self, collection: int) -> bool:
        """Whether its rows are found by their indexes."""
        with self._store.locked() as connection:
            made = self._layout(connection, collection, looks=False)
            return made is not None and made.table not in self._store.put_off

    def collections(self) -> list[CollectionRow]:
        """All of them, in the order of their ids."""
        with self._store.locked() as connection:
            return collection_rows(connection)

    def members(self, collection: int) -> list[MemberRow]:
        """All members, in the order of their ids."""
        select = "SELECT collection, node, data, sum FROM member WHERE collection = ? ORDER BY node"
        with self._store.locked() as connection:
            found = connection.execute(select, (collection,)).fetchall()
        return [MemberRow(*row) for row in _checked("member", 2, found, checksums.member_sum)]

    def members_among(self, collection: int, nodes: Sequence[int]) -> dict[int, bytes]:
        """The data of those of the nodes that are members."""
        select = "SELECT collection, node, data, sum FROM member WHERE collection = ? AND node"
        with self._store.locked() as connection:
            found = list(select_in(connection, select, nodes, collection))
        return {row[1]: row[2] for row in _checked("member", 2, found, checksums.member_sum)}

    def rows_of(self, collection: int, members: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
        """The rows of each of the members, without order. A member without rows is left out."""
        result: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._rows_of(collection, members):
            result.setdefault(row[1], []).append(row[3:-1])
        return result

    def stored_rows_of(self, collection: int, members: Sequence[int]) -> dict[int, StoredRows]:
        """The same, with their source, and with what `MemberRows.gone` says of each if it goes."""
        result: dict[int, StoredRows] = {}
        for row in self._rows_of(collection, members):
            known = result.get(row[1])
            if known is None:
                known = result[row[1]] = StoredRows(row[2], {})
            known.rows[row[3:-1]] = row[0], row[-1]
        return result

    def _rows_of(self, collection: int, members: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        with self._store.locked() as connection:
            made = self._layout(connection, collection, looks=bool(members))
            if made is None:
                return ()
            found = list(select_in(connection, f"{made.select} WHERE _member", members))
        return made.checked(found)

    def select(
        self, collection: int, equal: Sequence[tuple[str, Any]], prefix: tuple[str, str | bytes] | None = None
    ) -> list[tuple[int, Any, tuple[Any, ...]]]:
        """Member, source and values of the rows that have all these values and begin so, in no order.

        A beginning of b"" is that of all bytes, and of nothing else.

        KeyError: the collection has no such column.
        """
        with self._store.locked() as connection:
            made = self._layout(connection, collection, looks=bool(equal or prefix))
            found = [] if made is None else _matching(connection, made, made.select, equal, prefix)
        return [] if made is None else [(row[1], row[2], row[3:-1]) for row in made.checked(found)]

    def count(self, collection: int, equal: Sequence[tuple[str, Any]]) -> int:
        """How many rows have all these values."""
        with self._store.locked() as connection:
            made = self._layout(connection, collection, looks=bool(equal))
            if made is None:
                return 0
            found = _matching(connection, made, f"SELECT count(*) FROM {made.table}", equal, None)
        return int(found[0][0]) if found else 0

    def owners(self, collection: int, equal: Sequence[tuple[str, Any]], most: int) -> list[int]:
        """Members that have a row with all these values, each once; not more of them than `most`."""
        with self._store.locked() as connection:
            made = self._layout(connection, collection, looks=bool(equal))
            if made is None:
                return []
            head = f"SELECT DISTINCT _member FROM {made.table}"
            return [member for (member,) in _matching(connection, made, head, equal, None, f" LIMIT {most}")]

    def blocks(self, collection: int, keys: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], bytes]:
        """Those of the blocks (level, key) that exist."""
        select = (
            "SELECT collection, level, key, data, sum FROM block WHERE collection = ? AND level = ? AND key"
        )
        found: list[tuple[Any, ...]] = []
        with self._store.locked() as connection:
            for level in sorted({level for level, _ in keys}):
                asked = [key for other, key in keys if other == level]
                found += select_in(connection, select, asked, collection, level)
        return {(row[1], row[2]): row[3] for row in _checked("block", 3, found, checksums.block_sum)}

    def block_keys(self, collection: int) -> list[tuple[int, bytes]]:
        """Level and key of all blocks that exist. Nothing of them is read, so none can be damaged."""
        with self._store.locked() as connection:
            found = connection.execute("SELECT level, key FROM block WHERE collection = ?", (collection,))
            return [(level, key) for level, key in found]

    def changes(self, collection: int, after: int, limit: int) -> list[ChangeRow]:
        """The first `limit` changes of a collection whose ids are above `after`."""
        select = (
            "SELECT id, collection, revision, sign, data, sum FROM change "
            "WHERE collection = ? AND id > ? ORDER BY id LIMIT ?"
        )
        with self._store.locked() as connection:
            found = connection.execute(select, (collection, after, limit)).fetchall()
        return [ChangeRow(*row) for row in _checked("change", 1, found, checksums.change_sum)]

    def change_count(self, collection: int) -> int:
        """How many changes of a collection are kept."""
        with self._store.locked() as connection:
            found = connection.execute("SELECT count(*) FROM change WHERE collection = ?", (collection,))
            return int(found.fetchone()[0])

    def last_change(self) -> int:
        """The highest id that a change ever had, trimmed ones included; 0: there was none."""
        with self._store.locked() as connection:
            known = deltas.last_change(connection)
        if known is None:
            return 0
        row, stored = known
        check("cursor", row[:2], stored, checksums.cursor_sum, row)
        return row.position

    def cursors(self, collection: int) -> list[CursorRow]:
        """The cursors of a collection by name."""
        select = (
            "SELECT collection, name, position, revision, data, sum FROM cursor "
            "WHERE collection = ? ORDER BY name"
        )
        with self._store.locked() as connection:
            found = connection.execute(select, (collection,)).fetchall()
        return [CursorRow(*row) for row in _checked("cursor", 2, found, checksums.cursor_sum)]


def beyond(prefix: str) -> str | bytes:
    """The least value that is above all texts with this prefix. Above all texts is the empty blob."""
    while prefix:
        last = ord(prefix[-1])
        if last < LAST_CHARACTER:
            return prefix[:-1] + chr(ABOVE_SURROGATES if last == BELOW_SURROGATES else last + 1)
        prefix = prefix[:-1]
    return b""


def _matching(
    connection: sqlite3.Connection,
    made: Layout,
    head: str,
    equal: Sequence[tuple[str, Any]],
    prefix: tuple[str, str | bytes] | None,
    tail: str = "",
) -> list[tuple[Any, ...]]:
    """What `head` gives of the rows that match."""
    terms: list[str] = []
    bound: list[Any] = []
    for name, value in equal:
        terms.append(f"{made.columns[name]} IS NULL" if value is None else f"{made.columns[name]} = ?")
        bound += [] if value is None else [value]
    if prefix is not None:
        name, start = prefix
        terms.append(f"{made.columns[name]} >= ?")
        bound.append(start)
        if isinstance(start, str):
            terms.append(f"{made.columns[name]} < ?")
            bound.append(beyond(start))
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    try:
        return connection.execute(head + where + tail, bound).fetchall()
    except (OverflowError, UnicodeEncodeError):  # SQLite holds no such int or text, so nothing is equal to it
        return []


def _checked(
    table: str, keys: int, found: Iterable[tuple[Any, ...]], compute: Callable[..., bytes]
) -> Iterable[tuple[Any, ...]]:
    """The rows without their checksums, when they agree. The first `keys` columns name a row."""
    for row in found:
        check(table, row[:keys], row[-1], compute, row[:-1])
        yield row[:-1]
