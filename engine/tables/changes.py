"""Changes: what became of a table since a consumer looked last, each change once. Of values: `value_changes`.

    feed = db.changes(definitions, since="search index")
    for delta in feed:                  # ends when nothing is left; asked again, it goes on
        apply(delta.removed, delta.added)

A consumer is known by a name and holds a cursor in the store. Asking for the next delta acknowledges the one
before it. One that was killed in between gets that delta again; who must not apply it twice stores
`delta.position` together with its own data, and gives it back as `after`.

Invariants
    H1  Deltas applied in order to what the consumer had give the table as it is: none is lost, and after
        `after` none is repeated.
    H2  One delta is one revision; a consumer that is more than `LATE` of them behind gets the net difference,
        and so does one whose part of the log was netted.
    H3  A consumer that has nothing yet, or whose table was built anew, gets all rows, with `reset`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from engine.attempt import Gate, finish, insist
from engine.core import Core
from engine.errors import BadCursor, StoreFull
from engine.graph import MARKED
from engine.key import short
from engine.locate import locate
from engine.request import demand
from engine.tables.columns import Found, in_order
from engine.tables.kept_table import KeptTable
from engine.tables.log import Cursor, Entry

if TYPE_CHECKING:
    from engine.tables.table import CollectionInfo

Row = TypeVar("Row")
T = TypeVar("T")
NOT_STARTED = -1  # position of a consumer that was told nothing yet
Part = tuple[int, list[tuple[int, Entry]]]  # revision, numbered entries
LATE = 100  # revisions that are told one by one
LONGEST_NAME = 1_000  # bytes of the name of a consumer
OTHER = "it is of another store, or of another consumer"
BACKWARDS = "it goes backwards: later changes were acknowledged already"
UNKNOWN = "nothing that was told ends there: it lies in the future, or this store is an older copy"
START_ANEW = (
    "Start without a position, under another name or after closing this cursor, "
    "and replace what you have by what is told first."
)
CLOSE = "Start again under another name, or close this cursor, to get everything."


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


class TableChanges(Generic[Row]):
    """The changes of a table for one consumer. Iterating brings the table up to date first."""

    def __init__(self, core: Core, info: CollectionInfo, name: str, after: str | None) -> None:
        self._core = core
        self._info = info
        self._name = checked_name(name)
        self.is_new = False  # whether nobody of that name had a cursor before
        self._told: Delta[Row] | None = None
        # What is to be told next, the place that it follows, and the place up to which it was read.
        self._ahead: tuple[list[Part], int, int] = [], NOT_STARTED, NOT_STARTED
        if after is None:
            self.is_new = with_table(core, info, self._start)
        else:
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
        self._go_on(delta.position, delta)
        self._told = None

    def close(self) -> None:
        """Give the cursor up: nothing is kept for this consumer any more."""
        with_table(self._core, self._info, lambda kept: kept.log.close(self._name))
        self._told = None

    def _start(self, kept: KeptTable) -> bool:
        is_new = self._name not in kept.log.cursors
        kept.log.start(self._name)
        return is_new

    def _go_on(self, position: str, told: Delta[Row] | None = None) -> None:
        """`told`: a delta that this feed told; the table may have been built anew since."""
        nonce, resets, number = _parts(position, self._info.name)

        def move(kept: KeptTable) -> None:
            log = kept.log
            known = log.cursors.get(self._name)
            if known is None or nonce != known.nonce.hex():
                if told is not None:
                    log.start(self._name)  # the store was set aside meanwhile: all rows come again
                    return
                raise self._bad(OTHER, START_ANEW)
            if resets < known.resets and known.owed:
                return  # the table was built anew: all rows come again, whatever the consumer had
            if (resets, number) < (known.resets, known.position):
                raise self._bad(BACKWARDS, CLOSE)
            if resets > known.resets or number not in known.places:
                raise self._bad(UNKNOWN, CLOSE)
            if number != known.position or known.owed:
                log.move(self._name, number, told.revision if told is not None else self._core.revision)

        with_table(self._core, self._info, move)

    def _bad(self, cause: str, hint: str) -> BadCursor:
        return BadCursor(table=self._info.name, consumer=self._name, cause=cause, hint=hint)

    def _next(self, kept: KeptTable) -> Delta[Row] | None:
        log = kept.log
        cursor = log.start(self._name)
        revision = self._core.revision
        if cursor.owed:
            self._ahead = [], NOT_STARTED, NOT_STARTED
            rows = kept.all_rows()
            log.tell(self._name, log.last)
            position = _token(cursor, log.last)
            return Delta(revision, position, tuple([self._row(row) for row in rows]), (), (), True)
        parts, start, end = self._ahead
        if (start, end) != (cursor.position, log.last):
            parts = _parted(list(log.entries(cursor.position)), cursor.netted)
        self._ahead = [], NOT_STARTED, NOT_STARTED
        if not parts:
            return None
        for at, (revision, group) in enumerate(parts):
            added, removed, changed = self._sorted_out([entry for _, entry in group])
            if added or removed or changed:
                log.tell(self._name, group[-1][0])
                self._ahead = parts[at + 1 :], group[-1][0], log.last
                return Delta(revision, _token(cursor, group[-1][0]), added, removed, changed)
        log.move(self._name, parts[-1][1][-1][0], revision)  # what came has gone again
        return None

    def _sorted_out(
        self, entries: list[Entry]
    ) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[tuple[Row, Row], ...]]:
        """The net of some entries, sorted, with rows that changed told as such."""
        total: dict[Found, int] = {}
        for _, sign, source, columns in entries:
            total[source, columns] = total.get((source, columns), 0) + sign
        came = in_order(found for found, sum in total.items() if sum > 0)
        went = in_order(found for found, sum in total.items() if sum < 0)
        pairs: dict[Found, Found] = {}
        if self._info.identity:
            at = [self._info.columns.names.index(name) for name in self._info.identity]
            before = {(source, *(columns[one] for one in at)): (source, columns) for source, columns in went}
            for source, columns in came:
                old = before.pop((source, *(columns[one] for one in at)), None)
                if old is not None:
                    pairs[old] = source, columns
        news = set(pairs.values())
        return (
            tuple([self._row(found) for found in came if found not in news]),
            tuple([self._row(found) for found in went if found not in pairs]),
            tuple([(self._row(old), self._row(new)) for old, new in pairs.items()]),
        )

    def _row(self, found: Found) -> Any:
        return self._info.columns.decode(found[1])


def _parted(entries: list[tuple[int, Entry]], netted: int) -> list[Part]:
    """The entries of each delta that is to be told, with its revision (H2)."""
    late = [one for one in entries if one[0] <= netted]
    rest = entries[len(late) :]
    parts = [(revision, list(group)) for revision, group in groupby(rest, lambda one: one[1][0])]
    if len(parts) > LATE:
        return [(parts[-1][0], entries)]
    if late:  # what is netted is of revisions that were over by then: none of them goes on in `parts`
        parts.insert(0, (late[-1][1][0], late))
    return parts


def with_table(core: Core, info: CollectionInfo, work: Callable[[KeptTable], T]) -> T:
    """Do something with a table that is up to date, and commit. Raises the table's error if it has one."""

    def attempt(gate: Gate) -> T:
        while True:
            demand(core, info.settle, ())
            with core.patience, core.lock:
                node = locate(core, info.settle, ())
                if core.torn or core.graph.status[node] & MARKED:
                    continue  # the world moved on: what is told belongs to one revision
                kept = core.collections[node]
                assert isinstance(kept, KeptTable)
                done = work(kept)
                finish(core)
                check_written(core)
                return done

    return insist(core, attempt)


def check_written(core: Core) -> None:
    """What is told, and that it was heard, has to be in the store. Raises `StoreFull`."""
    if core.unsaved.disk_full:
        raise StoreFull(cause="how far a consumer has come could not be saved", hint="Make room; then go on.")


def checked_name(name: object) -> str:
    """The name of a consumer, which the store has to be able to hold. Raises `BadCursor`."""
    if isinstance(name, str) and name:
        try:
            if len(name.encode()) <= LONGEST_NAME:
                return name
        except UnicodeEncodeError:
            pass  # a byte of a command line that is not UTF-8
    raise BadCursor(
        consumer=short(name),
        cause="this cannot be the name of a consumer",
        hint=f"It is a text of 1 to {LONGEST_NAME} bytes in UTF-8.",
    )


def _parts(position: str, name: str) -> tuple[str, int, int]:
    """Nonce, resets and number of a table's position."""
    found = re.fullmatch(r"([0-9a-f]{16})-([0-9]{1,18})-(-?[0-9]{1,18})", str(position))
    if found is None:
        raise unreadable(position, name)
    return found[1], int(found[2]), int(found[3])


def unreadable(position: str, name: str) -> BadCursor:
    return BadCursor(
        of=name, position=position, cause="this is no position that a delta had", hint=START_ANEW
    )


def _token(cursor: Cursor, number: int) -> str:
    return f"{cursor.nonce.hex()}-{cursor.resets}-{number}"
