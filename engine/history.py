"""History: the values and memos that nodes had before, so that one that holds again need not run.

A node whose value becomes different leaves a *version*: from which revision to which it was what (versions).
A memo that is about to be replaced is kept whole as an *earlier memo*: value, code, and its dependencies in
order with what each of them was. What they were follows from the versions, so nothing is written for a node
until something below it changes. See restore for how an earlier memo is taken back.

Invariants
    Y1  An earlier memo says what each of its dependencies was when it held, or there is none.
    Y2  Of a node the newest `per_key` memos are kept; without a store those of at most `MOST_HELD` nodes.
    Y3  What was read from a store goes when it is more than `MOST_LOADED`, and is read again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from engine.earlier import Earlier, from_row, held, units
from engine.earlier_rows import gives_rows, has_rows, pack_rows, unpack_rows
from engine.graph import (
    ERROR,
    FORCED,
    INPUT,
    MARKED,
    PINNED,
    REACH,
    RECORDED,
    REMEMBERED,
    TRANSIENT,
    UNSTORED,
    UNTRACKED,
    entries,
)
from engine.persist import KEEP, load, save
from engine.store import Batch, EarlierRow
from engine.store.codec import FINGERPRINT_BYTES, fingerprint
from engine.versions import ENTRY_BYTES, Versions

if TYPE_CHECKING:
    from engine.core import Core
    from engine.query import QueryInfo
    from engine.restore import Trial

HISTORY: Final = 4  # earlier memos of a key, with a store: three branches beside the one that is checked out
MOST_HELD: Final = 20_000  # nodes whose earlier memos are kept without a store
LET_GO: Final = 1_000  # of them, where there are more
NEIGHBOURS: Final = 256  # ids whose memos lie together, see `store.parts`
MOST_LOADED: Final = 8 << 20  # bytes of earlier memos that stay in memory, values aside
MEMO_BYTES: Final = 400  # of one, as measured, beside what it says of each dependency
KEPT_FLAGS: Final = ERROR | UNSTORED


@define(eq=False, repr=False)
class History:
    """What is known of the past of one engine's nodes. All of it may be forgotten at any time."""

    per_key: int
    trials: dict[int, Trial] = field(factory=dict)  # earlier memos that are being tried, see restore
    versions: Versions = field(factory=Versions)
    _memos: dict[int, list[Earlier]] = field(factory=dict)  # all there are, oldest first
    _new_memos: dict[int, tuple[EarlierRow, ...]] = field(factory=dict)  # with a store: for the next commit
    _read: list[Earlier] = field(factory=list)  # the last that were read, with values that the store has
    _written: list[Earlier] = field(factory=list)  # likewise, with values that it has after the next commit
    _gone: dict[int, None] = field(factory=dict)
    _loaded: int = 0  # bytes of memos that were read

    # -- noting --------------------------------------------------------------------------------

    def remember(self, core: Core, node: int, info: QueryInfo, *, tried: bool = False) -> Earlier | None:
        """Keep the memo of a node beyond its replacement. None: it cannot be kept, or is kept already.

        Nor is that of a forced node: it was forgotten, or the code that made it is not the code of now.

        tried    the earlier ones are about to be tried: they are read, and the present one is told
        """
        graph = core.graph
        flags = graph.flags[node]
        if flags & RECORDED and not tried:
            return None
        if flags & RECORDED:  # most often it is found among them: its rows take longer than all else
            present = self.present(core, node, info)
            for one in self.of(core, node):
                if present is not None and one.same(present):
                    return one
        row = self._row_of(core, node, info)
        if row is None:
            return None
        graph.flags[node] |= REMEMBERED | RECORDED
        made = None
        if not core.saves or tried:
            known: list[Earlier] | None = self.of(core, node)
        elif node in self._gone:  # those that the store still has do not count
            known = self._memos[node]
        else:  # most memos are replaced for good: the others are not read for that, nor compared
            known = None
            self._memos.pop(node, None)
        if known is not None:
            made = from_row(row)
            for one in known:
                if one.same(made):
                    return one
            known.append(made)
            del known[: -self.per_key]
        if core.saves:
            self._new_memos[node] = (*self._new_memos.get(node, ()), row)
            if made is not None:
                self._written.append(made)
        elif made is not None:
            made.held = held(core, node, info)
            if len(self._memos) > MOST_HELD:  # many at once: each look for the first passes all that are gone
                for oldest in list(islice(self._memos, LET_GO)):
                    del self._memos[oldest]
        if not flags & REMEMBERED:
            # See test_a_member_that_left_comes_again_with_its_rows_after_a_restart.
            save(core, node, KEEP)
        return made

    def present(self, core: Core, node: int, info: QueryInfo) -> Earlier | None:
        """The memo that a node has, as one of its earlier ones; None: it could not be kept. Keeps nothing.

        Without its rows: it is compared, and what it read. To read them takes longer than all else.
        """
        row = self._row_of(core, node, info, with_rows=False)
        return from_row(row) if row is not None else None

    def _row_of(self, core: Core, node: int, info: QueryInfo, *, with_rows: bool = True) -> EarlierRow | None:
        graph = core.graph
        flags = graph.flags[node]
        if graph.status[node] & FORCED:
            return None
        if flags & (INPUT | PINNED | TRANSIENT | UNTRACKED) or not is_kept(info):
            return None
        if not graph.fingerprint[node] or flags & KEPT_FLAGS == KEPT_FLAGS:
            return None
        seen = self._seen_by(core, node)
        if seen is None:
            return None
        rows = b""
        if flags & UNSTORED and gives_rows(core, node):
            if not has_rows(core, node):
                return None
            rows = pack_rows(core, node) if with_rows else b""
        below = graph.below(node)
        return EarlierRow(
            node,
            flags & KEPT_FLAGS,
            graph.cost[node],
            core.queries.codes[graph.query[node]],
            graph.fingerprint[node],
            below.tobytes() if isinstance(below, array) else array("I", below).tobytes(),
            seen,
            rows,
            core.unsaved.nodes.get(node) if core.saves else None,
            bool(flags & UNSTORED),
        )

    def forget(self, core: Core, nodes: Iterable[int]) -> None:
        """What these nodes were before is not to be trusted."""
        for node in nodes:
            self._memos[node] = []
            self._new_memos.pop(node, None)
            self._gone[node] = None
            core.graph.flags[node] &= ~RECORDED

    # -- asking --------------------------------------------------------------------------------

    def of(self, core: Core, node: int) -> list[Earlier]:
        """The earlier memos of a node, oldest first: the list itself."""
        known = self._memos.get(node)
        if known is None:
            self._load_memos(core, node)
            known = self._memos[node]
        return known

    def has(self, core: Core, node: int, one: Earlier) -> bool:
        """Whether this is still one of the earlier memos of a node."""
        return any(known is one or known.same(one) for known in self.of(core, node))

    def read_ahead(self, core: Core, nodes: Iterable[int]) -> None:
        """The earlier memos of these nodes are asked for next: bring them into memory at once."""
        self._make_room()
        self._read_memos(core, nodes)

    def _load_memos(self, core: Core, node: int) -> None:
        """Bring the earlier memos of a node into memory, and of its neighbours that may be looked at next.

        They lie in the same rows. Not those of members: they may have many rows, and come by `read_ahead`.
        """
        graph, of_members = core.graph, core.queries.of_members
        flags, status, query = graph.flags, graph.status, graph.query
        if core.store is None or not flags[node] & REMEMBERED:  # then there are none anywhere
            self._memos[node] = []
            self._loaded += ENTRY_BYTES if core.saves else 0
            return
        self._make_room()
        first = node & -NEIGHBOURS
        several = range(first, min(first + NEIGHBOURS, len(flags)))
        marked = [one for one in several if status[one] & MARKED and one not in self._memos]
        load(core, marked)
        others = [one for one in marked if flags[one] & REMEMBERED and query[one] not in of_members]
        self._read_memos(core, {node: None, **dict.fromkeys(others)})

    def _read_memos(self, core: Core, nodes: Iterable[int]) -> None:
        flags = core.graph.flags
        held = [one for one in nodes if one not in self._memos and flags[one] & REMEMBERED]
        stored = core.store.earlier(held) if core.store is not None and held else {}
        _let_go(self._read)
        for one in held:
            read = list(map(from_row, stored.get(one, ())[-self.per_key :]))
            new = list(map(from_row, self._new_memos.get(one, ())))
            self._memos[one] = [*read, *new][-self.per_key :]
            self._read += read
            self._written += new
            if core.saves:  # else they are nowhere else
                sizes = (MEMO_BYTES + 5 * len(row.seen) // 4 + len(row.rows) for row in read)
                self._loaded += ENTRY_BYTES + sum(sizes)

    def rows_of(self, core: Core, node: int) -> tuple[Any, ...] | None:
        """The value of a member whose memo holds again and is stored nowhere; None: it has to be computed."""
        if not gives_rows(core, node):
            return None
        for one in self.of(core, node):
            if one.fingerprint == core.graph.fingerprint[node] and one.rows:
                return unpack_rows(core, node, one.rows)
        return None

    def _seen_by(self, core: Core, node: int) -> bytes | None:
        """What each dependency was when the memo of `node` was last known to hold."""
        graph = core.graph
        dependencies = graph.below(node)
        if graph.flags[node] & REACH and not core.collections.keys().isdisjoint(dependencies):
            return None
        when = graph.verified_at[node]
        try:
            return self._known(core, dependencies, when)
        except KeyError:  # a marker: most read no group, so it is not looked for
            pass
        seen = self._known(core, entries(dependencies), when)
        if seen is None:
            return None
        found, at = [], 0
        for unit in units(dependencies):
            size = FINGERPRINT_BYTES * len(unit)
            one = seen[at : at + size]
            found.append(one if len(unit) == 1 else fingerprint(one))
            at += size
        return b"".join(found)

    def _known(self, core: Core, reads: Sequence[int], when: int) -> bytes | None:
        """What nodes were in a revision, one after the other; None where that is not known of all."""
        size = FINGERPRINT_BYTES * len(reads)
        seen = b"".join(self.versions.seen(core, reads, when))
        if len(seen) < size:
            load(core, reads)  # most often they are in memory: that is not asked of each
            seen = b"".join(self.versions.seen(core, reads, when))
        return seen if len(seen) == size else None

    def _make_room(self) -> None:
        """Before more is read: let go of what is there, if it is too much (Y3)."""
        if self._loaded > MOST_LOADED:
            self._memos = {node: self._memos[node] for node in self._gone}  # the store has those still
            self._loaded = 0

    # -- saving --------------------------------------------------------------------------------

    def into(self, batch: Batch) -> None:
        """Put what is new into a batch."""
        batch.earlier_kept = self.per_key + 1  # one may still be tried while a long build commits
        batch.earlier_gone.extend(self._gone)
        self.versions.into(batch)
        batch.earlier.extend(chain.from_iterable(self._new_memos.values()))

    def committed(self) -> None:
        """The batch was written."""
        _let_go(self._written)
        _let_go(self._read)  # who restores one reads its value again
        self._new_memos.clear()
        self._gone.clear()
        self._make_room()
        self.versions.committed()

    def clear(self) -> None:
        """Forget what is in memory: the lists are built anew."""
        emptied: list[dict[int, Any]] = [self.trials, self._memos, self._new_memos, self._gone]
        for one in emptied:
            one.clear()
        self.versions.clear()
        _let_go(self._read)
        _let_go(self._written)
        self._loaded = 0

    def check_invariants(self) -> None:
        """Raise AssertionError where one does not hold of what is in memory. For tests."""
        for node, several in self._memos.items():
            assert len(several) <= self.per_key, f"history Y2: {len(several)} earlier memos of {node}"
            for one in several:
                size = FINGERPRINT_BYTES * sum(1 for _ in units(one.dependencies))
                assert len(one.seen) == size, f"history Y1: one of {node} does not say what it read"


def forget(core: Core, nodes: Sequence[int]) -> None:
    """What these nodes were before is not to be trusted, by engines that keep a history later either.

    A revision was begun for it, so a commit will come.
    """
    if core.history is not None:
        core.history.forget(core, nodes)
    elif core.saves:
        core.unsaved.earlier_gone.update(dict.fromkeys(nodes))


def _let_go(several: list[Earlier]) -> None:
    """The store has the values of these memos."""
    for one in several:
        one.held = None
    several.clear()


def is_kept(info: QueryInfo) -> bool:
    """Whether earlier memos of a query are kept.

    Not those of inputs, which the world gives; of untracked queries; of `eq=`, whose value depends on the
    one before; nor of what a table or fold is looked into by, whose dependencies do not say its rows.
    """
    if info.is_input or info.untracked or info.eq is not None:
        return False
    return info.collection is None or info is info.collection.member
