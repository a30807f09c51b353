"""Changes of values: what became of a key's value since a consumer looked last.

    for new in db.changes(report, since="mailer"):
        send(new.value)

The consumer is known by name, and acknowledges, as that of a table is (see `tables.changes`). What it is told
is the newest value alone.

Invariants
    N1  A value is told where it differs from the one acknowledged last: what was changed and changed back
        meanwhile is not, unless another one was told then, which the consumer may have. One without bytes is
        told whenever it was computed anew.
    N2  A query that fails is told as its exception; one that fails for a moment once, however it fails, and
        then the memo before, where that holds again. What stops the engine itself is raised.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import frozen

from engine.answer import answer
from engine.attempt import Gate, finish, insist
from engine.core import Core, Request
from engine.errors import BadCursor, Cancelled, Closed, ForkedEngine, StoreError
from engine.graph import MARKED, TRANSIENT
from engine.locate import locate
from engine.request import demand
from engine.store import CursorRow
from engine.tables.changes import (
    BACKWARDS,
    CLOSE,
    NOT_STARTED,
    OTHER,
    START_ANEW,
    UNKNOWN,
    check_written,
    checked_name,
    unreadable,
)
from engine.tables.log import NONCE_BYTES

if TYPE_CHECKING:
    from engine.key import Key

R = TypeVar("R")
T = TypeVar("T")
# In place of the fingerprint of what a consumer has, which is longer.
PASSING: Final = b"\0"
NOBODY_KNOWS: Final = b"\1"


@frozen
class NewValue(Generic[R]):
    """The value of a query that is another one than the consumer saw last; `error`: it fails."""

    revision: int
    position: str
    value: R | None
    error: Exception | None = None


class ValueChanges(Generic[R]):
    """The changes of one key's value for one consumer: the newest value, if it is not the one seen last."""

    def __init__(self, core: Core, key: Key[R], name: str, after: str | None) -> None:
        self._core = core
        self._key = key
        self._name = checked_name(name)
        self.is_new = False  # whether nobody of that name had a cursor before
        self._told: NewValue[R] | None = None
        if after is None:
            self._with_cursor(lambda node, row, value, error: None)
        else:
            self._go_on(after)

    def __iter__(self) -> Iterator[NewValue[R]]:
        """The newest value, or nothing."""
        while True:
            if self._told is not None:
                self.acknowledge(self._told)
            self._told = self._with_cursor(self._next)
            if self._told is None:
                return
            yield self._told

    def acknowledge(self, new: NewValue[R]) -> None:
        """This value was dealt with. Committed when it returns."""
        self._go_on(new.position, new)
        self._told = None

    def close(self) -> None:
        """Give the cursor up."""

        def attempt(gate: Gate) -> None:
            core = self._core
            with core.patience, core.lock:
                core.unsaved.cursors[locate(core, self._key.query, self._key.args), self._name] = None
                finish(core)

        insist(self._core, attempt)
        self._told = None

    def _next(
        self, node: int, row: CursorRow, value: R | None, error: Exception | None
    ) -> NewValue[R] | None:
        graph = self._core.graph
        seen, number = graph.fingerprint[node], graph.changed_at[node]
        if graph.flags[node] & TRANSIENT:
            seen = PASSING  # not that of the memo before, which may hold again: it is not what is told now
        had = row.data[NONCE_BYTES:]
        # A value without bytes has no fingerprint: then it is another one whenever it was computed anew.
        same = seen == had if seen or had else number <= row.position
        if same and row.position != NOT_STARTED:  # N1
            return None
        # Until it is acknowledged nobody knows which value the consumer has: none is equal to that.
        self._core.unsaved.cursors[node, self._name] = row._replace(
            data=row.data[:NONCE_BYTES] + NOBODY_KNOWS
        )
        position = f"{row.data[:NONCE_BYTES].hex()}-{number}-{seen.hex()}"
        return NewValue(self._core.revision, position, value, error)

    def _go_on(self, position: str, told: NewValue[R] | None = None) -> None:
        nonce, number, seen = _value_parts(position, str(self._key))

        def move(node: int, row: CursorRow, value: object, error: object) -> None:
            core = self._core
            if nonce != row.data[:NONCE_BYTES].hex():
                if told is None:
                    raise self._bad(OTHER, START_ANEW)
            elif number < row.position:
                raise self._bad(BACKWARDS, CLOSE)
            elif number > core.revision:
                raise self._bad(UNKNOWN, CLOSE)
            else:
                data = row.data[:NONCE_BYTES] + seen
                row = row._replace(position=number, revision=core.revision, data=data)
                core.unsaved.cursors[node, self._name] = row

        self._with_cursor(move)

    def _bad(self, cause: str, hint: str) -> BadCursor:
        return BadCursor(query=self._key, consumer=self._name, cause=cause, hint=hint)

    def _with_cursor(self, work: Callable[[int, CursorRow, R | None, Exception | None], T]) -> T:
        """Do something with the cursor and the value that holds now, and commit."""

        def attempt(gate: Gate) -> T:
            core = self._core
            while True:
                self._value(lambda: demand(core, self._key.query, self._key.args))
                with core.patience, core.lock:
                    node = locate(core, self._key.query, self._key.args)
                    if core.torn or core.graph.status[node] & MARKED:
                        continue  # the world moved on: what is told belongs to one revision
                    value, error = self._value(partial(answer, core, node, Request(core)))
                    done = work(node, self._cursor(node), value, error)
                    finish(core)
                    check_written(core)
                    return done

        return insist(self._core, attempt)

    @staticmethod
    def _value(ask: Callable[[], R]) -> tuple[R | None, Exception | None]:
        try:
            return ask(), None
        except (Cancelled, Closed, ForkedEngine, StoreError):
            raise
        except Exception as error:  # of the query: an error is told like a value (N2)
            return None, error

    def _cursor(self, node: int) -> CursorRow:
        core = self._core
        found = core.unsaved.cursors.get((node, self._name))
        if found is None and (node, self._name) not in core.unsaved.cursors and core.store is not None:
            stored = {row.name: row for row in core.store.derived.cursors(node)}
            found = stored.get(self._name)
        if found is None:
            found = CursorRow(node, self._name, NOT_STARTED, 0, os.urandom(NONCE_BYTES))
            core.unsaved.cursors[node, self._name] = found
            self.is_new = True
        return found


def _value_parts(position: str, name: str) -> tuple[str, int, bytes]:
    """Nonce, revision and fingerprint of a value's position."""
    found = re.fullmatch(r"([0-9a-f]{16})-([0-9]{1,18})-((?:[0-9a-f]{2})*)", str(position))
    if found is None:
        raise unreadable(position, name)
    return found[1], int(found[2]), bytes.fromhex(found[3])
