"""History: the values and memos that nodes had before, so that one that holds again need not run.

A node whose value becomes different leaves a *version*: from which revision to which it was what. A memo
that is about to be replaced is kept whole as an *earlier memo*: value, code, and its dependencies in order
with what each of them was. What they were follows from the versions, so nothing is written for a node
until something below it changes. See restore for how an earlier memo is taken back.

Invariants
    Y1  An earlier memo says what each of its dependencies was when it held, or there is none.
    Y2  A version ends where the value was replaced. Between versions nothing is known (no guess is made).
    Y3  Of a node the newest `per_key` memos are kept; without a store at most `MOST_HELD` in all.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from engine.earlier import Earlier, from_row, held, units
from engine.earlier_rows import gives_rows, pack_rows, unpack_rows
from engine.graph import (
    ERROR,
    FORCED,
    GROUP,
    INPUT,
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
from engine.store import Batch, EarlierRow, VersionRow
from engine.store.codec import fingerprint

if TYPE_CHECKING:
    from engine.core import Core
    from engine.query import QueryInfo
    from engine.restore import Trial

HISTORY: Final = 4  # earlier memos of a key, with a store: three branches beside the one that is checked out
MOST_VERSIONS: Final = 16  # of a node; who read an older one runs again
MOST_HELD: Final = 20_000  # earlier memos without a store
AT_ONCE: Final = 256  # suspects whose earlier memos are read in one go
MOST_LOADED: Final = 20_000  # nodes whose histories stay in memory after a commit
KEPT_FLAGS: Final = ERROR | UNSTORED


@define(eq=False, repr=False)
class History:
    """What is known of the past of one engine's nodes. All of it may be forgotten at any time (Y2)."""

    per_key: int
    trials: dict[int, Trial] = field(factory=dict)  # earlier memos that are being tried, see restore
    _versions: dict[int, list[VersionRow]] = field(factory=dict)  # all of a node
    _new_versions: dict[int, tuple[VersionRow, ...]] = field(factory=dict)
    _memos: dict[int, list[Earlier]] = field(factory=dict)  # all there are, oldest first
    _new_memos: dict[int, tuple[EarlierRow, ...]] = field(factory=dict)  # with a store: for the next commit
    _read: list[Earlier] = field(factory=list)  # the last that were read, with values that the store has
    _written: list[Earlier] = field(factory=list)  # likewise, with values that it has after the next commit
    _gone: dict[int, None] = field(factory=dict)
    _last: tuple[int, int, bytes] = (0, 0, b"")  # what a node was in a revision: most ask for the same
    _again: dict[int, tuple[int, bool]] = field(factory=dict)  # changed_at, and whether it was that before

    # -- noting --------------------------------------------------------------------------------

    def replaced(self, core: Core, node: int) -> None:
        """The value of `node` is about to become different: note until when it was what it is."""
        graph = core.graph
        above = graph.above(node) if graph.readers[node] is not None else ()
        if above and all(map(core.collections.__contains__, above)):
            return  # nobody would ask: collections have no earlier memos. Of no readers one may come back
        was = seen_now(core, node)
        if was:
            version = VersionRow(node, graph.changed_at[node], core.revision, was)
            self._new_versions[node] = (*self._new_versions.get(node, ()), version)[-MOST_VERSIONS:]
            known = self._versions.get(node)
            if known is not None:
                known.append(version)
                del known[:-MOST_VERSIONS]

    def remember(self, core: Core, node: int, info: QueryInfo, *, tried: bool = False) -> Earlier | None:
        """Keep the memo of a node beyond its replacement. None: it cannot be kept, or is kept already.

        Nor is that of a forced node: it was forgotten, or the code that made it is not the code of now.

        tried    the earlier ones are about to be tried: they are read, and the present one is told
        """
        graph = core.graph
        flags = graph.flags[node]
        if flags & RECORDED and not tried:
            return None
        row = self._row_of(core, node, info)
        if row is None:
            return None
        # Most memos are replaced for good: what is stored of the node is not read for that.
        known = self._memos.get(node) if core.saves and not tried else self.of(core, node)
        graph.flags[node] |= REMEMBERED | RECORDED
        made = None
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
            if len(self._memos) > MOST_HELD:
                del self._memos[next(iter(self._memos))]
        if not flags & REMEMBERED:
            save(core, node, KEEP)
        return made

    def present(self, core: Core, node: int, info: QueryInfo) -> Earlier | None:
        """The memo that a node has, as one of its earlier ones; None: it could not be kept. Keeps nothing."""
        row = self._row_of(core, node, info)
        made = from_row(row) if row is not None else None
        return made and next((one for one in self.of(core, node) if one.same(made)), made)

    def _row_of(self, core: Core, node: int, info: QueryInfo) -> EarlierRow | None:
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
        if gives_rows(core, node):
            rows = pack_rows(core, node)
            if not rows:
                return None
        below = graph.below(node)
        return EarlierRow(
            node,
            flags & KEPT_FLAGS,
            graph.cost[node],
            core.codes[graph.query[node]],
            graph.fingerprint[node],
            below.tobytes() if isinstance(below, array) else array("I", below).tobytes(),
            seen,
            rows,
            core.dirty.get(node) if core.saves else None,
            bool(flags & UNSTORED),
        )

    def forget(self, core: Core, nodes: Iterable[int]) -> None:
        """What these nodes were before is not to be trusted."""
        for node in nodes:
            self._memos[node] = []
            self._new_memos.pop(node, None)
            self._gone[node] = None
            core.graph.flags[node] &= ~RECORDED
        core.dirty_state |= bool(self._gone)

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
        return any(known is one for known in self.of(core, node))

    def _load_memos(self, core: Core, node: int) -> None:
        """Bring the earlier memos of a node into memory, and of other suspects: they will be wanted next."""
        flags = core.graph.flags
        if not flags[node] & REMEMBERED:
            self._memos[node] = []
            return
        others = islice(core.graph.suspects, AT_ONCE)
        nodes = [one for one in {node: None, **dict.fromkeys(others)} if one not in self._memos]
        held = [one for one in nodes if flags[one] & REMEMBERED]
        stored = core.store.earlier(held) if core.store is not None and held else {}
        _let_go(self._read)
        for one in held:
            read = list(map(from_row, stored.get(one, ())[-self.per_key :]))
            new = list(map(from_row, self._new_memos.get(one, ())))
            self._memos[one] = [*read, *new][-self.per_key :]
            self._read += read
            self._written += new
        self._memos.setdefault(node, [])

    def was_before(self, core: Core, node: int) -> bool:
        """Whether a node was ever what it is now. Else nothing that read it can be what it was, either.

        A memo that holds again read the same as the present one up to what changed first, and then that.
        So the usual edit, to something new, costs its readers a look into a dict each.
        """
        when = core.graph.changed_at[node]
        known = self._again.get(node)
        if known is None or known[0] != when:
            self.load_versions(core, (node,))
            now = seen_now(core, node)
            known = self._again[node] = when, any(version.was == now for version in self._versions[node])
        return known[1]

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
        grouped = max(dependencies, default=0) >= GROUP
        reads = entries(dependencies) if grouped else dependencies
        seen = self._seen(core, reads, graph.verified_at[node])
        if b"" in seen:
            load(core, reads)  # most often they are in memory: that is not asked of each
            seen = self._seen(core, reads, graph.verified_at[node])
            if b"" in seen:
                return None
        if not grouped:
            return b"".join(seen)
        each = iter(seen)
        units_seen = (list(islice(each, len(unit))) for unit in units(dependencies))
        return b"".join([one[0] if len(one) == 1 else fingerprint(b"".join(one)) for one in units_seen])

    def _seen(self, core: Core, reads: Sequence[int], when: int) -> list[bytes]:
        """What each of these was in a revision; b"" where that is not known, or it is not in memory."""
        changed_at, flags, digests = core.graph.changed_at, core.graph.flags, core.graph.fingerprint
        seen: list[bytes] = []
        moved: list[int] = []
        for read in reads:
            if changed_at[read] > when:
                if self._last[0] != read or self._last[1] != when:
                    moved.append(len(seen))
                seen.append(self._last[2])
            elif flags[read] & (ERROR | TRANSIENT):
                seen.append(seen_now(core, read))
            else:
                seen.append(digests[read])
        if moved:
            self.load_versions(core, [reads[at] for at in moved])
        for at in moved:
            known = reversed(self._versions[reads[at]])
            seen[at] = next((one.was for one in known if one.since <= when < one.until), b"")
            self._last = reads[at], when, seen[at]
        return seen

    def load_versions(self, core: Core, nodes: Sequence[int]) -> None:
        """Read what these nodes were before, if that is not in memory."""
        missing = [node for node in nodes if node not in self._versions]
        if not missing:
            return
        stored = core.store.versions(missing) if core.store is not None else {}
        for node in missing:
            self._versions[node] = [*stored.get(node, ()), *self._new_versions.get(node, ())]

    # -- saving --------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether a commit has something to write."""
        return bool(self._new_memos or self._new_versions or self._gone)

    def into(self, batch: Batch) -> None:
        """Put what is new into a batch."""
        batch.earlier_kept = self.per_key + 1  # one may still be tried while a long build commits
        batch.earlier_gone.extend(self._gone)
        batch.versions.extend(chain.from_iterable(self._new_versions.values()))
        batch.earlier.extend(chain.from_iterable(self._new_memos.values()))

    def committed(self) -> None:
        """The batch was written."""
        _let_go(self._written)
        _let_go(self._read)  # who restores one reads its value again
        self._new_memos.clear()
        self._new_versions.clear()
        self._gone.clear()
        if len(self._memos) + len(self._versions) > MOST_LOADED:
            self._memos.clear()
            self._versions.clear()
        self._again.clear()

    def clear(self) -> None:
        """Forget what is in memory: the lists are built anew."""
        emptied: list[dict[int, Any]] = [self.trials, self._versions, self._memos, self._gone, self._again]
        for one in (*emptied, self._new_versions, self._new_memos):
            one.clear()
        _let_go(self._read)
        _let_go(self._written)
        self._last = 0, 0, b""


def forget(core: Core, nodes: Sequence[int]) -> None:
    """What these nodes were before is not to be trusted, by engines that keep a history later either."""
    if core.history is not None:
        core.history.forget(core, nodes)
    elif core.saves:
        core.earlier_gone.update(dict.fromkeys(nodes))
        core.dirty_state = True


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


def seen_now(core: Core, node: int) -> bytes:
    """The fingerprint of what a reader sees: of a value, or of a failure. Empty: it is not known."""
    graph = core.graph
    flags = graph.flags[node]
    digest = graph.fingerprint[node]
    if flags & TRANSIENT or not digest:
        return b""
    return fingerprint(b"failure" + digest) if flags & ERROR else digest
