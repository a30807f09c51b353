"""Kept rows: the rows of one table, those of the store overlaid with those that are not in it yet.

Invariants
    P1  Every member has all its rows in one place: in `fresh`, or in the store. What is in `fresh` counts.
    P2  `fresh` is emptied by a commit that wrote it, and by nothing else: without a store it is all there is.
    P3  The lock of the core is held.
    P4  What was read ahead, or last, is what the store has: it is let go when a commit changes that, when
        more is read ahead, and when all members are right.
    P5  A member in `_deltas` is in `fresh`: the delta is what leads there from the rows that the store has.

Not here: what changed rows mean for others (collect).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from engine.store import Batch, MemberRows, StoredRows
from engine.tables.columns import Found, Plain

if TYPE_CHECKING:
    from engine.store.collections import Collections

Columns = tuple[Plain, ...]
Rows = dict[int, Columns | list[Columns]]  # of members that have a value: most have it in one row
NONE = StoredRows(None, {})


class KeptRows:
    """Rows by member; looked up by columns."""

    __slots__ = (
        "_ahead", "_attached", "_by", "_deltas", "_latest", "_names", "_node", "_stored", "fresh", "unseen",
    )  # fmt: skip

    def __init__(self, stored: Collections | None, node: int, names: Sequence[str]) -> None:
        self._stored = self._attached = stored
        self._node = node
        self._names = {name: at for at, name in enumerate(names)}
        self.fresh: dict[int, tuple[Plain, tuple[Columns, ...]]] = {}
        self.unseen: set[int] = set()  # members in `fresh` that the store has no rows of
        self._by: dict[str, dict[Plain, Rows]] = {}  # column -> value -> what `fresh` has of it
        # Rows that come, (id, checksum) of those that go: a commit need not read all that a member has.
        self._deltas: dict[int, tuple[tuple[Columns, ...], list[tuple[int, bytes]]]] = {}
        self._ahead: dict[int, StoredRows] = {}  # read before they are asked for
        # Of the member that was read last: its earlier memo and its delta want the same rows.
        self._latest: tuple[int, StoredRows] = 0, NONE

    def of(self, member: int) -> tuple[Columns, ...]:
        """The rows of a member."""
        held = self.fresh.get(member)
        if held is not None:
            return held[1]
        if self._stored is None:
            return ()
        known = self._known(member)
        if known is None:
            known = self._stored.stored_rows_of(self._node, (member,)).get(member, NONE)
            self._latest = member, known
        return tuple(known.rows)

    def read_ahead(self, members: Iterable[int]) -> None:
        """The rows of these members are asked for next: read them at once. Those that were before, go."""
        if self._stored is not None:
            missing = [member for member in members if member not in self.fresh]
            found = self._stored.stored_rows_of(self._node, missing)
            self._ahead = {member: found.get(member, NONE) for member in missing}

    def let_go_ahead(self) -> None:
        """What was read ahead is not wanted any more."""
        self._ahead.clear()
        self._latest = 0, NONE

    def _known(self, member: int) -> StoredRows | None:
        """What the store has of a member, if it was read."""
        return self._latest[1] if self._latest[0] == member else self._ahead.get(member)

    def put(self, member: int, source: Plain, rows: tuple[Columns, ...], unseen: bool) -> None:
        """From now on these are the rows of a member; `unseen`: the store has none."""
        before = self.fresh.get(member)
        if before is None and unseen:
            self.unseen.add(member)
        self._note_delta(member, source, rows, first=before is None and not unseen)
        self.fresh[member] = source, rows
        for name, by in self._by.items():
            at = self._names[name]
            for gone in before[1] if before is not None else ():
                members = by.get(gone[at], {})
                members.pop(member, None)
                if not members:  # without a store no commit clears this
                    by.pop(gone[at], None)
            for row in rows:
                _enter(by, row[at], member, row)

    def _note_delta(self, member: int, source: Plain, rows: tuple[Columns, ...], *, first: bool) -> None:
        known = self._known(member) if first and self._stored is not None else None
        if known is None or (rows and known.rows and source != known.source):
            self._deltas.pop(member, None)  # the commit compares
            return
        stay = known.rows.keys() & set(rows)
        came = tuple([row for row in rows if row not in stay])
        self._deltas[member] = came, [one for row, one in known.rows.items() if row not in stay]

    def select(
        self, equal: Sequence[tuple[str, Plain]], prefix: tuple[str, str | bytes] | None = None
    ) -> list[Found]:
        """Source and columns of the rows that have these values, in no order. All bytes begin with b""."""
        fresh = self.fresh
        found: list[Found] = []
        if self._stored is not None:
            found += [
                (source, columns)
                for member, source, columns in self._stored.select(self._node, equal, prefix)
                if member not in fresh
            ]
        found += self._matching_fresh(equal)
        if prefix is not None:
            at, beginning = self._names[prefix[0]], prefix[1]
            found = [one for one in found if _starts(one[1][at], beginning)]
        return found

    def count(self, equal: Sequence[tuple[str, Plain]]) -> int:
        """How many rows have these values. Reads no row of the store but those of members in `fresh`."""
        found = sum(1 for _ in self._matching_fresh(equal))
        if self._stored is not None:
            stale = self._stored.rows_of(self._node, sorted(self.fresh.keys() - self.unseen))
            found += self._stored.count(self._node, equal)
            found -= sum(self._fits(row, equal) for rows in stale.values() for row in rows)
        return found

    def has(self, column: str, value: Plain) -> bool:
        """Whether a row has this value; looks at few of those that have it, however many there are."""
        equal = ((column, value),)
        if any(True for _ in self._matching_fresh(equal)):
            return True
        if self._stored is None:
            return False
        outdated = len(self.fresh) - len(self.unseen)
        owners = self._stored.owners(self._node, equal, outdated + 1)
        return any(member not in self.fresh for member in owners)

    def values(self, column: str) -> list[Plain]:
        """The different values of a column."""
        at = self._names[column]
        return list(dict.fromkeys(columns[at] for _, columns in self.select(())))

    def into(self, batch: Batch) -> None:
        """Put what the store does not have into a batch."""
        for member, (source, rows) in self.fresh.items():
            came, gone = self._deltas.get(member, (rows, None))
            batch.rows.append(MemberRows(self._node, member, source, came, member in self.unseen, gone))

    def detach(self) -> None:
        """What the store has counts no longer; until a commit has replaced it."""
        self._stored = None

    @property
    def is_detached(self) -> bool:
        """Whether the store has rows that do not count: who has none now has to say so."""
        return self._stored is not self._attached

    def committed(self) -> None:
        """The batch was written.

        The rows of members that it said nothing of are what they were. A long update commits every two
        seconds: see test_rows_that_were_read_ahead_outlive_a_commit_amid_them.
        """
        if self.is_detached:
            self.let_go_ahead()
        self._stored = self._attached
        for member in self.fresh:
            self._ahead.pop(member, None)
        if self._latest[0] in self.fresh:
            self._latest = 0, NONE
        self._deltas.clear()
        self.fresh.clear()
        self.unseen.clear()
        self._by.clear()

    def _matching_fresh(self, equal: Sequence[tuple[str, Plain]]) -> Iterator[Found]:
        if not equal:
            for source, rows in self.fresh.values():
                for row in rows:
                    yield source, row
            return
        (name, value), *further = equal
        for member, several in self._index(name).get(value, {}).items():
            source = self.fresh[member][0]
            for row in several if isinstance(several, list) else (several,):
                if not further or self._fits(row, further):
                    yield source, row

    def _fits(self, row: Columns, equal: Sequence[tuple[str, Plain]]) -> bool:
        return all(row[self._names[name]] == value for name, value in equal)

    def _index(self, name: str) -> dict[Plain, Rows]:
        by = self._by.get(name)
        if by is None:
            by = {}
            at = self._names[name]
            for member, (_, rows) in self.fresh.items():
                for row in rows:
                    _enter(by, row[at], member, row)
            self._by[name] = by  # last: see test_an_interrupted_lookup_leaves_no_half_of_an_index
        return by


def _enter(by: dict[Plain, Rows], value: Plain, member: int, row: Columns) -> None:
    members = by.setdefault(value, {})
    known = members.get(member)
    if known is None:
        members[member] = row
    elif isinstance(known, list):
        known.append(row)
    else:
        members[member] = [known, row]


def _starts(value: Plain, beginning: str | bytes) -> bool:
    if isinstance(beginning, bytes):
        return isinstance(value, bytes)
    return isinstance(value, str) and value.startswith(beginning)
