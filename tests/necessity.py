"""Necessity: whether everything that was executed had to be, for any rules, from the engine's own lists.

A key had to run if it is new; if something that it read has another value than when it was last verified; if
it is a lookup and a row that it asks for came or went since then; if it is a member that came again; or if
its value is not kept and somebody who ran read it. Anything else is work in vain.

Invariants
    N1  Nothing is known here of the rules.
    N2  No key is executed twice in one revision, unless its value is not kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import Any

from engine import Engine, Event, What
from engine.graph import UNSTORED, entries
from engine.key import Key
from engine.locate import find
from engine.request import load_all
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import FAILURES, OF, STARTING, LookupInfo, matches
from engine.tables.table import CollectionInfo

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)
Rows = frozenset[tuple[Any, tuple[Any, ...]]]  # source and columns
History = dict[str, list[tuple[int, tuple[Any, ...]]]]  # table: revision, and columns or source key


class Necessity:
    """Looks at one engine, from now on. Tell it of the end of every step with `check`."""

    def __init__(self, db: Engine, earlier: Necessity | None = None) -> None:
        """`earlier`: who looked at the store before a restart."""
        self.core = db._core
        self.ran: list[Key[Any]] = []
        self._changed: History = defaultdict(list) if earlier is None else earlier._changed
        self._came: History = defaultdict(list) if earlier is None else earlier._came  # or went
        db.listen(self._hear)
        self._remember()

    def _hear(self, event: Event) -> None:
        if event.what in RAN and event.key is not None:
            self.ran.append(event.key)

    def check(self) -> list[str]:
        """The keys that ran since the last check, as display names; fails for what need not have run."""
        self._compare_rows()
        ran, self.ran = self.ran, []
        nodes = {key: self._node(key) for key in ran}
        graph = self.core.graph
        read = {entry for node in nodes.values() for entry in entries(graph.below(node))}
        vain = [str(key) for key, node in nodes.items() if not self._had_to(key, node, read)]
        assert not vain, f"executed in vain: {vain[:8]} of {len(ran)} that ran"
        count = Counter(ran)
        twice = [str(key) for key in count if count[key] > 1 and not graph.flags[nodes[key]] & UNSTORED]
        assert not twice, f"executed twice: {twice[:8]}"
        self._remember()
        return sorted(map(str, ran))

    # -- what is known of the time before ------------------------------------------------------

    def _remember(self) -> None:
        core = self.core
        with core.lock:
            load_all(core)
            graph = core.graph
            self._verified_at = list(graph.verified_at)
            self._dependencies = [tuple(graph.below(node)) for node in range(len(graph))]
            self._rows = {one.name: self._rows_of(one) for one in self._tables()}
            self._members = {one.name: frozenset(one.load_members()) for one in self._tables()}

    def _tables(self) -> list[KeptTable]:
        return [one for one in self.core.collections.values() if isinstance(one, KeptTable)]

    def _rows_of(self, one: KeptTable) -> Rows:
        return frozenset(one.kept.select(()))

    def _compare_rows(self) -> None:
        with self.core.lock:
            revision = self.core.revision
            for one in self._tables():
                before, after = self._rows.get(one.name, frozenset()), self._rows_of(one)
                self._changed[one.name] += [(revision, row) for _, row in before ^ after]
                others = self._members.get(one.name, frozenset()) ^ one.load_members()
                self._came[one.name] += [(revision, self.core.args_of(node)) for node in others]

    # -- what had to run -----------------------------------------------------------------------

    def _node(self, key: Key[Any]) -> int:
        with self.core.lock:
            node = find(self.core, key.query, key.args)
        assert node, f"{key} ran and is not there"
        return node

    def _had_to(self, key: Key[Any], node: int, read: set[int]) -> bool:
        before = self._verified_at[node] if node < len(self._verified_at) else 0
        if not before:
            return True
        graph = self.core.graph
        for entry in entries(self._dependencies[node]):
            if graph.changed_at[entry] > before and entry not in self.core.collections:
                return True
        if graph.flags[node] & UNSTORED and node in read:
            return True
        if isinstance(key.query, LookupInfo):
            return self._is_concerned(key.query, key.args, before)
        part_of: CollectionInfo | None = key.query.collection
        if part_of is not None and key.query is part_of.settle:
            return True  # looks at its members, and is no work by itself
        for one in self._tables():
            if one.member_query == key.query.name and self._came_again(one.name, key.args, before):
                return True  # its rows were dropped when it went
        return False

    def _is_concerned(self, lookup: LookupInfo, args: tuple[Any, ...], before: int) -> bool:
        table: CollectionInfo = lookup.of
        if lookup.mode in (OF, FAILURES):
            return lookup.mode == FAILURES or self._came_again(table.name, args, before)
        fits = matches(table, args, lookup.mode == STARTING)
        return any(fits(row) for row in _since(self._changed[table.name], before))

    def _came_again(self, table: str, args: tuple[Any, ...], before: int) -> bool:
        return args in _since(self._came[table], before)


def _since(history: list[tuple[int, tuple[Any, ...]]], revision: int) -> list[tuple[Any, ...]]:
    return [what for _, what in history[bisect_right(history, revision, key=lambda one: one[0]) :]]
