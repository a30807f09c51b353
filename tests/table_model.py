"""Table model: a textbook red-green engine with tables, to say which keys must run. No marks, no bits.

What the documentation says and nothing else: before a key is asked for, all tables that its last memo rested
on are settled, those below them first; that runs what must run for their source keys and their members. A row
that comes or goes forces the lookups that it matches. Everything else is as in `tests.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.expressions import Outcome, outcome_of, value_of
from tests.table_programs import (
    INPUTS,
    Definition,
    Node,
    Row,
    answer_of,
    evaluate,
    keys_of,
    matches,
    rows_of,
    told,
)


@dataclass
class Memo:
    outcome: Outcome
    changed_at: int
    verified_at: int
    reads: list[tuple[Node, ...]]  # in order; a group is one entry
    reach: set[int]  # tables that it rests on, directly


@dataclass
class Kept:
    """A table: what its members contribute."""

    reach: set[int]
    members: dict[Any, Outcome | None] = field(default_factory=dict)  # None: not yet known
    failing: Outcome | None = None


@dataclass
class Model:
    program: list[Definition]
    look: Callable[[Node], Outcome]  # an input that nobody has set
    revision: int = 1
    memos: dict[Node, Memo] = field(default_factory=dict)
    tables: dict[int, Kept] = field(default_factory=dict)
    forced: set[Node] = field(default_factory=set)
    executed: list[Node] = field(default_factory=list)
    handed: set[Node] = field(default_factory=set)  # whose value somebody needed
    roots: set[Node] = field(default_factory=set)

    # -- changes -------------------------------------------------------------------------------

    def change(self, inputs: dict[Node, Outcome]) -> None:
        """One batch: a new revision if anything differs."""
        for node in inputs:
            self.ensure(node)
        different = {node for node, outcome in inputs.items() if self.memos[node].outcome != outcome}
        if different:
            self.revision += 1
        for node in different:
            self.memos[node] = Memo(inputs[node], self.revision, self.revision, [], set())

    def force(self, nodes: Iterable[Node]) -> None:
        """They run at the next demand, whatever their dependencies say."""
        self.revision += 1
        self._force(nodes)

    def _force(self, nodes: Iterable[Node]) -> None:
        self.forced.update(node for node in nodes if node in self.memos)

    def collect(self) -> None:
        """Forget what no key needs that was asked for from outside, and no input of the host is."""
        kept: set[Node] = set()
        waiting = [node for node in self.memos if node in self.roots]
        while waiting:
            node = waiting.pop()
            if node in kept:
                continue
            kept.add(node)
            if node[0] == "table":
                waiting += [("t", node[1], key) for key in self.tables[node[1]].members]
                waiting += self._feeders(node[1])
            elif node in self.memos:
                waiting += [read for group in self.memos[node].reads for read in group]
        self.memos = {node: memo for node, memo in self.memos.items() if node in kept or node[0] in INPUTS}
        self.tables = {d: table for d, table in self.tables.items() if ("table", d) in kept}
        self.forced &= self.memos.keys()

    def _feeders(self, d: int) -> list[Node]:
        source = self.program[d][1]
        return [("keys", d) if source[0] == "keys" else ("table", source[1])]

    # -- answers -------------------------------------------------------------------------------

    def get(self, node: Node) -> Outcome:
        """Bring a key up to date, noting in `executed` what ran."""
        self.roots.add(node)
        self.handed.add(node)
        self.below(self.memos[node].reach if node in self.memos else ())
        return self.ensure(node).outcome

    def fetch(self, node: Node) -> Memo:
        """What a running key gets."""
        self.below(self.memos[node].reach if node in self.memos else ())
        self.handed.add(node)
        return self.ensure(node)

    def ensure(self, node: Node) -> Memo:
        memo = self.memos.get(node)
        if node[0] in INPUTS:
            if memo is None:
                memo = self.memos[node] = Memo(self.look(node), self.revision, self.revision, [], set())
        elif memo is None or node in self.forced or self._may_differ(memo):
            memo = self._execute(node, memo)
        memo.verified_at = self.revision
        return memo

    def _may_differ(self, memo: Memo) -> bool:
        if memo.verified_at == self.revision:
            return False
        for group in memo.reads:
            for d in [read[1] for read in group if read[0] == "table"]:
                outcome_of(partial(self.settle, d))
            stamps = [self.ensure(read).changed_at for read in group if read[0] != "table"]
            if any(stamp > memo.verified_at for stamp in stamps):
                return True
        return False

    def _execute(self, node: Node, old: Memo | None) -> Memo:
        self.executed.append(node)
        self.forced.discard(node)
        frame = Frame(self)
        outcome = outcome_of(lambda: self._run(node, frame))
        equal = old is not None and old.outcome == outcome
        stamp = old.changed_at if old is not None and equal else self.revision
        reach = {d for group in frame.reads for read in group for d in self.reach_of(read)}
        memo = self.memos[node] = Memo(outcome, stamp, self.revision, frame.reads, reach)
        if old is not None:
            self._raise_reach(node, reach - old.reach)
        if node[0] == "t" and node[2] in self.tables.get(node[1], Kept(set())).members:
            self._take(node[1], node[2], memo)
        return memo

    def _run(self, node: Node, frame: Frame) -> Any:
        definition = self.program[node[1]]
        match node:
            case "q", _, n:
                return evaluate(definition[1], n, frame)
            case "keys", _:
                return keys_of(definition, frame)
            case "t", _, key:
                return rows_of(definition, key, frame)
        _, d, mode, terms = node
        frame.reads.append((("table", d),))
        self.below(self.reach_of(("table", d)))
        self.settle(d)
        members = self.tables[d].members
        if mode == "of":
            (key,) = terms
            if key not in members:
                return ()
            frame.reads.append((("t", d, key),))
            self.handed.add(("t", d, key))
            return tuple(sorted(set(value_of(self.memos["t", d, key].outcome))))
        if mode == "failures":
            return tuple(sorted((repr(key), why) for key, o in members.items() if (why := failure_of(o))))
        rows = [row for key in sorted(members) for row in sorted(rows_in(members[key]))]
        return answer_of(mode, terms, rows)

    def reach_of(self, node: Node) -> set[int]:
        if node[0] == "table":
            return self.tables[node[1]].reach if node[1] in self.tables else {node[1]}
        memo = self.memos.get(node)
        return memo.reach if memo is not None else set()

    def _raise_reach(self, node: Node, more: set[int]) -> None:
        """What rests on a node rests on more tables."""
        if not more:
            return
        for reader, memo in self.memos.items():
            if not more <= memo.reach and any(node in group for group in memo.reads):
                memo.reach |= more
                self._raise_reach(reader, more)
                if reader[0] == "t" and reader[2] in self.tables.get(reader[1], Kept(set())).members:
                    self.tables[reader[1]].reach |= more

    # -- tables --------------------------------------------------------------------------------

    def below(self, reach: Iterable[int]) -> None:
        """Settle tables and what they rest on."""
        done: set[int] = set()
        while more := self._closure(reach) - done:
            for d in sorted(more):
                outcome_of(partial(self.settle, d))
            done |= more

    def _closure(self, reach: Iterable[int]) -> set[int]:
        found: set[int] = set()
        waiting = list(reach)
        while waiting:
            d = waiting.pop()
            if d not in found and d in self.tables:
                found.add(d)
                waiting += self.tables[d].reach
        return found

    def settle(self, d: int) -> None:
        table = self.tables.setdefault(d, Kept({d}))
        try:
            keys = self._keys(d, table)
        except ValueError as error:
            self._set_failing(d, table, ("error", *error.args))
            raise
        for key in [key for key in table.members if key not in keys]:
            self._changed(d, rows_in(table.members[key]))
            if failure_of(table.members.pop(key)):
                self._force([("look", d, "failures", ())])
            self._force([("look", d, "of", (key,))])
        for key in keys:
            if key not in table.members:
                table.members[key] = None
                self._force([("look", d, "of", (key,))])
        for key in keys:
            self.below(self.reach_of(("t", d, key)))
        for key in keys:
            memo = self.ensure(("t", d, key))
            if table.members[key] is None:
                self.handed.add(("t", d, key))
                self._take(d, key, memo)
            table.reach |= memo.reach
        self._set_failing(d, table, None)

    def _keys(self, d: int, table: Kept) -> list[Any]:
        source = self.program[d][1]
        if source[0] == "keys":
            memo = self.fetch(("keys", d))
            table.reach |= memo.reach
            return list(dict.fromkeys(value_of(memo.outcome)))
        self.below(self.reach_of(("table", source[1])))
        try:
            self.settle(source[1])
        finally:
            table.reach |= self.tables[source[1]].reach
        members = self.tables[source[1]].members
        return list(
            dict.fromkeys(getattr(row, source[2]) for one in members.values() for row in rows_in(one))
        )

    def _set_failing(self, d: int, table: Kept, failing: Outcome | None) -> None:
        if table.failing != failing:
            table.failing = failing
            self._force([node for node in self.memos if node[:2] == ("look", d)])

    def _take(self, d: int, key: Any, memo: Memo) -> None:
        table = self.tables[d]
        before, after = table.members[key], memo.outcome
        table.members[key] = after
        table.reach |= memo.reach
        self._changed(d, rows_in(before) ^ rows_in(after))
        if failure_of(before) != failure_of(after):
            self._force([("look", d, "failures", ())])

    def _changed(self, d: int, rows: set[Row]) -> None:
        self._force(
            node
            for node in self.memos
            if node[:2] == ("look", d)
            and node[2] not in ("of", "failures")
            and any(concerns(node[2], node[3], row) for row in rows)
        )


class Frame:
    """What a running key reads, in order."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.reads: list[tuple[Node, ...]] = []

    def read(self, node: Node) -> Any:
        return self.group([node])[0]

    def group(self, nodes: Sequence[Node]) -> list[Any]:
        self.reads.append(tuple(nodes))
        self.model.below({d for node in nodes for d in self.model.reach_of(node)})
        return [value_of(outcome) for outcome in [self.model.fetch(node).outcome for node in nodes]]


def rows_in(outcome: Outcome | None) -> set[Row]:
    return set(outcome[1]) if outcome is not None and outcome[0] == "value" else set()


def failure_of(outcome: Outcome | None) -> str:
    return told(ValueError(*outcome[2])) if outcome is not None and outcome[0] == "error" else ""


def concerns(mode: str, terms: Sequence[Any], row: Row) -> bool:
    """Whether a row that comes or goes may change what a lookup says."""
    named = dict(zip(terms[::2], terms[1::2], strict=True))
    if mode == "starting":
        return all(getattr(row, name).startswith(value) for name, value in named.items())
    return matches(row, named)
