"""Memory: values that are in memory are counted, and those held longest go when they are too many bytes.

What goes is read from the store again by who needs it. A hit is not noted, so that it stays as cheap as it
is: which value was asked for last is not known. Of two values the one that was made or loaded later stays,
and one that goes although it is in demand is loaded once more, and is then the newest.

Invariants
    M1  What is counted exceeds the limit at most by the newest value, by what is not stored yet, and while a
        request goes on by a quarter of the limit, so that not every value that is loaded means a sweep.
    M2  Only what the store has goes: no value is computed again because of the limit.
    M3  What the host set stays, whatever happens to the store (recover Z1).

Not counted are values that are not stored, failures, values of a few bytes, for which the count would take
more than they do, what is read of histories, which is bounded (history, versions), and the graph
itself: keys, stamps and edges.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from attrs import define, field

from engine.graph import ABSENT, PINNED, RUNNING, UNSTORED, VALUE

if TYPE_CHECKING:
    from engine.core import Core

# Bytes, where nobody says how many. What a cold build leaves in memory without a limit cannot be given back
# later: values lie between keys and edges, and the allocator returns memory in pieces of a megabyte.
LIMIT: Final = 256 << 20
FEW: Final = 9  # bytes of an encoding up to which a value is not counted: numbers, None, short texts
OVERHEAD: Final = 64  # bytes of an entry here, and of an object around a value
LEAST_COMMIT: Final = 1 << 20  # bytes not stored yet, below which a small limit makes nobody commit
MANY: Final = 32_768  # rows written, after which it is worth while to give memory back: it takes some 10 ms
PER_BYTE: Final = 3  # bytes of objects per byte of their encoding: measured 1 for text, 2 to 6 for records


@define(eq=False, repr=False)
class Memory:
    """The values of one engine that are in memory, oldest first."""

    limit: int  # bytes
    evicted: int = 0
    _saved: dict[int, int] = field(factory=dict)  # node -> bytes; the store has them
    _unsaved: dict[int, int] = field(factory=dict)
    _saved_bytes: int = 0
    unsaved_bytes: int = 0
    most_unsaved: int = field(init=False)  # more is not to wait for the end of a long build

    def __attrs_post_init__(self) -> None:
        self.most_unsaved = max(self.limit, LEAST_COMMIT)

    @property
    def total(self) -> int:
        """Bytes in memory, as they are counted."""
        return self._saved_bytes + self.unsaved_bytes

    def made(self, core: Core, node: int, data: bytes) -> None:
        """A value was made or set; `data` is its encoding. The lock is held."""
        if node in self._saved:
            self._saved_bytes -= self._saved.pop(node)
        elif node in self._unsaved:
            self.unsaved_bytes -= self._unsaved.pop(node)
        if len(data) > FEW and not core.graph.flags[node] & (UNSTORED | PINNED):
            self._unsaved[node] = size = OVERHEAD + PER_BYTE * len(data)
            self.unsaved_bytes += size

    def loaded(self, core: Core, node: int, data: bytes) -> None:
        """A value was read from the store. The lock is held."""
        self.drop(node)
        if len(data) > FEW and not core.graph.flags[node] & PINNED:
            self._saved[node] = size = OVERHEAD + PER_BYTE * len(data)
            self._saved_bytes += size
            if self.total > self.limit + self.limit // 4:
                self._sweep(core, node)

    def drop(self, node: int) -> None:
        """Its value is in memory no longer, or another one."""
        self._saved_bytes -= self._saved.pop(node, 0)
        self.unsaved_bytes -= self._unsaved.pop(node, 0)

    def committed(self, core: Core) -> None:
        """Everything that was made is stored. The lock is held."""
        self._saved.update(self._unsaved)
        self._saved_bytes += self.unsaved_bytes
        self._unsaved.clear()
        self.unsaved_bytes = 0
        self._sweep(core, 0)

    def clear(self) -> None:
        """The lists are built anew: nothing is in memory."""
        self._saved.clear()
        self._unsaved.clear()
        self._saved_bytes = self.unsaved_bytes = 0

    def check_invariants(self) -> None:
        """Raise AssertionError where the count is not that of what is listed. For tests."""
        assert self._saved_bytes == sum(self._saved.values()), "the bytes of values that are stored"
        assert self.unsaved_bytes == sum(self._unsaved.values()), (
            "the bytes of values that are not stored yet"
        )
        assert self._saved.keys().isdisjoint(self._unsaved), "a value is counted twice"

    def _sweep(self, core: Core, newest: int) -> None:
        """Let values go until the limit is met, the oldest first, and never the newest: it is being read."""
        graph = core.graph
        excess = self.total - self.limit
        going: list[int] = []
        for node, size in self._saved.items():  # once: each `next(iter(...))` would pass all that are gone
            if excess <= 0 or node == newest:
                break
            if not graph.status[node] & RUNNING:  # else about to be replaced, and still to be compared
                going.append(node)
                excess -= size
        for node in going:
            self._saved_bytes -= self._saved.pop(node)
            if graph.values[node] is not ABSENT and not graph.flags[node] & (PINNED | UNSTORED):
                graph.values[node] = ABSENT
                graph.status[node] &= ~VALUE
                self.evicted += 1


def give_back(core: Core) -> None:
    """After a large build: return to the system what it needed and nobody needs now. The lock is held.

    That is SQLite's page cache, up to 32 MiB, and what the C library keeps of memory that was freed.
    """
    core.written = 0
    if core.store is not None:
        core.store.shrink()
    if sys.platform == "linux":
        try:
            import ctypes  # late: few programs need it
        except ImportError:  # a Python that was built without it
            return
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # else it is another C library than glibc
            trim(0)
