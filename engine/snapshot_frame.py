"""Snapshot frame: a query that runs in a snapshot, and what it gets when it reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from attrs import frozen

from engine.errors import UnstorableValue
from engine.failure import Failure
from engine.frame import Frame
from engine.outcome import may_be_without_bytes
from engine.query import QueryInfo
from engine.tables.kept import KeptRows
from engine.tables.lookup import matches
from engine.tables.scratch import scratch

if TYPE_CHECKING:
    from engine.core import Core
    from engine.snapshot import Snapshot


@frozen(slots=True, eq=False, repr=False)
class Copied:
    """A value of which each reader gets a copy."""

    info: QueryInfo
    data: bytes


@frozen(slots=True, eq=False, repr=False)
class Rows:
    """What a member of a table gave, in any order: for who asks for the table only (earlier_rows R2)."""

    rows: tuple[Any, ...]


def hold(info: QueryInfo, value: Any) -> Any:
    """What is held of the value of a query: without canonical bytes it is itself, see `outcome.conclude`."""
    codec = info.codec
    if codec.storable:
        try:
            data, seen = codec.freeze(value)
        except UnstorableValue as error:
            may_be_without_bytes(info, value, error)
        else:
            return seen if codec.shareable else Copied(info, data)
    else:
        may_be_without_bytes(info, value, None)
    return value


def hand_out(held: Any) -> Any:
    """What a reader gets of a value that is held; raises it where it is a failure."""
    if isinstance(held, Failure):
        raise held.raised()
    return held.info.codec.decode(held.data) if isinstance(held, Copied) else held


class SnapshotFrame(Frame):
    """A query that runs in a snapshot: all its reads go there."""

    __slots__ = ("name", "snapshot")

    def __init__(self, snapshot: Snapshot, name: tuple[str, object] = ("", ())) -> None:
        """`name`: of the key that runs."""
        self.snapshot = snapshot
        self.name = name
        self.root = snapshot._core.root
        self.tables = []  # every read comes to `fetch`

    @property
    def core(self) -> Core:
        """The engine that the snapshot is of."""
        return self.snapshot._core

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """See `Frame.fetch`."""
        self.snapshot.stopped(self.name)
        return hand_out(self.snapshot._value(info, args))

    def select(self, table: Any, terms: tuple[Any, ...], starting: bool) -> list[Any] | None:
        """See `Frame.select`. The rows of a table are computed once for each snapshot, from its members."""
        self.fetch(table.settle, ())
        rows = self.snapshot._rows.get(table.name)
        if rows is None:
            before = self.snapshot.passed
            rows = KeptRows(None, 0, table.columns.names)
            for number, (source, columns) in enumerate(scratch(table, self.fetch_rows)):
                rows.put(number, source, (columns,), True)
            self.snapshot.check_loss()
            if before == self.snapshot.passed:
                self.snapshot._rows[table.name] = rows
        pairs = zip(terms[::2], terms[1::2], strict=True)
        equal = [(name, table.columns.encode_one(name, value)) for name, value in pairs]
        with self.snapshot._locked() if rows is self.snapshot._lent else nullcontext():
            found = rows.select(() if starting else equal)
        fits = matches(table, terms, starting)
        return [row for row in found if fits(row[1])] if starting else found

    def settle(self, collection: Any) -> str | None:
        """See `Frame.settle`. Of a table that is not known to be settled, all members are computed."""
        if collection.row is not None:
            deque(scratch(collection, self.fetch_rows), 0)  # raises where one of them is a cycle
        return None

    def rows_of(self, table: Any, key: Any) -> Iterable[Any] | None:
        """See `Frame.rows_of`. They are computed, unless the whole fails, also by a cycle of another key."""
        self.fetch(table.settle, ())
        return None

    def failures(self, table: Any) -> list[tuple[str, str]] | None:
        """See `Frame.failures`; as `rows_of`."""
        self.fetch(table.settle, ())
        return None

    def fetch_rows(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """See `Frame.fetch_rows`: those that the table has, where it has them still.

        Asked also where a cycle is known already: members are a group (see `scratch`).
        """
        return hand_out(self.snapshot._value(info, args, in_any_order=True))

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """See `Frame.fetch_group`: all are computed, then the first error is raised."""
        self.snapshot.stopped(self.name)
        values = []
        for info, args in many:
            try:
                values.append(self.snapshot._value(info, args))
            except Exception as passing:  # a failure that is not kept: the others are computed all the same
                self.snapshot.check_loss()
                values.append(Failure.of(passing))
        return tuple([hand_out(value) for value in values])
