"""Log: which rows of a table came and went, for consumers that hold a cursor.

Invariants
    G1  While a cursor is held, every row that comes or goes is an entry, written in the same commit.
    G2  Entries from a cursor on, applied to what its consumer has, give the table as it is.
    G3  The log is bounded: entries behind every cursor go, and what came and went between two places where
        a consumer may be is netted, so that a segment has at most the rows that its two ends differ by.
    G4  A consumer may be at its cursor, or at the end of the delta that it was told last: it may have kept
        that one and was killed before it said so. Nothing is netted across either.

A table without cursors has no log: building one of two million rows writes each row once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from engine.store import Batch, ChangeRow, CursorRow
from engine.store.canonical import pack, unpack
from engine.tables.columns import Plain

if TYPE_CHECKING:
    from engine.core import Core

NET_ABOVE = 10_000  # entries before netting is worth reading them all: some 20 ms
PAGE: Final = 256  # entries read at a time by who does not know how many it wants
NONCE_BYTES: Final = 8  # tells a cursor from those of the same name in other stores

NEVER: Final = -1  # the end of the last delta of a consumer that was told none since it moved

Entry = tuple[int, int, Plain, tuple[Plain, ...]]  # revision, sign, source, columns


@frozen
class Cursor:
    """How far a consumer has come.

    position  it has everything up to here
    told      the end of the delta that it was told last, or `NEVER`
    owed      it is to get all rows; until it says that it has them it is owed them again
    resets    how often the table was built anew since it came first: what it kept before does not count
    netted    entries up to here were netted: what lies between them never was, so they are one delta
    """

    name: str
    position: int
    nonce: bytes
    revision: int = 0
    told: int = NEVER
    owed: bool = True
    resets: int = 0
    netted: int = NEVER

    def row(self, collection: int) -> CursorRow:
        """As it is stored."""
        data = self.nonce + pack((self.told, self.owed, self.resets, self.netted))
        return CursorRow(collection, self.name, self.position, self.revision, data)

    @classmethod
    def restored(cls, row: CursorRow) -> Cursor:
        """The cursor of a stored row."""
        more = unpack(row.data[NONCE_BYTES:], {})
        return cls(row.name, row.position, row.data[:NONCE_BYTES], row.revision, *more)

    @property
    def places(self) -> tuple[int, ...]:
        """Where its consumer may be (G4). Nowhere: it gets all rows, however they came to be."""
        if self.owed:
            return () if self.told == NEVER else (self.told,)
        return (self.position,) if self.told == NEVER else (self.position, self.told)


class Log:
    """The change log of one table, in one engine. The lock of the core is held by who calls."""

    def __init__(self, core: Core, collection: int) -> None:
        self._core = core
        self._collection = collection
        self._cursors: dict[str, Cursor] | None = None if core.store is not None else {}
        self._fresh: list[ChangeRow] = []
        self._gone: list[int] = []
        self._moved: dict[str, None] = {}  # cursors to write
        self._closed: list[str] = []
        self._size: int | None = None if core.store is not None else 0
        self._net_above = NET_ABOVE
        self._trimmed = NEVER  # nothing is kept up to here

    @property
    def cursors(self) -> dict[str, Cursor]:
        """By name."""
        if self._cursors is None:
            assert self._core.store is not None
            stored = self._core.store.derived.cursors(self._collection)
            self._cursors = {row.name: Cursor.restored(row) for row in stored}
        return self._cursors

    def add(self, sign: int, source: Plain, rows: Iterable[tuple[Plain, ...]]) -> None:
        """Rows that came (1) or went (-1) now; nothing where nobody wants to know (G1)."""
        core = self._core
        if not any(cursor.places for cursor in self.cursors.values()):
            return
        if core.store is not None and core.store.read_only:
            return  # whoever holds a cursor asks an engine that may write
        if core.store is None and self._fresh and self._fresh[-1].revision < core.revision:
            self._net_if_long()
        for columns in rows:
            number = next_number(core)
            data = pack((source, columns))
            self._fresh.append(ChangeRow(number, self._collection, core.revision, sign, data))

    def start(self, name: str) -> Cursor:
        """The cursor of a consumer, made if there is none."""
        found = self.cursors.get(name)
        if found is None:
            found = Cursor(name, self.last, os.urandom(NONCE_BYTES))
            self.cursors[name] = found
            self._moved[name] = None
            if name in self._closed:
                self._closed.remove(name)
        return found

    def move(self, name: str, position: int, revision: int) -> None:
        """A consumer has everything up to a position."""
        cursor = self.cursors[name]
        self._put(evolve(cursor, position=position, revision=revision, told=NEVER, owed=False))

    def tell(self, name: str, position: int) -> None:
        """A consumer is told a delta that ends at a position: all rows of now, if it is owed them."""
        cursor = self.cursors[name]
        self._put(evolve(cursor, position=position if cursor.owed else cursor.position, told=position))

    def _put(self, cursor: Cursor) -> None:
        if cursor != self.cursors[cursor.name]:
            self.cursors[cursor.name] = cursor
            self._moved[cursor.name] = None
            self._trim()

    def close(self, name: str) -> bool:
        """Forget a cursor; False: there was none."""
        if self.cursors.pop(name, None) is None:
            return False
        self._moved.pop(name, None)
        self._closed.append(name)
        self._trim()
        return True

    def reset(self) -> None:
        """The table is built anew: every consumer gets all of it again."""
        for cursor in tuple(self.cursors.values()):
            self._put(evolve(cursor, position=self.last, told=NEVER, owed=True, resets=cursor.resets + 1))

    @property
    def last(self) -> int:
        """The position of now."""
        return next_number(self._core, 0) - 1

    def entries(self, after: int) -> Iterator[tuple[int, Entry]]:
        """What came and went after a position, in order, each with its own position."""
        for row in self._rows(after):
            source, columns = unpack(row.data, {})
            yield row.id, (row.revision, row.sign, source, columns)

    # -- keeping -------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._fresh or self._gone or self._moved or self._closed)

    def into(self, batch: Batch) -> None:
        """Put what the store does not have into a batch, netted where it has grown long (G3)."""
        if self._fresh:
            self._net_if_long()
        batch.changes += self._fresh
        batch.changes_gone += self._gone
        batch.cursors += [self.cursors[name].row(self._collection) for name in self._moved]
        batch.cursors_gone += [(self._collection, name) for name in self._closed]

    def committed(self) -> None:
        """The batch was written."""
        self._size = self._stored_size() + len(self._fresh) - len(self._gone)
        self._fresh.clear()
        self._gone.clear()
        self._moved.clear()
        self._closed.clear()

    def _rows(self, after: int) -> list[ChangeRow]:
        found: list[ChangeRow] = []
        if self._core.store is not None and self._stored_size():
            gone = set(self._gone)
            stored = self._core.store.derived.changes(self._collection, after, self._stored_size())
            found = [row for row in stored if row.id not in gone]
        return found + [row for row in self._fresh if row.id > after]

    def _stored_size(self) -> int:
        if self._size is None:
            assert self._core.store is not None
            self._size = self._core.store.derived.change_count(self._collection)
        return self._size

    def _trim(self) -> None:
        """Let go of what every consumer has."""
        kept = min(self._places(), default=self.last)
        if kept <= self._trimmed:
            return
        self._trimmed = kept
        if self._stored_size():
            known = set(self._gone)
            self._gone += [number for number in self._stored_up_to(kept) if number not in known]
        self._fresh = [row for row in self._fresh if row.id > kept]

    def _stored_up_to(self, last: int) -> Iterator[int]:
        """The numbers of the entries in the store up to one."""
        assert self._core.store is not None
        number = 0
        while page := self._core.store.derived.changes(self._collection, number, PAGE):
            for row in page:
                if row.id > last:
                    return
                yield row.id
            number = page[-1].id

    def _places(self) -> list[int]:
        """Where consumers may be, sorted."""
        return sorted({place for cursor in self.cursors.values() for place in cursor.places})

    def _net_if_long(self) -> None:
        if self._stored_size() + len(self._fresh) - len(self._gone) <= self._net_above:
            return
        # What is of this revision may not be complete: a delta does not end in the middle of it.
        rows = [row for row in self._rows(0) if row.revision < self._core.revision]
        if not rows:
            return
        ends = self._places()
        kept = {row.id for segment in _segments(rows, ends) for row in netted(segment)}
        fresh = {row.id for row in self._fresh}
        self._gone += [row.id for row in rows if row.id not in kept and row.id not in fresh]
        self._fresh = [row for row in self._fresh if row.id in kept or row.id > rows[-1].id]
        self._net_above = max(NET_ABOVE, 2 * len(kept))
        for name, cursor in self.cursors.items():
            self.cursors[name] = evolve(cursor, netted=rows[-1].id)
            self._moved[name] = None


def next_number(core: Core, step: int = 1) -> int:
    """The number of the next entry of any log. They ascend for ever."""
    if not core.next_change:
        core.next_change = 1 + (_last_stored(core) if core.store is not None else 0)
    number = core.next_change
    core.next_change += step
    return number


def _last_stored(core: Core) -> int:
    """The highest number that was given. An entry that was netted at once is in no log, but a consumer that
    got all rows then may stand behind it."""
    assert core.store is not None
    derived = core.store.derived
    rows = [row for one in core.collections.values() for row in derived.cursors(one.node)]
    return max([derived.last_change(), *(row.position for row in rows)])


def netted(rows: Sequence[ChangeRow]) -> list[ChangeRow]:
    """What is left where a row that came and went, or went and came back, is nothing; in order."""
    last: dict[bytes, ChangeRow] = {}
    total: dict[bytes, int] = {}
    for row in rows:
        total[row.data] = total.get(row.data, 0) + row.sign
        last[row.data] = row
    return sorted((last[data] for data, sum in total.items() if sum), key=lambda row: row.id)


def _segments(rows: Sequence[ChangeRow], ends: Sequence[int]) -> Iterator[list[ChangeRow]]:
    """The entries between each two places that follow each other."""
    for start, end in zip([-1, *ends], [*ends, None], strict=True):
        yield [row for row in rows if row.id > start and (end is None or row.id <= end)]
