"""Changes: what became of a table or of a query's value since a consumer looked last, each change once.

    feed = db.changes(definitions, since="search index")
    for delta in feed:                  # ends when nothing is left; asked again, it goes on
        apply(delta.removed, delta.added)

A consumer is known by a name and holds a cursor in the store. Asking for the next delta acknowledges the one
before it. One that was killed in between gets that delta again; who must not apply it twice stores
`delta.position` together with its own data, and gives it back as `after`.

Invariants
    H1  Deltas applied in order to what the consumer had give the table as it is: none is lost, and after
        `after` none is repeated.
    H2  One delta is one revision; a consumer that is more than `LATE` of them behind gets the net difference.
    H3  A consumer that has nothing yet, or whose table was built anew, gets all rows, with `reset`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from engine.attempt import Gate, finish, insist
from engine.core import Core
from engine.errors import BadCursor
from engine.kept_table import KeptTable
from engine.locate import locate
from engine.log import NONCE_BYTES, Entry, owed
from engine.request import demand
from engine.store import CursorRow

if TYPE_CHECKING:
    from engine.columns import Plain
    from engine.key import Key
    from engine.tables import CollectionInfo

Row = TypeVar("Row")
R = TypeVar("R")
NOT_STARTED = -1  # position of a consumer that has seen no value yet
LATE = 100  # revisions that are told one by one


@frozen
class Delta(Generic[Row]):
    """What one revision changed in a table.

    position   where the consumer is after this delta, as text; for `after`
    added, removed, changed   rows; a changed one as (before, after), where the table has an `identity`
    reset      forget what you had: `added` is all there is
    """

    revision: int
    position: str
    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[tuple[Row, Row], ...]
    reset: bool = False


@frozen
class NewValue(Generic[R]):
    """The value of a query that is another one than the consumer saw last; `error`: it fails."""

    revision: int
    position: str
    value: R | None
    error: Exception | None = None


class TableChanges(Generic[Row]):
    """The changes of a table for one consumer. Iterating brings the table up to date first."""

    def __init__(self, core: Core, info: CollectionInfo, name: str, after: str | None) -> None:
        self._core = core
        self._info = info
        self._name = name
        self._told: Delta[Row] | None = None
        with_table(core, info, lambda kept: kept.log.start(name))
        if after is not None:
            self._go_on(after)

    def __iter__(self) -> Iterator[Delta[Row]]:
        """The deltas there are now."""
        while True:
            if self._told is not None:
                self.acknowledge(self._told)
            delta = with_table(self._core, self._info, self._next)
            if delta is None:
                return
            self._told = delta
            yield delta

    def acknowledge(self, delta: Delta[Row]) -> None:
        """This delta was dealt with: it is never told again. Committed when it returns."""
        self._go_on(delta.position, delta.revision)
        self._told = None

    def close(self) -> None:
        """Give the cursor up: nothing is kept for this consumer any more."""
        with_table(self._core, self._info, lambda kept: kept.log.close(self._name))

    def _go_on(self, position: str, revision: int = 0) -> None:
        def move(kept: KeptTable) -> None:
            cursor = kept.log.start(self._name)
            number = number_of(cursor, position, self._info.name)
            if number < cursor.position:
                raise BadCursor(
                    table=self._info.name,
                    consumer=self._name,
                    cause="it goes backwards: later changes were acknowledged already",
                    hint="Start again under another name, or close this cursor, to get all rows.",
                )
            if number > kept.log.last:
                raise BadCursor(table=self._info.name, consumer=self._name, cause="it lies in the future")
            if number != cursor.position or owed(cursor):
                kept.log.move(self._name, number, revision or self._core.revision)

        with_table(self._core, self._info, move)

    def _next(self, kept: KeptTable) -> Delta[Row] | None:
        cursor = kept.log.start(self._name)
        revision, last = self._core.revision, kept.log.last
        if owed(cursor):
            rows = kept.all_rows()
            kept.log.owe(self._name)
            return Delta(revision, _token(cursor, last), tuple(map(self._row, rows)), (), (), True)
        entries = list(kept.log.entries(cursor.position))
        if not entries:
            return None
        several = [(revision, list(group)) for revision, group in groupby(entries, lambda one: one[1][0])]
        if len(several) > LATE:
            several = [(several[-1][0], entries)]
        for revision, group in several:
            added, removed, changed = self._sorted_out([entry for _, entry in group])
            position = _token(cursor, group[-1][0])
            if added or removed or changed:
                return Delta(revision, position, added, removed, changed)
        kept.log.move(self._name, entries[-1][0], revision)  # what came has gone again
        return None

    def _sorted_out(
        self, entries: list[Entry]
    ) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[tuple[Row, Row], ...]]:
        """The net of some entries, with rows that changed told as such."""
        total: dict[tuple[Plain, tuple[Plain, ...]], int] = {}
        for _, sign, source, columns in entries:
            total[source, columns] = total.get((source, columns), 0) + sign
        came = [found for found, sum in total.items() if sum > 0]
        went = [found for found, sum in total.items() if sum < 0]
        pairs: list[tuple[Any, Any]] = []
        if self._info.identity:
            at = [self._info.columns.names.index(name) for name in self._info.identity]
            before = {(source, *(columns[one] for one in at)): (source, columns) for source, columns in went}
            for source, columns in tuple(came):
                old = before.pop((source, *(columns[one] for one in at)), None)
                if old is not None:
                    pairs.append((self._row(old), self._row((source, columns))))
                    came.remove((source, columns))
                    went.remove(old)
        return tuple(map(self._row, came)), tuple(map(self._row, went)), tuple(pairs)

    def _row(self, found: tuple[Plain, tuple[Plain, ...]]) -> Any:
        return self._info.columns.decode(found[1])


class ValueChanges(Generic[R]):
    """The changes of one key's value for one consumer: the newest value, if it is not the one seen last."""

    def __init__(self, core: Core, key: Key[R], name: str, after: str | None) -> None:
        self._core = core
        self._key = key
        self._name = name
        self._told: NewValue[R] | None = None
        if after is not None:
            self._go_on(after)

    def __iter__(self) -> Iterator[NewValue[R]]:
        """The newest value, or nothing."""
        while True:
            if self._told is not None:
                self.acknowledge(self._told)
            self._told = self._next()
            if self._told is None:
                return
            yield self._told

    def acknowledge(self, new: NewValue[R]) -> None:
        """This value was dealt with. Committed when it returns."""
        self._go_on(new.position)
        self._told = None

    def close(self) -> None:
        """Give the cursor up."""

        def attempt(gate: Gate) -> None:
            core = self._core
            with core.patience, core.lock:
                core.value_cursors[self._node(), self._name] = None
                finish(core)

        insist(self._core, attempt)

    def _next(self) -> NewValue[R] | None:
        value, error = None, None
        try:
            value = demand(self._core, self._key.query, self._key.args)
        except Exception as failure:
            error = failure
        core = self._core
        with core.lock:
            node = self._node()
            cursor = self._cursor(node)
            seen = core.graph.fingerprint[node]
            if cursor.data[NONCE_BYTES:] == seen and cursor.position != NOT_STARTED:
                return None
            return NewValue(
                core.revision, f"{_token(cursor, core.graph.changed_at[node])}-{seen.hex()}", value, error
            )

    def _go_on(self, position: str) -> None:
        def attempt(gate: Gate) -> None:
            core = self._core
            with core.patience, core.lock:
                node = self._node()
                cursor = self._cursor(node)
                token, _, seen = position.rpartition("-")
                number = number_of(cursor, token, str(self._key))
                if number < cursor.position:
                    raise BadCursor(query=self._key, consumer=self._name, cause="it goes backwards")
                data = cursor.data[:NONCE_BYTES] + bytes.fromhex(seen)
                core.value_cursors[node, self._name] = cursor._replace(
                    position=number, revision=core.revision, data=data
                )
                finish(core)

        demand_quietly(self._core, self._key)
        insist(self._core, attempt)

    def _node(self) -> int:
        return locate(self._core, self._key.query, self._key.args)

    def _cursor(self, node: int) -> CursorRow:
        core = self._core
        found = core.value_cursors.get((node, self._name))
        if found is None and (node, self._name) not in core.value_cursors and core.store is not None:
            stored = {row.name: row for row in core.store.derived.cursors(node)}
            found = stored.get(self._name)
        if found is None:
            found = CursorRow(node, self._name, NOT_STARTED, 0, os.urandom(NONCE_BYTES))
        core.value_cursors[node, self._name] = found
        return found


def with_table(core: Core, info: CollectionInfo, work: Any) -> Any:
    """Do something with a table that is up to date, and commit. Raises the table's error if it has one."""
    demand(core, info.settle, ())

    def attempt(gate: Gate) -> Any:
        with core.patience, core.lock:
            node = locate(core, info.settle, ())
            kept = core.collections[node]
            assert isinstance(kept, KeptTable)
            done = work(kept)
            finish(core)
            return done

    return insist(core, attempt)


def demand_quietly(core: Core, key: Key[Any]) -> None:
    """Make a key's node; what its value is does not matter here."""
    try:
        demand(core, key.query, key.args)
    except Exception:
        return  # its error is told by `_next`


def number_of(cursor: CursorRow, position: str, name: str) -> int:
    """The number in a position. Raises `BadCursor` for one of another store or consumer."""
    nonce, dash, number = position.partition("-")
    if not dash or not number.lstrip("-").isdigit():
        raise BadCursor(of=name, position=position, cause="this is no position that a delta had")
    if nonce != cursor.data[:NONCE_BYTES].hex():
        raise BadCursor(
            of=name,
            position=position,
            consumer=cursor.name,
            cause="it is of another store, or of another consumer",
            hint="Start without a position, and replace what you have by the rows of the first delta.",
        )
    return int(number)


def _token(cursor: CursorRow, number: int) -> str:
    return f"{cursor.data[:NONCE_BYTES].hex()}-{number}"
