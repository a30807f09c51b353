"""Graph: the nodes, as parallel lists under dense integer ids, filled from the store on demand.

Ids, stamps and edges are plain integers in lists, bytearrays and arrays, so that marking 100,000 nodes
takes some tens of milliseconds and the garbage collector has nothing to walk.

Invariants
    G1  A node with memo and without MARKED holds in the current revision, once the frontier is empty.
    G2  Every MARKED node is in the frontier or all its readers are MARKED. (Members of a cycle excepted:
        they fail whatever the others do, until an input changes, and that marks them all. So do collections
        whose source keys fail, whatever their members do. While one fails by a cycle, the marks are completed
        by the next revision: see tables.cycles.retry_cycles.)
    G3  SUSPECT and FORCED imply MARKED, and (for nodes with a memo) membership in `suspects`.
    G4  `readers` is the transpose of `dependencies`, for all rows in memory. Of many nodes there is one: it
        stands there as it is, and 0 for none, since an array takes 96 bytes. Ask `above` and `below`.
    G5  VALUE is set only on shareable, error-free values of LOADED nodes: the hot path looks at nothing
        else than `status == READY`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

from engine.query import ABSENT as ABSENT
from engine.query import READY, QueryInfo

LOADED: Final = 1  # the row is in memory
VALUE: Final = 2  # the value is in memory and may be handed out as it is
MARKED: Final = 4  # maybe dirty: something below may have changed
SUSPECT: Final = 8  # a direct dependency changed since it was verified
FORCED: Final = 16  # must run whatever its dependencies say: no memo, code changed, transient, forgotten
RUNNING: Final = 32  # claimed: its function runs now
NEW: Final = LOADED | MARKED | FORCED  # a node without a memo
CLEAN: Final = ~(MARKED | SUSPECT | FORCED)  # what stays when it is right again

# Persisted properties of a node (column `flags`).
INPUT: Final = 1
ERROR: Final = 2  # the value is a memoized exception
PINNED: Final = 4  # set by the host; its function is not asked
ROOT: Final = 8  # asked for from outside; gc keeps what roots reach
UNSTORED: Final = 16  # the store holds no value bytes: it is computed again where it is needed
TRANSIENT: Final = 32  # rests on a failure that is not kept
OBSERVED: Final = 64
MUTABLE: Final = 128  # readers get copies of their own
UNTRACKED: Final = 256
REMEMBERED: Final = 512  # earlier memos of it are kept, see history
RECORDED: Final = 1024  # the memo of now is one of the earlier ones already: it was put back, or tried
VERSIONED: Final = 2048  # it was something else before, see versions
REASON_SHIFT: Final = 12  # bits 12-15: why it ran last, a `Reason`
REACH_SHIFT: Final = 16  # bits 16-55: the collections that it rests on, see `tables.collect`
REACH_BITS: Final = 40  # so that all flags fit into 63 bits
REACH: Final = (1 << REACH_BITS) - 1 << REACH_SHIFT
EQUAL: Final = 1 << 56  # the run that the reason tells of left the value as it was
AGAIN: Final = 1 << 57  # it ran since, because its value is not kept: the reason tells of the run before
TOLD: Final = 0xF << REASON_SHIFT | EQUAL | AGAIN

KIND: Final = INPUT | OBSERVED | UNTRACKED
ALONE: Final = (str, int)  # classes of arguments that are kept without a tuple around one of them

GROUP: Final = 1 << 31  # top bit of a dependency entry: "the next n entries are one parallel group"


def compact(entries: array[int]) -> array[int] | int:
    """What stands in the lists for some readers or dependencies (G4)."""
    return entries if len(entries) > 1 else entries[0] if entries else 0


def kind_of(info: QueryInfo) -> int:
    """What a definition says of all its nodes, as flags: 0 of a query that reads what the engine sees."""
    if info.is_input:
        return INPUT | OBSERVED if info.observed else INPUT
    return UNTRACKED if info.untracked else 0


class Graph:
    """The nodes of one engine. Lists are indexed by node id; id 0 is never used."""

    __slots__ = (
        "adopted",
        "args",
        "cause",
        "changed_at",
        "cost",
        "dependencies",
        "durability",
        "fingerprint",
        "flags",
        "frontier",
        "gathered",
        "marked",
        "query",
        "readers",
        "status",
        "suspects",
        "tables",
        "values",
        "verified_at",
    )

    def __init__(self, size: int) -> None:
        self.status = bytearray(size)
        self.query: list[int] = [0] * size  # row id of the query in the store
        # bytes: not decoded yet; a text or a number: called with it alone (a tuple each would take 64 bytes,
        # and wake the garbage collector)
        self.args: list[tuple[Any, ...] | bytes | str | int | None] = [None] * size
        self.flags = array("q", (0,)) * size  # an int that is its own would be an object of 32 bytes
        self.changed_at: list[int] = [0] * size
        self.verified_at: list[int] = [0] * size
        self.durability = bytearray(size)
        self.cost = array("q", (0,)) * size
        self.cause = array("I", (0,)) * size
        self.fingerprint: list[bytes] = [b""] * size
        # None: not in memory; see G4. Arrays of dependencies are replaced, not changed.
        self.dependencies: list[array[int] | int | None] = [None] * size
        self.readers: list[array[int] | int | None] = [None] * size
        self.values: list[Any] = [ABSENT] * size
        self.tables: list[dict[Any, int]] = []
        self.adopted: dict[tuple[int, bytes], int] = {}  # by query and arguments: loaded, and in no table yet
        self.suspects: dict[int, None] = {}
        self.frontier: list[int] = []  # marked nodes whose readers are not marked yet
        self.marked: list[int] = []  # every node that became MARKED since marks were last cleared
        self.gathered = 0  # how many of them the collections know

    def __len__(self) -> int:
        return len(self.status)

    def new(self, info: QueryInfo, query: int, args: tuple[Any, ...] | bytes | str | int) -> int:
        """Add a node without a memo; it must run before it can be read. `args` as they are kept."""
        node = len(self.status)
        self.status.append(NEW)
        self.query.append(query)
        self.args.append(args)
        self.flags.append(kind_of(info))
        self.changed_at.append(0)
        self.verified_at.append(0)
        self.durability.append(info.durability)
        self.cost.append(0)
        self.cause.append(0)
        self.fingerprint.append(b"")
        self.dependencies.append(0)
        self.readers.append(0)
        self.values.append(ABSENT)
        return node

    def below(self, node: int) -> Sequence[int]:
        """The dependency entries of a node in the order of its reads, as far as they are in memory."""
        found = self.dependencies[node]
        if isinstance(found, int):
            return (found,) if found else ()
        return found or ()

    def above(self, node: int) -> Sequence[int]:
        """The readers of a node, as far as they are in memory."""
        found = self.readers[node]
        if isinstance(found, int):
            return (found,) if found else ()
        return found or ()

    def add_reader(self, node: int, reader: int) -> None:
        """A node is read by one more. Its readers are in memory."""
        found = self.readers[node]
        if isinstance(found, int):
            self.readers[node] = array("I", (found, reader)) if found else reader
        else:
            assert found is not None, f"the readers of {node} are not loaded"
            found.append(reader)

    def remove_reader(self, node: int, reader: int) -> None:
        """One of its readers reads it no longer. They are in memory."""
        found = self.readers[node]
        if isinstance(found, int):
            assert found == reader, f"{reader} is no reader of {node}"
            self.readers[node] = 0
        else:
            assert found is not None, f"the readers of {node} are not loaded"
            found.remove(reader)

    def check_invariants(self, *, cyclic: bool = False) -> None:
        """Raise AssertionError where an invariant does not hold. For tests, at rest; O(nodes + edges).

        `cyclic`: whether a collection fails by a cycle.
        """
        waiting = set(self.frontier)
        for node in range(1, len(self)):
            status = self.status[node]
            if status & (SUSPECT | FORCED):
                assert status & MARKED, f"G3: suspect {node} is not marked"
                if self.verified_at[node]:
                    assert node in self.suspects, f"G3: suspect {node} is not listed"
            if status & MARKED and node not in waiting and not cyclic:
                for reader in self.above(node):
                    on_ring = bool(getattr(self.values[reader], "ring", ()))
                    marked = self.status[reader] & MARKED
                    fails = self._is_collection(reader) and self.flags[reader] & (ERROR | TRANSIENT)
                    assert marked or on_ring or fails, f"G2: reader {reader} of {node} is not marked"
            if status & VALUE:
                assert status & LOADED, f"G5: {node} has a value and no row"
                assert self.values[node] is not ABSENT, f"G5: {node} lost its value"
                assert not self.flags[node] & (ERROR | MUTABLE), f"G5: {node} must not be shared"
            assert not status & RUNNING, f"{node} runs while the engine is at rest"
        self._check_edges()
        self._check_durability()
        for node in self.suspects:
            assert self.status[node] & (SUSPECT | FORCED), f"G3: {node} is listed and no suspect"

    def _check_durability(self) -> None:
        for node in range(len(self)):
            for dependency in entries(self.below(node)):
                if self.status[node] & self.status[dependency] & LOADED and not self.status[node] & MARKED:
                    assert self.durability[node] <= self.durability[dependency], (
                        f"D1: {node} over {dependency}"
                    )

    def _check_edges(self) -> None:
        forth = {(dependency, node) for node in range(len(self)) for dependency in entries(self.below(node))}
        back = [
            (node, reader)
            for node in range(len(self))
            for reader in self.above(node)
            if (node, reader) in forth or not self._is_collection(reader)  # it does not list its members
        ]
        assert len(back) == len(set(back)), "G4: a reader is listed twice"
        for dependency, node in forth - set(back):
            unknown = self.readers[dependency] is None or self._is_collection(dependency)
            assert unknown, f"G4: {dependency} does not know reader {node}"
        for dependency, node in set(back) - forth:
            assert self.dependencies[node] is None, f"G4: {node} does not depend on {dependency}"

    def _is_collection(self, node: int) -> bool:
        return not isinstance(self.readers[node], array | int | None)


def entries(dependencies: Sequence[int]) -> list[int]:
    """The node ids among dependency entries, without group markers."""
    return [entry for entry in dependencies if not entry & GROUP]


assert READY == LOADED | VALUE
