"""Slot: what is known of one worker."""

from __future__ import annotations

from itertools import count
from typing import Final

from attrs import define, field

from engine.parallel.units import Surroundings

_EPOCHS: Final = count(1)  # of all engines, so that one worker may serve several, one after the other


@define
class Slot:
    """One worker as this process sees it. Node numbers mean something in one epoch of it only."""

    generation: int = -1  # of the engine, for which it was told something
    epoch: int = 0
    ids: dict[int, int] = field(factory=dict)  # nodes there -> nodes here
    codes: dict[str, bytes] = field(factory=dict)  # query -> fingerprint of its code there
    told: dict[str, int] = field(factory=dict)  # query -> how much of what is held it was told
    received: int = 0  # bytes of memos
    surroundings: Surroundings | None = None
    units: list[int] = field(factory=list)  # nodes of the batch under way
    postponed: set[int] = field(factory=set)  # places in it that were refused for now only
    modules: set[str] = field(factory=set)  # those it was told to import
    sent_at: float = 0.0  # 0: it does not work on them yet, it imports modules
    stale_since: float = 0.0  # since when nobody wants the batch under way any more

    def renew(self, generation: int) -> None:
        """Another epoch: it knows nothing of what it knew."""
        self.generation = generation
        self.epoch = next(_EPOCHS)
        self.received = 0
        for one in (self.ids, self.codes, self.told):
            one.clear()
