"""Slot: what is known of one worker."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Final

from attrs import define, field

from engine.parallel.units import Reply, Surroundings

ANSWER_US: Final = 200  # what an answer costs both sides, beyond what it takes to find it
LONGEST_US: Final = 5_000  # of what it takes to find one: more is a commit that came in between
# Bytes of memos, made and given, after which a worker starts anew, so that its memory stays bounded: it holds
# some nine bytes for each. Where `max_memory` is small, half of that.
RECEIVED: Final = 128 << 20
KEPT: Final = 16 << 20  # the same, above which it is ended with the request: it is started again in 0.1 s
_EPOCHS: Final = count(1)  # of all engines, so that one worker may serve several, one after the other


@define(eq=False)
class Slot:
    """One worker as this process sees it. Node numbers mean something in one epoch of it only."""

    generation: int = -1  # of the engine, for which it was told something
    epoch: int = 0
    ids: dict[int, int] = field(factory=dict)  # nodes there -> nodes here
    codes: dict[str, bytes] = field(factory=dict)  # query -> fingerprint of its code there
    told: dict[str, int] = field(factory=dict)  # query -> how much of what is held it was told
    heard: dict[int, int] = field(factory=dict)  # row of a query -> how much of what is shared it was given
    given: set[int] = field(factory=set)  # nodes whose values it was given
    tables: set[int] = field(factory=set)  # those that it was told to look into by itself
    received: int = 0  # bytes of memos, those that it was given too
    received_before: int = 0  # the most in an epoch before: its process is as large as it ever was
    surroundings: Surroundings | None = None
    flight: deque[list[int]] = field(factory=deque)  # nodes of the batches under way, the first is worked on
    limit: str | None = None  # the name of the limit that it takes a place of
    owed: tuple[str | None, Reply] | None = None  # what it asked, told when its limit has room for it again
    answers: int = 0  # microseconds that went into answers since it began with the first batch
    postponed: set[int] = field(factory=set)  # places in it that were refused for now only
    sent: dict[int, bytes] = field(factory=dict)  # rows of queries whose keys it was sent -> their code then
    modules: set[str] = field(factory=set)  # those it was told to import
    sent_at: float = 0.0  # when it began with the first batch; 0: not yet, it imports modules
    asked_at: float = 0.0  # when it asked for what it is told, or owed
    stale_since: float = 0.0  # since when nobody wants the batches under way any more

    @property
    def units(self) -> list[int]:
        """The nodes of the batch that it works on; none where it is idle."""
        return self.flight[0] if self.flight else []

    def answered(self, microseconds: int) -> None:
        """It asked, and it took so long to find what it is told."""
        self.answers += ANSWER_US + min(microseconds, LONGEST_US)

    def asked_us(self) -> int:
        """What went into answers for the batch that it is done with."""
        spent, self.answers = self.answers, 0
        return spent

    @property
    def is_outdated(self) -> bool:
        """Whether what it knows is worth nothing any more: it needs another epoch before the next batch."""
        return self.generation < 0

    def outdate(self) -> None:
        """Let the next batch begin another epoch."""
        self.generation = -1

    def renew(self, generation: int) -> None:
        """Another epoch: it knows nothing of what it knew."""
        self.generation = generation
        self.epoch = next(_EPOCHS)
        self.received, self.received_before = 0, max(self.received, self.received_before)
        for one in (self.ids, self.codes, self.told, self.heard, self.given, self.tables):
            one.clear()
