"""Earlier: a memo that a node had before, and its row in the store."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from attrs import define

from engine.failure import Failure
from engine.graph import ABSENT, GROUP, MUTABLE, UNSTORED
from engine.store import EarlierRow

if TYPE_CHECKING:
    from engine.core import Core
    from engine.query import QueryInfo


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
    held: bytes | Failure | None = None  # the value, where it is at hand

    def same(self, other: Earlier) -> bool:
        """Whether one of them says all that the other does."""
        return (
            self.seen == other.seen
            and self.fingerprint == other.fingerprint
            and self.code == other.code
            and self.flags == other.flags
            and self.dependencies == other.dependencies
        )


def held(core: Core, node: int, info: QueryInfo) -> bytes | Failure | None:
    """The value of a node where nothing is saved; None: it is not in memory."""
    value = core.graph.values[node]
    if value is ABSENT or core.graph.flags[node] & UNSTORED:
        return None
    if isinstance(value, Failure):
        return value
    return cast(bytes, value) if core.graph.flags[node] & MUTABLE else info.codec.encode(value)


def from_row(row: EarlierRow) -> Earlier:
    """The memo of a row."""
    dependencies = array("I")
    dependencies.frombytes(row.dependencies)
    return Earlier(
        row.node, row.flags, row.cost, row.code, row.fingerprint, dependencies, row.seen, row.rows, row.value
    )


def units(dependencies: Sequence[int]) -> Iterator[Sequence[int]]:
    """What was asked for at once: one dependency, or all those of a group."""
    position = 0
    while position < len(dependencies):
        entry = dependencies[position]
        size = entry & ~GROUP if entry & GROUP else 1
        position += bool(entry & GROUP)
        yield dependencies[position : position + size]
        position += size
