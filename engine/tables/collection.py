"""Collection: what one engine keeps of one table or fold, beside the node that stands for it.

Invariants
    C1  The members of a collection are the nodes whose readers begin with its node. It does not list them
        among its dependencies: one member more must not rewrite the others.
    C2  A collection has no readers in the graph (`NOBODY`): marks stop at it. Whoever rests on it has its
        bit in `reach`, and waits until it is settled (see collect).
    C3  What is kept belongs to the memos of the members as they are, always: it changes in the same step.
    C4  While the whole fails no change of a member forces anybody: all lookups have its error, in this
        revision already, and all are forced when it heals. See test_failing_collections.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from engine.graph import FORCED, MARKED, RUNNING
from engine.mark import suspect
from engine.persist import load, readers_of
from engine.query import REGISTRY
from engine.reason import Reason
from engine.store import Batch, CollectionRow, MemberRow
from engine.store.canonical import pack, unpack
from engine.tables.columns import Plain, plain, plain_packed
from engine.tables.lookup import FAILURES, OF

if TYPE_CHECKING:
    from engine.core import Core
    from engine.failure import Failure
    from engine.tables.table import CollectionInfo

Pattern = tuple[str, tuple[str, ...], int]  # mode, columns, how many characters (for beginnings)


class Nobody:
    """The readers of a collection: there are none, and nobody is added. Has the shape of an array."""

    __slots__ = ()

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __reversed__(self) -> Iterator[int]:
        return iter(())

    def append(self, node: int) -> None:
        """Nothing: a lookup does not become a reader of its table."""

    remove = append

    def tobytes(self) -> bytes:
        """No row in the store."""
        return b""


CYCLIC: Final = b"cycle:"  # before the identity of an error in `failing`
NOBODY = cast("array[int]", Nobody())


class Collection:
    """State of one collection in one engine; `kind` says which subclass."""

    def __init__(self, core: Core, node: int, bit: int, name: str, shape: str) -> None:
        self.core = core
        self.node = node
        self.bit = bit
        self.name = name
        self._members = f"{name}.members"
        self.reshape(shape)
        self.info: CollectionInfo | None = None  # once its queries were bound in this process
        self.patterns: dict[Pattern, None] = {}
        self.pending: dict[int, None] = {}  # members that are marked
        self.missed: dict[int, None] = {}  # members whose contribution is not kept yet
        self.key_changes: dict[Plain, None] = {}  # values that came or went in the column that gives the keys
        self.complete = False  # the members are those of the keys of the last settling
        self.looked = False  # somebody may rest on it
        self.failing = b""  # identity of the error that is the value of all lookups
        self.sum = 0  # of the fingerprints of all rows: adding and taking out do not depend on the order
        self.rebuild = True  # nothing that is kept can be used
        self.rebuilding = False
        self.members: set[int] | None = None if core.store is not None else set()
        self.news: dict[int, bytes | None] = {}  # members to write, or that left; see `tell`
        self._ready: dict[int, None] = {}  # those of them that the next commit writes
        self.feeds: dict[str, list[Collection]] = {}  # column -> collections whose keys it gives
        self.dirty = True

    @classmethod
    def restored(cls, core: Core, row: CollectionRow) -> Collection:
        """The collection of a stored row."""
        bit, rebuild, patterns, failing, total = unpack(row.patterns, {})
        found = cls(core, row.id, 1 << bit, row.name, row.shape)
        found.rebuild, found.failing, found.sum = rebuild, failing, total
        # These are told of each member by name. A store may have noted them all the same: see
        # test_a_pattern_of_failures_that_a_store_has_forces_nobody.
        found.patterns = dict.fromkeys(one for one in patterns if one[0] not in (OF, FAILURES))
        found.dirty, found.looked, found.complete = False, True, True
        return found

    def reshape(self, shape: str) -> None:
        """Take over what a definition says of it (see `kinds.shape_of`)."""
        self.shape = shape
        said = json.loads(shape)
        self.member_query = str(said["member"])
        fed_by = said.get("fed")  # table and column that give the keys
        self.fed_by: tuple[str, str] | None = (fed_by[0], fed_by[1]) if fed_by else None

    @property
    def definition(self) -> CollectionInfo | None:
        """What its module says of it now, if that is loaded. None where a plain query took its name over."""
        known = REGISTRY.get(self._members)
        info: CollectionInfo | None = self.info if known is None else known.collection
        if info is not None:
            named = info.value if info.row is None else info.member
            if REGISTRY.get(info.name) is not named:
                return None
        return info

    @property
    def can_settle(self) -> bool:
        """Whether it is defined in this process; else nobody here can bring it up to date."""
        return self.definition is not None and self.core.info_of(self.node) is not None

    def is_of_members(self, node: int) -> bool:
        """Whether its query is that of the members: what gives the keys is read by the collection too."""
        return self.core.queries.by_name.get(self.member_query) == self.core.graph.query[node]

    @property
    def is_doubtful(self) -> bool:
        """Whether it may differ from what its members are now."""
        return bool(self.core.graph.status[self.node] & MARKED)

    @property
    def cyclic(self) -> bool:
        """Whether it fails because it needs itself, or something that does."""
        return self.failing.startswith(CYCLIC)

    def is_member(self, node: int) -> bool:
        """Whether a node is a member (C1)."""
        collections = self.core.collections
        for reader in readers_of(self.core, node):
            if reader == self.node:
                return True
            if reader not in collections:
                return False
        return False

    def source_of(self, node: int) -> Plain:
        """The source key of a member, as one column."""
        try:
            return plain(self.core.args_of(node)[0])
        except LookupError:  # its class has other fields by now, say: it leaves as what it was when it came
            args = self.core.graph.args[node]
            assert isinstance(args, bytes)
            return plain_packed(args)

    def load_members(self) -> set[int]:
        """All members. The first time in a process it reads a row for each."""
        if self.members is None:
            assert self.core.store is not None
            self.members = {row.node for row in self.core.store.derived.members(self.node)}
            for node, data in self.news.items():
                if data is None:
                    self.members.discard(node)
                else:
                    self.members.add(node)
        return self.members

    def tell(self, node: int, data: bytes | None) -> None:
        """Let the next commit write that a node is a member, and what is kept of it; None: that it is none.

        A member is stored with what it contributes, or not at all: one that is missed waits until it arrives.
        While a long build commits again and again, that may be all of them, so no commit looks at those.
        """
        self.news[node] = data
        if node not in self.missed:
            self._ready[node] = None

    def arrived(self, node: int) -> bool:
        """What a member contributes is about to be kept: it is missed no more. Whether it was."""
        if node not in self.missed:
            return False
        del self.missed[node]
        if node in self.news:
            self._ready[node] = None
            self.core.unsaved.readers[node] = None  # they name the collection from now on, see `waits_for`
        return True

    def waits_for(self, node: int) -> bool:
        """Whether a node is a member of which the store is not to know yet."""
        return node in self.missed and node in self.news

    def into(self, batch: Batch) -> None:
        """Put what the store does not have into a batch."""
        if self.dirty or self.rebuilding:
            again = self.rebuild or bool(self.rebuilding and self.missed)  # killed now, it begins once more
            bit = self.bit.bit_length() - 1
            patterns = pack((bit, again, tuple(self.patterns), self.failing, self.sum))
            batch.collections.append(CollectionRow(self.node, self.name, self.kind, self.shape, patterns))
        for node in self._ready:
            if node in self.missed:
                continue
            data = self.news[node]
            if data is None:
                batch.members_gone.append((self.node, node))
            else:
                batch.members.append(MemberRow(self.node, node, data))

    def committed(self) -> None:
        """The batch was written."""
        self.dirty = False
        for node in self._ready:
            if node not in self.missed:
                del self.news[node]
        self._ready.clear()

    @property
    def has_news(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self.dirty or self._ready)

    def check_invariants(self) -> None:
        """Raise AssertionError where what is kept contradicts itself. For tests, at rest."""
        assert self.core.graph.readers[self.node] is NOBODY, f"C2: {self.name} has readers"
        if self.members is None:
            return
        for node in self.members:
            if self.core.graph.readers[node] is not None:
                assert self.is_member(node), f"C1: {node} does not know that it is in {self.name}"
        assert self.members.issuperset(self.missed), f"{self.name} misses what is no member"

    # -- what the kinds do ---------------------------------------------------------------------

    kind = ""

    def take(
        self, node: int, value: Any, failure: Failure | None, failed: bool, changed: bool = False
    ) -> None:
        """The memo of a member is made: keep what it contributes.

        failed    the memo before was an error
        changed   it had another value for certain
        """
        raise NotImplementedError  # each kind has its own

    def read_ahead(self, nodes: list[int]) -> None:
        """What is kept of these members is wanted next."""

    def drop(self, node: int) -> None:
        """A member leaves: take out what it contributed."""
        raise NotImplementedError  # as above

    def clear(self) -> None:
        """Nothing that is kept counts any more."""
        raise NotImplementedError  # as above

    def let_go(self) -> None:
        """Values that are at hand may be of classes that a reload defined anew: their bytes are kept."""

    def came_or_went(self, node: int) -> None:
        """A node became a member, or is none any more."""

    def check_members(self) -> None:
        """Raise what makes the whole fail, not only a member."""

    def failure_of(self, node: int) -> bytes:
        """How a member failed, in a line, where that is kept here and nowhere else; b"": it did not."""
        return b""

    def cyclic_members(self) -> list[int]:
        """Members whose value is a cycle."""
        return []

    def conclude(self) -> None:
        """All members are right: finish what is made of them together."""

    @property
    def digest(self) -> str | None:
        """Equal digests, equal rows, on every machine and after any history."""
        return None


def force_lookups(core: Core, nodes: Iterable[int]) -> None:
    """Let lookups run again: what they rest on changed. The lock is held."""
    for node in nodes:
        if not core.graph.status[node] & (FORCED | RUNNING):
            load(core, (node,))
            suspect(core, node, FORCED)
            core.care.reasons[node] = Reason.ROWS


def key_changed(core: Core, one: Collection, value: Plain) -> None:
    """A value came or went in the column that gives the keys of a collection. The lock is held."""
    one.key_changes[value] = None
    force_lookups(core, (one.node,))
    # Also while it runs, which ends that: killed meanwhile, it must not think that it knows its keys.
    suspect(core, one.node, FORCED)


def keys_unknown(core: Core, one: Collection) -> None:
    """What gives the keys of a collection is built anew: nobody tells which values went. The lock is held."""
    one.complete = False
    force_lookups(core, (one.node,))
    suspect(core, one.node, FORCED)  # as above
