"""Kept fold: the state of one fold in one engine.

Invariants
    O1  What every member contributes is kept as bytes, so that it can be taken out again.
    O2  State, failing members and what waits to be reduced are of one moment with the contributions, in
        every commit. A fold that nobody asks for does not load its state: what waits is stored as it is.
    O3  The functions of an accumulator run under the lock and may read nothing. One that raises breaks the
        fold: its error is the value, and the next settling starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.errors import BadFold, StoreDamaged
from engine.failure import Failure, is_transient
from engine.frame import CURRENT
from engine.graph import ABSENT, VALUE
from engine.locate import find
from engine.persist import load
from engine.store import Batch, BlockRow
from engine.store.canonical import Unpackable, known, pack, unpack
from engine.tables.accumulate import change, is_invertible
from engine.tables.blocks import FAILING, STATE, WAITING, Address, Blocks
from engine.tables.collection import Collection, force_lookups
from engine.tables.fold import added_up, key_bytes, learn_values, merging
from engine.tables.waiting import Waiting

if TYPE_CHECKING:
    from engine.core import Core
    from engine.tables.table import CollectionInfo

T = TypeVar("T")
BYTES: Final = "Give builtins, tuples, enums, paths, or attrs and dataclass values: what the engine can keep."
WAITING_AT_MOST: Final = 1_000  # changes stored as they are: more are cheaper to reduce than to write twice


class KeptFold(Collection):
    """State of a fold."""

    kind = "fold"

    def __init__(self, core: Core, node: int, bit: int, name: str, shape: str) -> None:
        super().__init__(core, node, bit, name, shape)
        self._blocks: dict[Address, bytes] = {}  # not in the store yet; b"": gone
        self._changes: Waiting | None = None
        self._failing: dict[int, None] | None = None
        self._held: list[Any] | None = None  # the state of an invertible accumulator, in a list of one
        self._value = 0  # the node of the fold's value, once there is one
        self._stored = self._attached = None if core.store is None else core.store.derived
        self._asked: tuple[Any, bool] | None = None  # an accumulator, and whether it has an inverse
        self.broken: Exception | None = None
        self._refused: bytes | None = None  # the place of the member that broke it: it has no bytes

    # -- what members contribute ---------------------------------------------------------------

    def take(
        self, node: int, value: Any, failure: Failure | None, failed: bool, changed: bool = False
    ) -> None:
        """See `Collection.take`."""
        if failure is not None:
            self._contribute(node, b"")
            self.failing_members[node] = None
            self._write_failing()  # it may be another error than before
            return
        try:
            self._contribute(node, b"\x01" + pack(value), value, changed=changed)
        except Unpackable as error:
            place = self._place(node)
            if self._refused is None or place < self._refused:  # the first, whichever was computed last
                self._refused, cause = place, f"a value has no canonical bytes: {error}"
                self._break(BadFold(fold=self.name, member=self.core.name_of(node), cause=cause, hint=BYTES))
        if self.failing_members.pop(node, 0) is None:
            self._write_failing()

    def drop(self, node: int) -> None:
        """See `Collection.drop`."""
        self._contribute(node, b"")
        if self.failing_members.pop(node, 0) is None:
            self._write_failing()

    def clear(self) -> None:
        """See `Collection.clear`."""
        self._stored = self.broken = self._refused = None
        self._blocks.clear()
        self._nothing_waits()
        self._failing, self._held = {}, None
        self._forget_tree()  # else a tree that stays empty finds the old one after the commit
        self._blocks[WAITING] = self._blocks[FAILING] = self._blocks[STATE] = b""
        # All: a commit halfway attaches the store again, where those not taken yet have what was kept.
        # See test_a_fold_that_is_built_anew_and_committed_halfway_reduces_every_member.
        for node in self.load_members():
            self.tell(node, b"")
        self._force()

    def conclude(self) -> None:
        """See `Collection.conclude`."""
        self._reduce()

    def _contribute(self, node: int, after: bytes, value: Any = ABSENT, *, changed: bool = False) -> None:
        waiting, graph, info = self._waiting, self.core.graph, self.definition
        old: Any = ABSENT
        if value is not ABSENT and info is not None:
            if not info.member.codec.shareable:
                value = ABSENT  # it may be changed before it is used
            elif changed and graph.status[node] & VALUE:
                old = graph.values[node]  # the one before is still there, see `keep._put`
        known = waiting.of(node)
        if known is None:
            first = before = None if changed and self._is_stored(node) else self.contribution(node)
        else:
            first, before = known[0], known[1]
        if before != after:
            waiting.put(node, (first, after, self._key_of(node, info)), old, value)
            self.tell(node, after)
            self._force()

    def _is_stored(self, node: int) -> bool:
        """Whether it is the store that says what a member contributes."""
        return node not in self.news and self._stored is not None

    def _read_contributions(self, nodes: Sequence[int]) -> dict[int, bytes]:
        assert self._attached is not None
        return self._attached.members_among(self.node, nodes)

    def _key_of(self, node: int, info: CollectionInfo | None) -> bytes:
        if info is None or self._is_invertible(info.into):
            return b""
        return self._place(node)

    def _place(self, node: int) -> bytes:
        return key_bytes(self.source_of(node))

    def _is_invertible(self, into: Any) -> bool:
        """As `is_invertible`, which looks for eight methods: asked once, not for every member."""
        if self._asked is None or self._asked[0] is not into:
            self._asked = into, is_invertible(into)
        return self._asked[1]

    def contribution(self, node: int) -> bytes:
        """What is kept of a member; b"": nothing."""
        found = self.news.get(node)
        if self._is_stored(node):
            found = self._read_contributions((node,)).get(node)
        return found or b""

    def _force(self) -> None:
        """The value of the fold may be another one, unless the source keys fail."""
        if self.failing:
            return
        if not self._value:
            info = self.definition
            assert info is not None
            assert info.value is not None
            if info.value.name in self.core.queries.by_name:
                self._value = find(self.core, info.value, ()) or 0
        if self._value:
            force_lookups(self.core, (self._value,))

    def _break(self, error: Exception) -> None:
        self.broken = error
        self.rebuild = self.dirty = True
        self._nothing_waits()
        self._force()

    # -- reducing ------------------------------------------------------------------------------

    def _reduce(self) -> None:
        """Reduce what waits (O2)."""
        info = self.definition
        if info is not self.info:
            self.let_go()  # it was defined anew, and is not opened since
        if not self._waiting or info is None or self.broken is not None:
            return
        readable = False  # all that was kept, for an accumulator with an inverse
        try:
            learn_values(info)
            if is_invertible(info.into):
                removed, added = self._waiting.moved()
                before = self._state
                readable = True
                state = self._pure(lambda: change(info.into, before, removed, added))
                self._held = [state]
                self._blocks[STATE] = pack(state)
            else:
                self._pure(lambda: self._grow(info.into))
        except Unpackable as error:
            self._break(BadFold(fold=self.name, cause=f"a state has no canonical bytes: {error}", hint=BYTES))
        except StoreDamaged:
            raise
        except Exception as error:  # of the accumulator, or of values that cannot be read any more
            self._begin_anew(info.into)
            if readable and self.broken is None:
                self._break(error)  # `remove` alone raises it: its author has to know
        self._nothing_waits()
        self._blocks[WAITING] = b""

    def _begin_anew(self, into: Any) -> None:
        """Read and reduce all members in order, with nothing of what was kept.

        So what fails does not depend on who changed last, and nothing is read of classes with other fields.
        """
        try:
            values = self._values()
            if is_invertible(into):
                state = self._pure(lambda: added_up(into, values, self._name_of))
                self._held = [state]
                self._blocks[STATE] = pack(state)
                return
            self._forget_tree()
            tree = self._tree(into)
            self._pure(lambda: tree.update({key: pack(into.lift(one)) for key, one in values.items()}))
            self._blocks.update(tree.written)
        except StoreDamaged:
            raise
        except Unpackable as error:
            self._break(BadFold(fold=self.name, cause=f"a state has no canonical bytes: {error}", hint=BYTES))
        except Exception as error:  # of the accumulator: the error of the fold
            self._break(error)

    def _values(self) -> dict[bytes, Any]:
        """What all members contribute, in the order of their keys."""
        held: dict[int, bytes | None] = {}
        if self._stored is not None:
            held.update({row.node: row.data for row in self._stored.members(self.node)})
        held.update(self.news)
        load(self.core, held)
        several = {self._place(node): unpack(data[1:], known) for node, data in held.items() if data}
        return dict(sorted(several.items()))

    def _name_of(self, place: bytes) -> str:
        return next(self.core.name_of(node) for node in self.load_members() if self._place(node) == place)

    def _forget_tree(self) -> None:
        stored = [] if self._attached is None else self._attached.block_keys(self.node)
        for place in (*self._blocks, *stored):
            if place not in (WAITING, FAILING, STATE):
                self._blocks[place] = b""

    def _grow(self, into: Any) -> None:
        leaves: dict[bytes, bytes | None] = {}
        for key, value in self._waiting.leaves():
            leaves[key] = None if value is ABSENT else pack(into.lift(value))
        tree = self._tree(into)
        tree.update(leaves)
        self._blocks.update(tree.written)

    def _tree(self, into: Any) -> Blocks:
        return Blocks(self._read, merging(into))

    def _read(self, places: Sequence[Address]) -> dict[Address, bytes]:
        found = {place: self._blocks[place] for place in places if place in self._blocks}
        missing = [place for place in places if place not in found]
        if missing and self._stored is not None:
            found.update(self._stored.blocks(self.node, missing))
        return {place: data for place, data in found.items() if data}

    @property
    def _state(self) -> Any:
        if self._held is None:
            info = self.definition
            assert info is not None
            learn_values(info)
            data = self._read((STATE,)).get(STATE)
            self._held = [self._pure(info.into.zero) if data is None else unpack(data, known)]
        return self._held[0]

    @property
    def failing_members(self) -> dict[int, None]:
        """Members without a value."""
        if self._failing is None:
            data = self._read((FAILING,)).get(FAILING)
            self._failing = dict.fromkeys(() if data is None else unpack(data, {}))
        return self._failing

    @property
    def _waiting(self) -> Waiting:
        if self._changes is None:
            self._changes = Waiting(self._read((WAITING,)).get(WAITING), self._read_contributions)
        return self._changes

    def let_go(self) -> None:
        """See `Collection.let_go`."""
        self._held = None
        self._waiting.let_go()

    def _nothing_waits(self) -> None:
        self._changes = Waiting(None, self._read_contributions)

    def _write_failing(self) -> None:
        self._blocks[FAILING] = b""  # made by `into`: not anew for each that fails, when all do
        self._force()

    def _pure(self, function: Callable[[], T]) -> T:
        """Run a function of the accumulator: it may read no query (O3)."""
        token = CURRENT.set(self.core.outside)
        try:
            return function()
        finally:
            CURRENT.reset(token)

    # -- what the value asks -------------------------------------------------------------------

    def first_failing(self) -> int:
        """The member whose error is the value of the fold, or 0."""
        load(self.core, self.failing_members)
        return min(self.failing_members, key=self._place, default=0)

    def result(self) -> Any:
        """The value. Raises what the accumulator raises."""
        self._reduce()
        info = self.definition
        assert info is not None
        into = info.into
        if self.broken is not None and is_transient(self.broken):
            self.broken = None  # tried again: what the members contribute is kept
            self._begin_anew(into)
        if self.broken is not None:
            raise self.broken
        learn_values(info)
        if is_invertible(into):
            return self._pure(lambda: into.result(self._state))
        root = self._tree(into).root()
        return self._pure(lambda: into.result(into.empty() if root is None else unpack(root, known)))

    # -- keeping -------------------------------------------------------------------------------

    def into(self, batch: Batch) -> None:
        """See `Collection.into`."""
        if len(self._waiting) > WAITING_AT_MOST:
            self._reduce()
        if self._waiting:
            self._blocks[WAITING] = self._waiting.packed()
        if FAILING in self._blocks:
            self._blocks[FAILING] = pack(tuple(self.failing_members))
        super().into(batch)
        for (level, key), data in self._blocks.items():
            batch.blocks.append(BlockRow(self.node, level, key, data))

    def committed(self) -> None:
        """See `Collection.committed`."""
        super().committed()
        self._blocks.clear()
        self._stored = self._attached

    @property
    def has_news(self) -> bool:
        """See `Collection.has_news`."""
        return super().has_news or bool(self._blocks)
