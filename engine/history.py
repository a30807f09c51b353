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
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, field

from engine.earlier_rows import gives_rows, pack_rows, unpack_rows
from engine.failure import Failure
from engine.graph import (
    ABSENT,
    ERROR,
    FORCED,
    GROUP,
    INPUT,
    MUTABLE,
    PINNED,
    REMEMBERED,
    TRANSIENT,
    UNSTORED,
    UNTRACKED,
)
from engine.persist import KEEP, load, save
from engine.store import Batch, EarlierRow, VersionRow
from engine.store.codec import fingerprint

if TYPE_CHECKING:
    from engine.core import Core
    from engine.query import QueryInfo
    from engine.restore import Trial

HISTORY: Final = 4  # earlier memos of a key, with a store: three branches beside the one that is checked out
FEW: Final = 100  # dependencies: more are mostly groups, where this saves nothing
MOST_VERSIONS: Final = 16  # of a node; who read an older one runs again
MOST_HELD: Final = 20_000  # earlier memos without a store
AT_ONCE: Final = 64  # suspects whose earlier memos are read in one go
MOST_LOADED: Final = 20_000  # nodes whose histories stay in memory after a commit
KEPT_FLAGS: Final = ERROR | UNSTORED


@define(eq=False, repr=False)
class Earlier:
    """A memo that a node had before."""

    node: int
    flags: int
    cost: int
    code: bytes
    fingerprint: bytes
    dependencies: array[int]
    seen: bytes
    rows: bytes = b""  # of a member of a table, see earlier_rows
    held: bytes | Failure | None = None  # what the store does not have

    def same(self, other: Earlier) -> bool:
        """Whether one of them says all that the other does."""
        return (
            self.seen == other.seen
            and self.fingerprint == other.fingerprint
            and self.code == other.code
            and self.flags == other.flags
            and self.dependencies == other.dependencies
        )


@define(eq=False, repr=False)
class History:
    """What is known of the past of one engine's nodes. All of it may be forgotten at any time (Y2)."""

    per_key: int
    trials: dict[int, Trial] = field(factory=dict)  # earlier memos that are being tried, see restore
    _versions: dict[int, list[VersionRow]] = field(factory=dict)  # all of a node
    _new_versions: dict[int, list[VersionRow]] = field(factory=dict)
    _memos: dict[int, list[Earlier]] = field(factory=dict)  # all there are, oldest first
    _new_memos: list[Earlier] = field(factory=list)
    _gone: dict[int, None] = field(factory=dict)
    _again: dict[int, tuple[int, bool]] = field(factory=dict)  # changed_at, and whether it was that before

    # -- noting --------------------------------------------------------------------------------

    def replaced(self, core: Core, node: int) -> None:
        """The value of `node` is about to become different: note until when it was what it is."""
        was = seen_now(core, node)
        if was:
            version = VersionRow(node, core.graph.changed_at[node], core.revision, was)
            for known in (self._new_versions.setdefault(node, []), self._versions.get(node)):
                if known is not None:
                    known.append(version)
                    del known[:-MOST_VERSIONS]

    def remember(self, core: Core, node: int, info: QueryInfo) -> Earlier | None:
        """Keep the memo of a node beyond its replacement. None: it cannot be kept.

        Nor is that of a forced node: it was forgotten, or the code that made it is not the code of now.
        """
        graph = core.graph
        flags = graph.flags[node]
        if graph.status[node] & FORCED:
            return None
        if flags & (INPUT | PINNED | TRANSIENT | UNTRACKED) or not is_kept(info):
            return None
        if not graph.fingerprint[node] or flags & KEPT_FLAGS == KEPT_FLAGS:
            return None
        dependencies = array("I", graph.below(node))
        seen = self._seen_by(core, node, dependencies)
        if seen is None:
            return None
        made = Earlier(
            node=node,
            flags=flags & KEPT_FLAGS,
            cost=graph.cost[node],
            code=core.codes[graph.query[node]],
            fingerprint=graph.fingerprint[node],
            dependencies=dependencies,
            seen=seen,
        )
        if gives_rows(core, node):
            made.rows = pack_rows(core, node)
            if not made.rows:
                return None
        known = self.of(core, node)
        for one in known:
            if one.same(made):
                return one
        if core.saves:
            made.held = core.dirty.get(node)
            self._new_memos.append(made)
        else:
            made.held = _held(core, node, info)
            if len(self._memos) > MOST_HELD:
                del self._memos[next(iter(self._memos))]
        known.append(made)
        del known[: -self.per_key]
        if not flags & REMEMBERED:
            graph.flags[node] |= REMEMBERED
            save(core, node, KEEP)
        return made

    def forget(self, core: Core, nodes: Iterable[int]) -> None:
        """What these nodes were before is not to be trusted."""
        for node in nodes:
            self._memos[node] = []
            self._gone[node] = None
        self._new_memos = [one for one in self._new_memos if one.node not in self._gone]
        core.dirty_state |= bool(self._gone)

    # -- asking --------------------------------------------------------------------------------

    def of(self, core: Core, node: int) -> list[Earlier]:
        """The earlier memos of a node, oldest first: the list itself."""
        known = self._memos.get(node)
        if known is None:
            self._load_memos(core, node)
            known = self._memos[node]
        return known

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
        self._memos.update({one: [] for one in held})
        self._memos.setdefault(node, [])
        for one, found in stored.items():
            self._memos[one] = [_from_row(row) for row in found[-self.per_key :]]

    def was_before(self, core: Core, node: int) -> bool:
        """Whether a node was ever what it is now. Else nothing that read it can be what it was, either.

        A memo that holds again read the same as the present one up to what changed first, and then that.
        So the usual edit, to something new, costs its readers a look into a dict each.
        """
        when = core.graph.changed_at[node]
        known = self._again.get(node)
        if known is None or known[0] != when:
            self._load_versions(core, (node,))
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

    def _seen_by(self, core: Core, node: int, dependencies: array[int]) -> bytes | None:
        """What each dependency was when the memo of `node` was last known to hold."""
        graph = core.graph
        load(core, dependencies)
        when = graph.verified_at[node]
        changed_at = graph.changed_at
        moved = [one for one in dependencies if not one & GROUP and changed_at[one] > when]
        self._load_versions(core, moved)
        then: dict[int, bytes] = {}
        for one in moved:
            for version in self._versions[one]:
                if version.since <= when < version.until:
                    then[one] = version.was
        if not core.collections.keys().isdisjoint(dependencies):
            return None
        if len(dependencies) < FEW and max(dependencies, default=0) < GROUP:
            alone = [
                then.get(one, b"") if changed_at[one] > when else seen_now(core, one) for one in dependencies
            ]
            return b"".join(alone) if all(alone) else None
        parts = []
        for unit in units(dependencies):
            found = [then.get(one, b"") if changed_at[one] > when else seen_now(core, one) for one in unit]
            if not all(found):
                return None
            parts.append(found[0] if len(found) == 1 else fingerprint(b"".join(found)))
        return b"".join(parts)

    def _load_versions(self, core: Core, nodes: Sequence[int]) -> None:
        missing = [node for node in nodes if node not in self._versions]
        stored = core.store.versions(missing) if core.store is not None and missing else {}
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
        for versions in self._new_versions.values():
            batch.versions.extend(versions)
        batch.earlier.extend(map(_row_of, self._new_memos))

    def committed(self) -> None:
        """The batch was written."""
        for one in self._new_memos:
            one.held = None
        self._new_memos.clear()
        self._new_versions.clear()
        self._gone.clear()
        if len(self._memos) + len(self._versions) > MOST_LOADED:
            self._memos.clear()
            self._versions.clear()
        self._again.clear()

    def clear(self) -> None:
        """Forget what is in memory: the lists are built anew."""
        for held in (self.trials, self._versions, self._new_versions, self._memos, self._gone, self._again):
            held.clear()
        self._new_memos.clear()


def forget(core: Core, nodes: Sequence[int]) -> None:
    """What these nodes were before is not to be trusted, by engines that keep a history later either."""
    if core.history is not None:
        core.history.forget(core, nodes)
    elif core.saves:
        core.earlier_gone.update(dict.fromkeys(nodes))
        core.dirty_state = True


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


def units(dependencies: Sequence[int]) -> Iterator[Sequence[int]]:
    """What was asked for at once: one dependency, or all those of a group."""
    position = 0
    while position < len(dependencies):
        entry = dependencies[position]
        size = entry & ~GROUP if entry & GROUP else 1
        position += bool(entry & GROUP)
        yield dependencies[position : position + size]
        position += size


def _held(core: Core, node: int, info: QueryInfo) -> bytes | Failure | None:
    """The value of a node where nothing is saved; None: it is not in memory."""
    held = core.graph.values[node]
    if held is ABSENT or core.graph.flags[node] & UNSTORED:
        return None
    if isinstance(held, Failure):
        return held
    return cast(bytes, held) if core.graph.flags[node] & MUTABLE else info.codec.encode(held)


def _row_of(one: Earlier) -> EarlierRow:
    return EarlierRow(
        node=one.node,
        flags=one.flags,
        cost=one.cost,
        code=one.code,
        fingerprint=one.fingerprint,
        dependencies=one.dependencies.tobytes(),
        seen=one.seen,
        rows=one.rows,
        value=one.held if isinstance(one.held, bytes) else None,
        valueless=bool(one.flags & UNSTORED),
    )


def _from_row(row: EarlierRow) -> Earlier:
    dependencies = array("I")
    dependencies.frombytes(row.dependencies)
    return Earlier(
        node=row.node,
        flags=row.flags,
        cost=row.cost,
        code=row.code,
        fingerprint=row.fingerprint,
        dependencies=dependencies,
        seen=row.seen,
        rows=row.rows,
    )
