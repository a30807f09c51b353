"""Repeated: what of the work of workers was known here, and of which queries it is too much.

Invariants
    R1  What was computed twice counts once: not again as a part of what read it there.
    R2  One bad stretch after good ones decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from engine.parallel.units import Record  # which only who sends loads

# Work of one query in workers after which it is judged; then anew: at first much is computed twice, until it
# is known what has to be given along.
ENOUGH_US: Final = 500_000
MOST: Final = 0.5  # the part of it that may go into what is known here: with two workers it gains nothing
KEPT: Final = 0.75  # what earlier work counts beside new one: two or three bad stretches outweigh it


@define
class Again:
    """The memos of one answer that were known here already."""

    _costs: dict[int, int] = field(factory=dict)  # nodes there that nothing of it read -> microseconds

    def add(self, record: Record) -> None:
        """Note one. Records come with their dependencies before them, and their costs contain those (R1)."""
        for read in record.dependencies:
            self._costs.pop(read, None)
        self._costs[record.node] = record.cost

    @property
    def microseconds(self) -> int:
        """What all of them took."""
        return sum(self._costs.values())


@define
class _Work:
    """Of one query, in microseconds."""

    new: int = 0  # since it was judged last
    known: float = 0.0  # what went into what was known here, of all
    whole: float = 0.0


class Repeated:
    """What the queries of one engine come to in workers."""

    def __init__(self) -> None:
        self._work: dict[str, _Work] = {}  # by query

    def is_too_much(self, query: str, known: int, whole: int) -> bool:
        """Note a batch: what it cost, and what of that was known here. Whether its query gains nothing."""
        work = self._work.setdefault(query, _Work())
        work.new += whole
        work.known += known
        work.whole += whole
        if work.new <= ENOUGH_US:
            return False
        too_much = work.known > work.whole * MOST
        work.new, work.known, work.whole = 0, work.known * KEPT, work.whole * KEPT
        return too_much
