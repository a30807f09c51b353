"""Tally: how much work one engine did since it was opened.

Invariants
    Y1  A count only grows. Each is of one kind of work, and the module that does that counts it.
    Y2  It says nothing of what is right: no answer depends on a count.
"""

from __future__ import annotations

from engine.event import Counts


class Tally:
    """The counts as they grow; `counts` is what of them is told."""

    __slots__ = (
        "commits",
        "cut_off",
        "executed",
        "failed",
        "loaded",
        "read",
        "restored",
        "stamped",
        "verified",
        "visited",
    )

    def __init__(self) -> None:
        self.executed = 0  # functions of queries that ran
        self.cut_off = 0  # of those, with a value equal to the one before
        self.failed = 0  # of those, with an error as value
        self.verified = 0  # memos proven without running
        self.restored = 0  # earlier memos put back
        self.visited = 0  # nodes looked at by marking, probing and verifying
        self.read = 0  # observed inputs read
        self.stamped = 0  # observed inputs whose stamp was compared
        self.loaded = 0  # values read from the store
        self.commits = 0

    def counts(self, evicted: int) -> Counts:
        """The figures of now. `evicted`: values that went from memory (see memory)."""
        return Counts(
            executed=self.executed,
            cut_off=self.cut_off,
            failed=self.failed,
            verified=self.verified,
            visited=self.visited,
            read=self.read,
            stamped=self.stamped,
            commits=self.commits,
            restored=self.restored,
            loaded=self.loaded,
            evicted=evicted,
        )
