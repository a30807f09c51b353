"""Kept table: the rows of one table in one engine, and whom a changed row concerns.

Invariants
    T1  Every lookup of rows that has a memo is found by a pattern: its mode, its columns, the length of a
        beginning. `of` and `failures` need none: who is a member, and who fails, is told of each by itself.
    T2  A row that comes or goes forces the lookups whose values it has, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from engine.errors import CycleError
from engine.failure import Failure
from engine.locate import find
from engine.persist import load
from engine.store import Batch
from engine.store.canonical import canonical
from engine.store.codec import FINGERPRINT_BYTES, fingerprint
from engine.tables.collection import Collection, force_lookups, key_changed, keys_unknown
from engine.tables.columns import Found, Plain, in_order, order
from engine.tables.cycles import lookups_of
from engine.tables.kept import Columns, KeptRows
from engine.tables.log import Log
from engine.tables.lookup import FAILURES, OF, STARTING, told

if TYPE_CHECKING:
    from engine.core import Core

_SUMS: Final = 1 << 8 * FINGERPRINT_BYTES


class KeptTable(Collection):
    """State of a table."""

    kind = "table"

    def __init__(self, core: Core, node: int, bit: int, name: str, shape: str) -> None:
        super().__init__(core, node, bit, name, shape)
        self._entered: set[int] = set()  # since the last commit
        self._outdated: set[int] = set()  # members whose stored rows count no longer, commits or not
        self._cycles: set[int] | None = None
        self._failed = ""  # how a member failed last, since all were right
        self.log = Log(core, node)
        self._open()

    def _open(self) -> None:
        self._names: list[str] = json.loads(self.shape)["columns"]
        store = self.core.store
        self.kept = KeptRows(None if store is None else store.derived, self.node, self._names)

    # -- what members contribute ---------------------------------------------------------------

    def take(
        self, node: int, value: Any, failure: Failure | None, failed: bool, changed: bool = False
    ) -> None:
        """See `Collection.take`."""
        info = self.definition
        assert info is not None
        rows = () if failure is not None else info.columns_of(value)
        self._note_cycle(node, failure)
        if failure is not None or failed:
            before = self.failure_of(node)
            after = b"" if failure is None else told(failure.error).encode()
            self._failed = after.decode() or self._failed  # others may still fail where this one is healed
            self.tell(node, after)
            if after != before:
                self._force(FAILURES, ())
        source = self.source_of(node)
        self._replace(node, source, rows)

    def read_ahead(self, nodes: list[int]) -> None:
        """See `Collection.read_ahead`."""
        self.kept.read_ahead(nodes)

    def conclude(self) -> None:
        """See `Collection.conclude`. That a function is wrong for all members would look like no rows."""
        self.kept.let_go_ahead()
        failed, self._failed, once = self._failed, "", f"no rows {self.name}"
        if self.sum:
            self.core.telling.over(once)
        elif failed:
            text = f"{self.name} has no rows, and members of it fail: {failed}. Its failures() lists them"
            self.core.telling.note(text, once)

    def drop(self, node: int) -> None:
        """See `Collection.drop`."""
        self._replace(node, None, ())
        self._note_cycle(node, None)
        if self.failure_of(node):
            self._force(FAILURES, ())

    def check_members(self) -> None:
        """A cycle is not a fault of one member: it is the value of the whole, so that nobody overlooks it."""
        cycles = self._known_cycles()
        if cycles:
            load(self.core, cycles)
            node = min(cycles, key=lambda one: order((self.source_of(one),)))
            held = self.core.graph.values[node]
            known = isinstance(held, Failure) and isinstance(held.error, CycleError)
            raise held.raised() if known else CycleError((self.core.name_of(node),))

    def cyclic_members(self) -> list[int]:
        """See `Collection.cyclic_members`."""
        return sorted(self._known_cycles())

    def _note_cycle(self, node: int, failure: Failure | None) -> None:
        if failure is not None and isinstance(failure.error, CycleError):
            self._known_cycles().add(node)
        else:
            self._known_cycles().discard(node)

    def _known_cycles(self) -> set[int]:
        """Members whose value is a cycle. After a restart they are looked for, if the table failed then."""
        if self._cycles is None:
            told = self.failures() if self.failing else []
            ours = f"{CycleError.__name__}: {CycleError.headline}"  # that of `graphlib` has the same name
            self._cycles = {node for node, why in told if why.startswith(ours)}
        return self._cycles

    def failure_of(self, node: int) -> bytes:
        """See `Collection.failure_of`."""
        known = self.news.get(node)
        if known is None and self.core.store is not None:
            known = self.core.store.derived.members_among(self.node, (node,)).get(node)
        return known or b""

    def clear(self) -> None:
        """See `Collection.clear`."""
        self._open()
        self.kept.detach()
        self._outdated = set(self.load_members())
        known = set(self._names)  # lookups by columns that are gone run because they are forced here
        self.patterns = {one: None for one in self.patterns if known.issuperset(one[1])}
        self.log.reset()
        self.sum = 0
        force_lookups(self.core, lookups_of(self.core, self))
        for several in self.feeds.values():
            for fed in several:
                keys_unknown(self.core, fed)

    def came_or_went(self, node: int) -> None:
        """See `Collection.came_or_went`."""
        self._entered.add(node)
        try:
            args = self.core.args_of(node)
        except LookupError:  # nobody can ask for it any more: see `Collection.source_of`
            return
        self._force(OF, args)

    def _replace(self, node: int, source: Plain, rows: tuple[Columns, ...]) -> None:
        unseen = node in self._entered and node not in self.kept.fresh and self.news.get(node) is not None
        # A commit halfway through building anew attaches the store again: `is_detached` does not tell.
        # See test_a_table_that_is_built_anew_again_after_a_kill_counts_every_row_once.
        outdated = node in self._outdated
        self._outdated.discard(node)
        before = () if unseen or outdated else self.kept.of(node)
        changed = set(before).symmetric_difference(rows)
        if not changed and not self.kept.is_detached and not outdated:
            return
        known = source if rows else self.source_of(node)
        self.kept.put(node, source, rows, unseen)
        self._count(known, before, rows)
        self._concerned(changed)

    def _count(self, source: Plain, before: Iterable[Columns], after: Iterable[Columns]) -> None:
        """Note in the log and in the digest which rows came and went."""
        was, now = set(before), set(after)
        gone = [row for row in before if row not in now]
        came = [row for row in after if row not in was]
        self.sum += sum([_number(source, row) for row in came]) - sum([_number(source, row) for row in gone])
        self.sum %= _SUMS
        self.dirty = True
        self.log.add(-1, source, gone)
        self.log.add(1, source, came)

    def _concerned(self, changed: Iterable[Columns]) -> None:
        """Let everybody know whose answer may be another one (T2)."""
        names = {name: at for at, name in enumerate(self._names)}
        for column, fed in self.feeds.items():
            if column not in names:
                continue  # who got its keys from there is defined anew, or cannot be settled
            for value in {row[names[column]] for row in changed}:
                for one in fed:
                    key_changed(self.core, one, value)
        for mode, columns, length in self.patterns:
            several = {tuple([row[names[name]] for name in columns]) for row in changed}
            for values in several:
                self._force_pattern(mode, columns, length, values)

    def _force_pattern(self, mode: str, columns: tuple[str, ...], length: int, values: Columns) -> None:
        info = self.definition
        assert info is not None
        terms: list[Any] = []
        for name, value in zip(columns, values, strict=True):
            known = info.columns.value(name, value)
            if mode == STARTING:
                if not isinstance(known, str) or len(known) < length:
                    return
                known = known[:length]
            terms += (name, known)
        self._force(mode, tuple(terms))

    def _force(self, mode: str, args: tuple[Any, ...]) -> None:
        if self.failing:
            return  # all answers are the error of the whole
        info = self.definition
        assert info is not None
        query = info.lookups[mode]
        if query.name in self.core.queries.by_name:
            node = find(self.core, query, args)
            if node:
                force_lookups(self.core, (node,))

    def all_rows(self) -> list[Found]:
        """Source and columns of all rows, sorted."""
        return in_order(self.kept.select(()))

    # -- what lookups ask ----------------------------------------------------------------------

    def select(self, mode: str, terms: tuple[Any, ...]) -> list[Found]:
        """Source and columns of the rows that match, in no order; from now on changes of them force it."""
        info = self.definition
        assert info is not None
        names = tuple(terms[::2])
        equal = [
            (name, info.columns.encode_one(name, value))
            for name, value in zip(names, terms[1::2], strict=True)
        ]
        self.looked_up(mode, terms)
        if mode != STARTING:
            return self.kept.select(equal)
        ((name, beginning),) = equal
        found = self.kept.select((), (name, beginning)) if isinstance(beginning, str) else []
        # Texts that SQLite cannot hold are bytes, however they begin. So are all values of a mixed column.
        odd = self.kept.select((), (name, b""))
        return found + [one for one in odd if self._begins(name, one[1], terms[1])]

    def count(self, mode: str, terms: tuple[Any, ...]) -> int:
        """How many rows match; as `select`."""
        info = self.definition
        assert info is not None
        self.looked_up(mode, terms)
        pairs = zip(terms[::2], terms[1::2], strict=True)
        return self.kept.count([(name, info.columns.encode_one(name, value)) for name, value in pairs])

    def _begins(self, name: str, columns: Columns, beginning: str) -> bool:
        info = self.definition
        assert info is not None
        value = info.columns.value(name, columns[self._names.index(name)])
        return isinstance(value, str) and value.startswith(beginning)

    def has(self, column: str, value: Plain) -> bool:
        """Whether a row has this value."""
        return self.kept.has(column, value)

    def values(self, column: str) -> list[Plain]:
        """The different values of a column."""
        return self.kept.values(column)

    def failures(self) -> list[tuple[int, str]]:
        """Members whose rows could not be computed, and why."""
        found: dict[int, bytes | None] = {}
        if self.core.store is not None:
            found.update({row.node: row.data for row in self.core.store.derived.members(self.node)})
        found.update(self.news)
        return [(node, data.decode()) for node, data in found.items() if data]

    def looked_up(self, mode: str, terms: tuple[Any, ...]) -> None:
        """Somebody looked rows up, here or in a worker (T1)."""
        pattern = mode, tuple(terms[::2]), len(terms[1]) if mode == STARTING else 0
        if pattern not in self.patterns:
            self.patterns[pattern] = None
            self.dirty = True

    @property
    def digest(self) -> str | None:
        """See `Collection.digest`."""
        return self.sum.to_bytes(FINGERPRINT_BYTES, "big").hex()

    def check_invariants(self) -> None:
        """See `Collection.check_invariants`."""
        super().check_invariants()
        if not (self.rebuild or self.rebuilding or self.missed):
            total = sum(_number(source, row) for source, row in self.kept.select(()))
            assert self.sum == total % _SUMS, f"the digest of {self.name} is not that of its rows"

    # -- keeping -------------------------------------------------------------------------------

    def into(self, batch: Batch) -> None:
        """See `Collection.into`."""
        super().into(batch)
        self.kept.into(batch)
        self.log.into(batch)

    def committed(self) -> None:
        """See `Collection.committed`."""
        self._entered.difference_update(self._ready)
        super().committed()
        self.kept.committed()
        self.log.committed()

    @property
    def has_news(self) -> bool:
        """See `Collection.has_news`."""
        return super().has_news or bool(self.kept.fresh) or self.log.has_news


def _number(source: Plain, row: Columns) -> int:
    return int.from_bytes(fingerprint(canonical((source, *row))), "big")
