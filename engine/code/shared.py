"""Shared: what walks of one moment have in common. A part that one of them made is not made again by others.

The queries of a store are compared with their code all at once, and reach much of the same: so most of what a
start of the code graph took went into reading the same functions and classes again for each of its queries.

Invariants
    H1  A record has all that making something asked of its walk, in order. Who takes it over asks for the
        same, and so meets the same objects in the same order (names N1). Where a label differs, it is made
        anew.
    H2  What depends on who asks is not shared: values that are opaque, and what points back out of itself.
    H3  Fingerprints are the same with it and without. It lasts while nothing runs that could change a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

if TYPE_CHECKING:
    from types import MemberDescriptorType

    from engine.code.names import Names

Fill = Callable[[Any, str], None]  # makes the part of an object, for a walk and under a label


@frozen(eq=False, repr=False)
class Of:
    """What makes the part of an object that is known."""

    known: Any
    fill: Fill

    def __call__(self, walk: Any, unique: str) -> None:
        self.fill(walk, unique)


class Record(NamedTuple):
    """What something came to, and what was asked for it; None where that is not shared (H2)."""

    said: bytes
    asked: Sequence[Label | Added | Valued | Queried] | None


class Label(NamedTuple):
    """The label of an object was asked for."""

    identity: object
    kind: str
    name: str
    fill: Fill
    found: bytes

    def again(self, walk: Names) -> bool:
        return walk.label(self.identity, self.kind, self.name, self.fill) == self.found


class Added(NamedTuple):
    """A part was taken into the listing."""

    key: str
    part: tuple[str, str, bytes]

    def again(self, walk: Names) -> bool:
        walk.parts[self.key] = self.part
        walk.asked.append(self)
        return True


class Valued(NamedTuple):
    """The bytes of a value were asked for."""

    number: int
    record: Record

    def again(self, walk: Names) -> bool:
        return walk.taken_over(self.number, self.record) is not None


class Queried(NamedTuple):
    """The label of a query was asked for."""

    query: object
    name: str
    found: bytes

    def again(self, walk: Names) -> bool:
        return walk.label_query(self.query, self.name) == self.found


class Shared:
    """Records, by the objects that they are of."""

    def __init__(self) -> None:
        self.parts: dict[object, Record] = {}  # by identity, see `Names.label`
        self.values: dict[int, Record] = {}
        self.queries: dict[int, Record] = {}
        self.homes: dict[tuple[str, bool], str] = {}
        self.slots: dict[type, list[tuple[str, MemberDescriptorType]]] = {}
        self.cached: list[Any] = []  # helpers that functools.cache keeps, see `cached`
        self.keep: list[object] = []  # ids stay valid while it lasts
