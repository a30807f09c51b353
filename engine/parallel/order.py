"""Order: what one offer wants from its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from engine.core import Request
from engine.errors import Cancelled
from engine.verify import Walk


@define
class Order:
    """The asker, and whom to tell what became of its units."""

    asker: Request
    outer: Walk | None
    more: Callable[[], list[int]]  # units that are found while workers have others; none: that was all
    done: Callable[[int], Iterable[int]]  # told a unit that is done with; gives units that can go out now
    refused: Callable[[int, str, bool], None]  # told a unit, why, and whether that holds for its whole query
    # told one of some units, and microseconds: what of their work was known here, and what they cost
    repeated: Callable[[int, int, int], None]
    # what has to be brought up to date here first, while no worker works
    first: dict[int, None] = field(factory=dict)

    def fence(self) -> None:
        """Raise `Cancelled` when the revision moved on."""
        if self.asker.generation != self.asker.core.generation:
            raise Cancelled
